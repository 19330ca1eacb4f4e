import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { WaitingReason } from '../../src/proto/expbuild/operation/v1/waiting_reason.ts';
import { waitingReasonUrl } from '../../src/scheduler/operation-state.ts';
import { requestOf, Rig } from './rig.ts';

/** Three workers, one after the other, die while they run it. */
function killWorkers(rig: Rig, name: string): void {
  for (let n = 0; rig.codeOf(name) === undefined; n += 1) {
    const worker = rig.worker(`victim-${n}`);
    worker.run();
    worker.disconnect();
    rig.pass(rig.limits.reconnectGraceMs + 1_000);
  }
}

describe('actions that take workers down', () => {
  it('SC-18: the third lost worker ends the action, and it is not run again for a while', () => {
    const rig = new Rig();
    const poison = requestOf('poison');
    const name = rig.enqueue(poison);
    killWorkers(rig, name);
    assert.equal(rig.codeOf(name), Code.UNAVAILABLE);
    const again = rig.enqueue(poison);
    assert.equal(rig.codeOf(again), Code.INTERNAL);
    assert.match(
      rig.messageOf(again),
      /appears to take them down, and is not run again for 10 min/,
    );
    assert.deepEqual(
      rig.scheduler.quarantined().map(({ action, leftMs }) => [action.key, leftMs > 590_000]),
      [[poison.action.key, true]],
    );
    const other = rig.enqueue(requestOf('harmless'));
    const worker = rig.worker('w');
    assert.equal(worker.lease.operationName, other);
    rig.pass(600_000, worker);
    assert.equal(rig.codeOf(rig.enqueue(poison)), undefined);
  });

  it('SC-18: whoever has mended it can release it', () => {
    const rig = new Rig();
    const poison = requestOf('poison');
    killWorkers(rig, rig.enqueue(poison));
    assert.ok(rig.scheduler.release(poison.action));
    assert.equal(rig.scheduler.release(poison.action), false);
    assert.equal(rig.codeOf(rig.enqueue(poison)), undefined);
  });

  it('keeps a bounded number of them', () => {
    const rig = new Rig({ quarantinedMax: 2, attemptsMax: 1 });
    const requests = ['a', 'b', 'c'].map((action) => requestOf(action));
    for (const request of requests) killWorkers(rig, rig.enqueue(request));
    const kept = rig.scheduler.quarantined().map(({ action }) => action.key);
    assert.deepEqual(kept, [requests[1]?.action.key, requests[2]?.action.key]);
  });
});

describe('why an operation waits', () => {
  it('SC-24: a queued operation says it in its metadata, and says so again when that changes', () => {
    const rig = new Rig();
    const reasonOf = (operation: string) => {
      const { partialExecutionMetadata } = rig.state(operation).metadata;
      const [any] = partialExecutionMetadata?.auxiliaryMetadata ?? [];
      if (!any) return undefined;
      assert.equal(any.typeUrl, waitingReasonUrl);
      return WaitingReason.decode(any.value).text;
    };
    const name = rig.enqueue(requestOf('a', { properties: { OSFamily: 'windows' } }));
    assert.equal(reasonOf(name), 'no worker is connected');
    rig.scheduler.watch(name);
    rig.worker('linux', { properties: { OSFamily: 'linux' } });
    assert.equal(reasonOf(name), 'no worker has OSFamily=windows; workers offer OSFamily=linux');
    const busy = rig.worker('windows', { properties: { OSFamily: 'windows' } });
    assert.equal(reasonOf(name), undefined);
    const next = rig.enqueue(requestOf('b', { properties: { OSFamily: 'windows' } }));
    assert.equal(reasonOf(next), 'the one worker that matches is busy (windows)');
    busy.finish();
    rig.commitAll();
    busy.obey();
    assert.equal(reasonOf(next), undefined);
    assert.equal(reasonOf(name), undefined);
  });
});
