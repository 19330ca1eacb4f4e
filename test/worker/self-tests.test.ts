import assert from 'node:assert/strict';
import { mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { Code, StatusError } from '../../src/base/status.ts';
import type { Proof } from '../../src/worker/self-tests.ts';
import { defaultWorkOptions } from '../../src/worker/work.ts';
import { isDone, workBench } from './work-bench.ts';

test('a worker takes nothing new while its self-test fails, says why, and goes on with what runs', async (t) => {
  let failure: string | undefined;
  const folders: string[] = [];
  const proof: Proof = async (_executor, folder) => {
    mkdirSync(folder);
    folders.push(folder);
    await turn();
    if (failure !== undefined) throw new StatusError(Code.FAILED_PRECONDITION, failure);
  };
  const { start, queue, executor, clock, lease, lines, folder } = await workBench(t, {
    proofs: [proof, proof],
  });
  void start();
  const connection = await queue.connection(0);
  const [one, two] = [await lease('one'), await lease('two')];
  connection.send([one]);
  const end = await executor.started('one');
  /** Lets time pass until so many proofs have begun: others sleep too, so that it cannot be told who does. */
  const begun = async (count: number) => {
    while (folders.length < count) {
      clock.advance(defaultWorkOptions.proveEveryMs);
      await turn();
    }
  };
  await begun(2);
  await connection.until(({ draining }) => !draining);
  failure = 'no sandbox';
  await begun(3);
  const unfit = await connection.until(({ draining }) => draining);
  assert.equal(unfit.trouble, 'no sandbox');
  assert.ok(lines.some((line) => /self-test fails.*no sandbox/.test(line)));
  connection.send([one, two]);
  const state = await connection.until(({ seenSequence }) => seenSequence === 2);
  assert.deepEqual(
    state.leases.map(({ leaseId }) => leaseId),
    [one.leaseId],
  );
  end({});
  await connection.until(isDone);
  failure = undefined;
  await begun(folders.length + 1);
  const well = await connection.until(({ draining }) => !draining);
  assert.equal(well.trouble, '');
  connection.send([two]);
  await executor.started('two');
  assert.deepEqual(
    readdirSync(folder).filter((name) => folders.includes(path.join(folder, name))),
    [],
  );
});

test('a self-test that waits for a slot when the worker stops has not failed', async (t) => {
  let proofs = 0;
  const proof: Proof = async () => {
    proofs++;
    await turn();
  };
  const { start, queue, executor, clock, drain, lease, lines } = await workBench(t, {
    proofs: [proof],
    drainTimeoutMs: 2 * defaultWorkOptions.proveEveryMs,
  });
  const done = start();
  const connection = await queue.connection(0);
  connection.send([await lease('one'), await lease('two')]);
  await executor.started('one');
  await executor.started('two');
  drain.abort();
  await connection.until(({ draining }) => draining);
  const isStopping = () => lines.some((line) => line.includes('took too long to end'));
  while (!isStopping()) {
    clock.advance(defaultWorkOptions.proveEveryMs);
    await turn();
  }
  await executor.ended('one');
  await executor.ended('two');
  await connection.until(({ leases }) => leases.length === 0);
  connection.end();
  await done;
  assert.equal(proofs, 0);
  assert.doesNotMatch(lines.join(), /self-test/);
});
