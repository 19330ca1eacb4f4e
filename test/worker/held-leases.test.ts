import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { newId } from '../../src/base/id.ts';
import { createLog } from '../../src/base/log.ts';
import { Code, StatusError } from '../../src/base/status.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import { HeldLease_Phase, Lease } from '../../src/proto/expbuild/worker/v1/worker.ts';
import { HeldLeases } from '../../src/worker/held-leases.ts';
import { defaultOutboxOptions, Outbox } from '../../src/worker/outbox.ts';
import { actionEnvironment } from '../support/action-environment.ts';
import { putAction } from '../support/action-of.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { HeldExecutor } from '../support/held-executor.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Cannot end what its commands left until the test says so. */
class StainedExecutor extends HeldExecutor {
  isStained = true;
  cleanings = 0;

  async clean(): Promise<void> {
    this.cleanings++;
    await Promise.resolve();
    if (this.isStained) throw new StatusError(Code.INTERNAL, 'process 7 does not end');
  }
}

test('WK-04: a slot whose action left something takes no other until that is gone', async (t) => {
  const root = tempDir(t);
  const folder = path.join(root, 'actions');
  mkdirSync(folder);
  const clock = new FakeClock();
  const store = new PlainBlobStore();
  const executor = new StainedExecutor();
  const lines: string[] = [];
  const write = (line: string) => lines.push(line);
  const log = createLog({ level: 'info', format: 'text', write, now: () => 0 });
  let changed = Promise.withResolvers<void>();
  const outbox = await Outbox.open({
    ...defaultOutboxOptions,
    folder: path.join(root, 'outbox'),
    log,
  });
  const leases = new HeldLeases(
    { executors: [executor], blobsOf: () => store, folder, outbox, newId, log },
    await actionEnvironment(root, { clock }),
    () => {
      changed.resolve();
      changed = Promise.withResolvers();
    },
  );
  const until = async (isSo: () => boolean) => {
    while (!isSo()) await changed.promise;
  };
  const lease = async (script: string) =>
    Lease.fromPartial({
      leaseId: script,
      epoch: 1,
      digestFunction: sha256.value,
      actionDigest: (await putAction(store, script)).toMessage(),
      timeout: { seconds: 60, nanos: 0 },
    });
  const [one, two, three] = [await lease('one'), await lease('two'), await lease('three')];
  leases.reconcile([one, two], true);
  assert.equal(leases.uncleanWhy, undefined);
  (await executor.started('one'))({ exitCode: 3 });
  await until(() => leases.uncleanWhy !== undefined);
  // Its own result counts; what has not begun goes back.
  await until(() => leases.size === 1);
  assert.equal(leases.states[0]?.leaseId, 'one');
  assert.equal(leases.states[0]?.phase, HeldLease_Phase.PHASE_DONE);
  assert.match(
    lines.join(),
    /no more actions until all that one left is gone .*process 7 does not end/,
  );
  const triedAgain = async (isSo: () => boolean) => {
    for (; !isSo(); clock.advance(5_000)) {
      await turn();
    }
  };
  await triedAgain(() => executor.cleanings > 2);
  assert.match(leases.uncleanWhy ?? '', /what an action left in .* stays: process 7 does not end/);
  executor.isStained = false;
  await triedAgain(() => leases.uncleanWhy === undefined);
  leases.reconcile([three], true);
  (await executor.started('three'))({});
  await until(() => leases.states.some(({ phase }) => phase === HeldLease_Phase.PHASE_DONE));
  // A worker that stops does not wait for what will not end.
  executor.isStained = true;
  leases.stopAll();
  await leases.allEnded();
});
