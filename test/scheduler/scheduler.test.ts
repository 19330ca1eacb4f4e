import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Code, StatusError } from '../../src/base/status.ts';
import { ExecutionStage_Value } from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { HeldLease_Phase } from '../../src/proto/expbuild/worker/v1/worker.ts';
import { ranWith, requestOf, Rig } from './rig.ts';

describe('operations and runs', () => {
  it('EXE-02: an operation name is scoped by its instance', () => {
    const rig = new Rig();
    assert.match(rig.enqueue(requestOf('a')), /^operations\/id-\d+$/);
    const name = rig.enqueue(requestOf('a', { instanceName: 'team/main' }));
    assert.match(name, /^team\/main\/operations\/id-\d+$/);
  });

  it('EXE-29, EXE-61, EXE-62: an operation goes from QUEUED over EXECUTING to COMPLETED', () => {
    const rig = new Rig();
    const request = requestOf('a');
    const name = rig.enqueue(request);
    const worker = rig.worker('w');
    assert.equal(rig.state(name).metadata.stage, ExecutionStage_Value.QUEUED);
    worker.hold(worker.lease, HeldLease_Phase.PHASE_FETCHING, {
      metadata: { worker: 'w' } as never,
    });
    const { metadata } = rig.state(name);
    assert.equal(metadata.stage, ExecutionStage_Value.EXECUTING);
    assert.deepEqual(metadata.actionDigest, request.action.toMessage());
    assert.equal(metadata.partialExecutionMetadata?.worker, 'w');
    assert.equal(metadata.partialExecutionMetadata?.queuedTimestamp?.seconds, 1_700_000_000);
    worker.finish();
    assert.equal(rig.state(name).metadata.stage, ExecutionStage_Value.EXECUTING);
    rig.commitAll();
    assert.equal(rig.state(name).metadata.stage, ExecutionStage_Value.COMPLETED);
    assert.equal(rig.state(name).response?.message, 'w');
  });

  it('EXE-36: requests for one cacheable action share one run, each with its own operation', () => {
    const rig = new Rig();
    const names = Array.from({ length: 50 }, () => rig.enqueue(requestOf('a')));
    assert.equal(new Set(names).size, 50);
    assert.equal(rig.scheduler.queuedCount, 1);
    const worker = rig.worker('w', { slots: 50 });
    worker.finish();
    rig.commitAll();
    assert.deepEqual(new Set(names.map((name) => rig.codeOf(name))), new Set([Code.OK]));
  });

  it('EXE-36: requests of different instances are never merged', () => {
    const rig = new Rig();
    rig.enqueue(requestOf('a', { instanceName: 'one' }));
    rig.enqueue(requestOf('a', { instanceName: 'two' }));
    assert.equal(rig.scheduler.queuedCount, 2);
  });

  it('EXE-35: requests with do_not_cache run each for itself', () => {
    const rig = new Rig();
    rig.enqueue(requestOf('a', { doNotCache: true }));
    rig.enqueue(requestOf('a', { doNotCache: true }));
    assert.equal(rig.scheduler.queuedCount, 2);
  });

  it('SC-12: the end of a run leaves a later run of the same action alone', () => {
    const rig = new Rig();
    const first = rig.enqueue(requestOf('a'));
    const worker = rig.worker('w');
    worker.finish();
    rig.cancel(first);
    const second = rig.enqueue(requestOf('a'));
    rig.commitAll();
    const third = rig.enqueue(requestOf('a'));
    worker.obey();
    worker.finish(worker.lease, ranWith('again'));
    rig.commitAll();
    assert.equal(rig.codeOf(first), Code.CANCELLED);
    assert.equal(rig.state(second).response?.message, 'again');
    assert.equal(rig.state(third).response?.message, 'again');
  });

  it('EXE-40: cancelling one of several operations leaves the others alone', () => {
    const rig = new Rig();
    const [one, two] = [rig.enqueue(requestOf('a')), rig.enqueue(requestOf('a'))];
    const worker = rig.worker('w');
    worker.run();
    rig.cancel(one);
    assert.equal(rig.codeOf(one), Code.CANCELLED);
    worker.finish();
    rig.commitAll();
    assert.equal(rig.codeOf(two), Code.OK);
  });

  it('EXE-56, OPS-06: cancelling the last operation takes the lease away, and later the slot is free', () => {
    const rig = new Rig();
    const worker = rig.worker('w');
    const name = rig.enqueue(requestOf('a'));
    worker.run();
    assert.ok(rig.cancel(name));
    assert.equal(rig.codeOf(name), Code.CANCELLED);
    assert.deepEqual(worker.leases, []);
    rig.enqueue(requestOf('b'));
    worker.say();
    assert.deepEqual(worker.leases, [], 'the worker still ends the process of a');
    worker.obey();
    assert.equal(worker.leases.length, 1);
  });

  it('OPS-05: cancelling a done operation changes nothing, an unknown one is told', () => {
    const rig = new Rig();
    const name = rig.scheduler.complete(requestOf('a'), ranWith('cache'));
    assert.ok(rig.cancel(name));
    assert.equal(rig.codeOf(name), Code.OK);
    assert.equal(rig.cancel('operations/none'), false);
  });

  it('OPS-07: deleting an operation does not cancel it, and nobody finds it any more', () => {
    const rig = new Rig();
    const [name, other] = [rig.enqueue(requestOf('a')), rig.enqueue(requestOf('b'))];
    assert.ok(rig.delete(name));
    const worker = rig.worker('w');
    for (const again of [() => rig.delete(name), () => rig.cancel(name)]) {
      assert.equal(again(), false);
    }
    assert.equal(rig.scheduler.watch(name), false);
    assert.equal(rig.scheduler.find(name), undefined);
    assert.deepEqual(
      rig.scheduler.list('').map((state) => state.name),
      [other],
    );
    assert.equal(worker.leases.length, 1, 'the action runs');
    worker.finish();
    assert.equal(rig.commits.length, 1, 'and its result is stored');
    rig.commitAll();
    assert.equal(rig.scheduler.find(name), undefined);
    assert.deepEqual([...rig.rows.operations.keys()], [other]);
    rig.scheduler.verify();
  });

  it('OPS-07: a deleted operation stays so through a restart, and its action still runs', () => {
    const rig = new Rig();
    const name = rig.enqueue(requestOf('a'));
    rig.delete(name);
    rig.restart();
    assert.equal(rig.scheduler.find(name), undefined);
    const worker = rig.worker('w');
    const later = rig.enqueue(requestOf('a'));
    worker.finish();
    rig.commitAll();
    assert.equal(rig.codeOf(later), Code.OK, 'it joined the run');
    assert.deepEqual([...rig.rows.operations.keys()], [later]);
  });

  it('OPS-07: who watches a deleted operation keeps it alive, and hears its end', () => {
    const rig = new Rig({ abandonQueuedAfterMs: 5_000 });
    const name = rig.enqueue(requestOf('a'));
    rig.scheduler.watch(name);
    rig.delete(name);
    rig.pass(10_000);
    assert.equal(rig.scheduler.queuedCount, 1);
    assert.equal(rig.scheduler.findWatched(name)?.name, name);
    rig.scheduler.unwatch(name);
    rig.pass(10_000);
    assert.equal(rig.scheduler.queuedCount, 0, 'like any other that nobody watches');
    assert.equal(rig.rows.operations.size, 0);
  });

  it('OPS-07: a done operation is forgotten at once when it is deleted', () => {
    const rig = new Rig();
    const hit = rig.scheduler.complete(requestOf('a'), ranWith('cache'));
    const name = rig.enqueue(requestOf('b'));
    rig.cancel(name);
    for (const done of [hit, name]) {
      assert.ok(rig.delete(done));
      assert.equal(rig.scheduler.findWatched(done), undefined);
    }
    assert.equal(rig.rows.operations.size, 0);
    rig.pass(1_000);
  });

  it('EXE-14, EXE-65: lower priority numbers run first, equal ones in the order they came', () => {
    const rig = new Rig();
    for (const [action, priority] of [
      ['late', 5],
      ['first', 0],
      ['second', 0],
      ['urgent', -3],
    ] as const) {
      rig.enqueue(requestOf(action, { priority }));
    }
    const worker = rig.worker('w');
    const order: string[] = [];
    for (let left = 4; left > 0; left -= 1) {
      order.push(worker.lease.actionDigest?.hash ?? '');
      worker.finish();
      rig.commitAll();
      worker.obey();
    }
    const expected = ['urgent', 'first', 'second', 'late'].map((a) => requestOf(a).action.hash);
    assert.deepEqual(order, expected);
  });

  it('EXE-14: whoever joins with a more urgent priority raises the run', () => {
    const rig = new Rig();
    rig.enqueue(requestOf('a', { priority: 1 }));
    const raised = requestOf('b', { priority: 2 });
    rig.enqueue(raised);
    rig.enqueue({ ...raised, priority: -1 });
    assert.equal(rig.worker('w').lease.actionDigest?.hash, raised.action.hash);
  });

  it('EXE-09, SC-27: an action too many is refused with RESOURCE_EXHAUSTED and when to come back', () => {
    const rig = new Rig({ queuedMax: 1 });
    rig.enqueue(requestOf('a'));
    assert.throws(
      () => rig.enqueue(requestOf('b')),
      (error: StatusError) =>
        error.code === Code.RESOURCE_EXHAUSTED &&
        error.details[0]?.typeUrl === 'type.googleapis.com/google.rpc.RetryInfo',
    );
    rig.enqueue(requestOf('a'));
  });

  it('refuses an operation too many, even one that would join a run', () => {
    const rig = new Rig({ pendingOperationsMax: 1 });
    rig.enqueue(requestOf('a'));
    assert.throws(() => rig.enqueue(requestOf('a')), { code: Code.RESOURCE_EXHAUSTED });
  });

  it('EXE-21: a queued operation that nobody watches is cancelled after the grace', () => {
    const rig = new Rig({ abandonQueuedAfterMs: 10_000 });
    const [left, watched] = [rig.enqueue(requestOf('a')), rig.enqueue(requestOf('a'))];
    rig.scheduler.watch(watched);
    rig.pass(9_000);
    assert.equal(rig.codeOf(left), undefined);
    rig.pass(2_000);
    assert.equal(rig.codeOf(left), Code.CANCELLED);
    assert.equal(rig.codeOf(watched), undefined);
    rig.scheduler.unwatch(watched);
    rig.pass(11_000);
    assert.equal(rig.codeOf(watched), Code.CANCELLED);
    assert.equal(rig.scheduler.queuedCount, 0);
  });

  it('EXE-20: a running operation that nobody watches has longer', () => {
    const rig = new Rig({ abandonQueuedAfterMs: 10_000, abandonRunningAfterMs: 60_000 });
    const worker = rig.worker('w');
    const name = rig.enqueue(requestOf('a'));
    worker.run();
    rig.pass(50_000, worker);
    assert.equal(rig.codeOf(name), undefined);
    rig.pass(11_000, worker);
    assert.equal(rig.codeOf(name), Code.CANCELLED);
    assert.deepEqual(worker.leases, []);
  });

  it('EXE-23, EXE-24: a done operation is kept for a while, then unknown', () => {
    const rig = new Rig({ retainDoneMs: 20_000, retainedDoneMax: 2 });
    const names = ['a', 'b', 'c'].map((a) => rig.scheduler.complete(requestOf(a), ranWith('')));
    assert.deepEqual(
      rig.scheduler.list('').map(({ name }) => name),
      names.slice(1),
    );
    rig.pass(21_000);
    assert.deepEqual(rig.scheduler.list(''), []);
  });

  it('EXE-23: done operations are kept as long as their responses do not take too much memory', () => {
    const rig = new Rig({ retainedDoneBytesMax: 100_000 });
    const complete = (letter: string, length: number) =>
      rig.scheduler.complete(requestOf(letter), ranWith('x'.repeat(length)));
    const small = ['a', 'b', 'c'].map((letter) => complete(letter, 10));
    const kept = () => rig.scheduler.list('').map(({ name }) => name);
    const large = complete('d', 90_000);
    assert.deepEqual(kept(), [...small, large]);
    const tooLarge = complete('e', 200_000);
    assert.deepEqual(kept(), [tooLarge]);
    const last = complete('f', 10);
    assert.deepEqual(kept(), [last]);
  });

  it('SC-14: a result that cannot be stored is tried again, then its error ends the operation', () => {
    const rig = new Rig({ commitAttemptsMax: 2 });
    const worker = rig.worker('w');
    const name = rig.enqueue(requestOf('a'));
    worker.finish();
    rig.failCommits(new StatusError(Code.RESOURCE_EXHAUSTED, 'disk full'));
    assert.deepEqual(rig.commits, []);
    assert.equal(worker.leases.length, 1, 'the worker keeps its result');
    rig.pass(2_000, worker);
    assert.equal(rig.commits.length, 1);
    rig.failCommits(new StatusError(Code.RESOURCE_EXHAUSTED, 'disk full'));
    assert.equal(rig.codeOf(name), Code.RESOURCE_EXHAUSTED);
    assert.match(rig.messageOf(name), /disk full/);
    assert.deepEqual(worker.leases, []);
  });
});

describe('20 000 queued actions', () => {
  it('cost no more to assign from than a few', () => {
    const rig = new Rig();
    for (let n = 0; n < 20_000; n += 1) {
      rig.scheduler.enqueue(requestOf('a', { doNotCache: true, priority: n % 7 }));
    }
    rig.settle();
    const worker = rig.worker('w');
    const startedAt = performance.now();
    for (let n = 0; n < 1_000; n += 1) {
      worker.finish();
      rig.commitAll();
      worker.obey();
    }
    const eachMs = (performance.now() - startedAt) / 1_000;
    assert.ok(eachMs < 2, `each took ${eachMs} ms`);
  });
});
