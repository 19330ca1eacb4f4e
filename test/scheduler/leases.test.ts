import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { ExecutionStage_Value } from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { linux, ranWith, requestOf, Rig } from './rig.ts';

describe('workers and platforms', () => {
  it('WRK-16: an action goes only to a worker that has each of its properties', () => {
    const rig = new Rig();
    const mac = rig.worker('mac', { properties: { OSFamily: 'macos', ISA: ['arm-a64'] } });
    const pc = rig.worker('pc', { properties: { OSFamily: 'linux', ISA: ['x86-64', 'x86-avx2'] } });
    rig.enqueue(requestOf('a', { properties: { OSFamily: 'linux', ISA: 'x86-avx2' } }));
    assert.deepEqual([mac.leases.length, pc.leases.length], [0, 1]);
  });

  it('ACT-06: names and values are compared with upper and lower case', () => {
    const rig = new Rig();
    const worker = rig.worker('w', { properties: linux });
    rig.enqueue(requestOf('a', { properties: { osfamily: 'linux' } }));
    assert.deepEqual(worker.leases, []);
  });

  it('ACT-08: properties that do not choose a worker are ignored', () => {
    const rig = new Rig();
    const worker = rig.worker('w', { properties: linux });
    rig.enqueue(requestOf('a', { properties: { ...linux, Pool: 'any', unixUID: '0' } }));
    assert.equal(worker.leases.length, 1);
  });

  it('gives an action to the worker with the most free slots, and no worker more than it has', () => {
    const rig = new Rig();
    const [small, large] = [rig.worker('small'), rig.worker('large', { slots: 3 })];
    for (const action of ['a', 'b']) rig.enqueue(requestOf(action));
    assert.deepEqual([small.leases.length, large.leases.length], [0, 2]);
    for (const action of ['c', 'd', 'e']) rig.enqueue(requestOf(action));
    assert.deepEqual([small.leases.length, large.leases.length], [1, 3]);
  });

  it('a worker gets the next action while its result is stored, but does not heap up results', () => {
    const rig = new Rig();
    const worker = rig.worker('w');
    for (const action of ['a', 'b', 'c']) rig.enqueue(requestOf(action));
    const first = worker.lease;
    worker.finish(first);
    assert.equal(worker.leases.length, 2);
    const second = worker.leases.find(({ leaseId }) => leaseId !== first.leaseId) ?? first;
    worker.finish(second);
    assert.equal(worker.leases.length, 2, 'c waits until a is stored');
    rig.commitAll();
    worker.obey();
    assert.equal(worker.leases.length, 1);
  });

  it('EXE-08, SC-24: an action no worker can run is told which property and what there is', () => {
    const rig = new Rig();
    const worker = rig.worker('w', { properties: linux });
    const name = rig.enqueue(requestOf('a', { properties: { OSFamily: 'plan9' } }));
    rig.scheduler.watch(name);
    const why = 'no worker has OSFamily=plan9; workers offer OSFamily=linux';
    assert.equal(rig.waitingReason(name), why);
    rig.pass(59_000, worker);
    assert.equal(rig.codeOf(name), undefined);
    rig.pass(2_000, worker);
    assert.equal(rig.codeOf(name), Code.FAILED_PRECONDITION);
    assert.ok(rig.messageOf(name).startsWith(why));
  });

  it('EXE-07: a property whose name no worker knows is INVALID_ARGUMENT, and named', () => {
    const rig = new Rig();
    const worker = rig.worker('w', { properties: linux });
    const properties = { ...linux, 'no-such': 'x' };
    const name = rig.enqueue(requestOf('a', { properties }));
    rig.scheduler.watch(name);
    rig.pass(61_000, worker);
    assert.equal(rig.codeOf(name), Code.INVALID_ARGUMENT);
    assert.match(rig.messageOf(name) ?? '', /no worker has any no-such/);
  });

  it('EXE-08, EXE-10: without any worker it is UNAVAILABLE, for one may come', () => {
    const rig = new Rig();
    const name = rig.enqueue(requestOf('a', { properties: linux }));
    rig.scheduler.watch(name);
    rig.pass(61_000);
    assert.equal(rig.codeOf(name), Code.UNAVAILABLE);
  });

  it('SC-03: when the last worker that could run it is gone for good, it is UNAVAILABLE', () => {
    const rig = new Rig();
    const mac = rig.worker('mac', { properties: { OSFamily: 'macos' } });
    const pc = rig.worker('pc', { properties: linux });
    const names = ['a', 'b'].map((a) => rig.enqueue(requestOf(a, { properties: linux })));
    for (const name of names) rig.scheduler.watch(name);
    pc.run();
    pc.disconnect();
    rig.pass(95_000, mac);
    assert.deepEqual(
      names.map((name) => rig.codeOf(name)),
      [Code.UNAVAILABLE, Code.UNAVAILABLE],
    );
  });

  it('a worker that comes within the grace gets the action', () => {
    const rig = new Rig();
    const name = rig.enqueue(requestOf('a', { properties: linux }));
    rig.scheduler.watch(name);
    rig.pass(59_000);
    const worker = rig.worker('w', { properties: linux });
    rig.pass(10_000, worker);
    assert.equal(worker.leases.length, 1);
    assert.equal(rig.codeOf(name), undefined);
  });
});

describe('leases', () => {
  it('EXE-28, EXE-64: a silent worker loses its lease, and another one runs the action', () => {
    const rig = new Rig();
    const first = rig.worker('first');
    const name = rig.enqueue(requestOf('a'));
    first.run();
    const second = rig.worker('second');
    assert.equal(rig.state(name).metadata.stage, ExecutionStage_Value.EXECUTING);
    rig.pass(29_000, second);
    assert.deepEqual(second.leases, []);
    rig.pass(2_000, second);
    assert.equal(rig.state(name).metadata.stage, ExecutionStage_Value.QUEUED);
    assert.deepEqual([second.lease.epoch, second.lease.attempt], [2, 2]);
  });

  it('HI-24, WRK-15, SC-07: the late result of a lost worker is dropped, and it is told to forget it', () => {
    const rig = new Rig();
    const first = rig.worker('first');
    const name = rig.enqueue(requestOf('a'));
    const { lease } = first;
    first.run(lease);
    rig.pass(31_000);
    const second = rig.worker('second');
    first.connect();
    first.finish(lease, ranWith('late'));
    assert.deepEqual(rig.commits, []);
    assert.deepEqual(first.leases, []);
    second.finish();
    rig.commitAll();
    assert.equal(rig.state(name).response?.message, 'second');
  });

  it('SC-09: a result that is told again and again is stored once', () => {
    const rig = new Rig();
    const worker = rig.worker('w');
    rig.enqueue(requestOf('a'));
    worker.finish();
    worker.say();
    worker.say();
    assert.equal(rig.commits.length, 1);
  });

  it('SC-18: an action that takes every worker down ends with UNAVAILABLE after three', () => {
    const rig = new Rig();
    const name = rig.enqueue(requestOf('a'));
    for (const id of ['one', 'two', 'three']) {
      const worker = rig.worker(id);
      worker.run();
      worker.disconnect();
      rig.pass(16_000);
    }
    assert.equal(rig.codeOf(name), Code.UNAVAILABLE);
    assert.match(rig.messageOf(name), /worker three was gone for 15 s.* lost 3 times/);
  });

  it('a worker that is started anew has lost its leases at once', () => {
    const rig = new Rig();
    rig.worker('w').disconnect();
    rig.enqueue(requestOf('a'));
    const again = rig.worker('w');
    again.run();
    again.disconnect();
    const next = rig.worker('w', { bootId: 'boot-2' });
    assert.deepEqual([next.lease.epoch, next.lease.attempt], [2, 2]);
  });

  it('EXE-64: a worker that is silent has longer than one whose connection ended', () => {
    const rig = new Rig();
    const worker = rig.worker('w');
    rig.enqueue(requestOf('a'));
    worker.run();
    rig.pass(29_000);
    assert.equal(rig.scheduler.queuedCount, 0);
    worker.disconnect();
    rig.pass(2_000);
    assert.equal(rig.scheduler.queuedCount, 1, 'after 30 s all the same');
  });

  it('a worker too many is refused until another has gone', () => {
    const rig = new Rig({ workersMax: 1 });
    const worker = rig.worker('w');
    assert.throws(() => rig.worker('x'), {
      code: Code.RESOURCE_EXHAUSTED,
      message: /1 workers are here, which is the limit; worker x may come when others have gone/,
    });
    worker.disconnect();
    rig.worker('w');
    worker.disconnect();
    rig.pass(60_000);
    rig.worker('x');
  });

  it('WRK-15: a second worker of the same name is refused while the first is there', () => {
    const rig = new Rig();
    const worker = rig.worker('w');
    const name = rig.enqueue(requestOf('a'));
    worker.run();
    assert.throws(() => rig.worker('w', { bootId: 'boot-2' }), {
      code: Code.FAILED_PRECONDITION,
      message: /another worker named w is connected; give each its own worker_id/,
    });
    worker.finish();
    rig.commitAll();
    assert.equal(rig.codeOf(name), Code.OK);
    rig.pass(15_000);
    assert.ok(rig.worker('w', { bootId: 'boot-2' }), 'the line of the first was dead');
  });

  it('a worker that reconnects in time goes on with what it has', () => {
    const rig = new Rig();
    const worker = rig.worker('w');
    const name = rig.enqueue(requestOf('a'));
    const { lease } = worker;
    worker.run();
    worker.disconnect();
    rig.pass(14_000);
    worker.connect();
    assert.equal(worker.lease.leaseId, lease.leaseId);
    worker.finish();
    rig.commitAll();
    assert.equal(rig.codeOf(name), Code.OK);
  });

  it('SC-08: what a worker was told and has not acted on is told again', () => {
    const rig = new Rig();
    const worker = rig.worker('w');
    rig.enqueue(requestOf('a'));
    const told = worker.desired;
    worker.desired = undefined;
    worker.say();
    assert.equal(worker.desired, undefined);
    rig.pass(6_000, worker);
    assert.deepEqual(told?.leases, (worker.desired as typeof told)?.leases);
  });

  it('SC-08: a lease that is not confirmed goes elsewhere', () => {
    const rig = new Rig();
    const deaf = rig.worker('deaf');
    const name = rig.enqueue(requestOf('a'));
    rig.scheduler.watch(name);
    deaf.isDeaf = true;
    rig.pass(14_000, deaf);
    const other = rig.worker('other');
    assert.deepEqual(other.leases, []);
    rig.pass(2_000, deaf, other);
    assert.equal(other.lease.epoch, 2);
    assert.equal(other.lease.attempt, 1, 'nothing was run, so nothing is counted');
  });

  it('a worker that refuses everything rests longer each time, and the action ends at last', () => {
    const rig = new Rig({ refusalsMax: 4 });
    const worker = rig.worker('w');
    worker.refuses = true;
    const name = rig.enqueue(requestOf('a'));
    rig.scheduler.watch(name);
    worker.say();
    assert.deepEqual(worker.leases, []);
    rig.pass(3_000, worker);
    assert.equal(rig.codeOf(name), undefined);
    rig.pass(10_000, worker);
    assert.equal(rig.codeOf(name), Code.UNAVAILABLE);
  });

  it('WRK-18, SC-19: a worker that cannot run anything rests, and others do its work', () => {
    const rig = new Rig();
    const broken = rig.worker('broken', { slots: 2 });
    const name = rig.enqueue(requestOf('a'));
    const healthy = rig.worker('healthy');
    broken.fail(broken.lease, Code.RESOURCE_EXHAUSTED, 'disk full');
    assert.equal(healthy.lease.attempt, 2);
    rig.enqueue(requestOf('b'));
    broken.obey();
    assert.deepEqual(broken.leases, [], 'it rests');
    healthy.finish();
    rig.commitAll();
    assert.equal(rig.codeOf(name), Code.OK);
  });

  it('a retry waits for another worker, and takes the same one only if there is no other', () => {
    const rig = new Rig();
    const first = rig.worker('first');
    rig.enqueue(requestOf('a'));
    const other = rig.worker('other');
    const busy = requestOf('b');
    rig.enqueue(busy);
    other.run();
    first.fail(first.lease, Code.INTERNAL, 'no image');
    first.obey();
    rig.pass(2_000, first, other);
    assert.deepEqual(first.leases, [], 'other may run it, though it is busy');
    other.disconnect();
    first.say();
    assert.equal(first.lease.attempt, 2);
  });

  it('failures of workers are counted apart from losses, and the last one is told', () => {
    const rig = new Rig({ failuresMax: 2 });
    const worker = rig.worker('w');
    const name = rig.enqueue(requestOf('a'));
    rig.scheduler.watch(name);
    worker.fail(worker.lease, Code.RESOURCE_EXHAUSTED, 'disk full');
    worker.obey();
    rig.pass(2_000, worker);
    worker.fail(worker.lease, Code.RESOURCE_EXHAUSTED, 'disk still full');
    assert.equal(rig.codeOf(name), Code.RESOURCE_EXHAUSTED);
    assert.match(rig.messageOf(name), /worker w: disk still full/);
  });

  it('WRK-17: a draining worker gets nothing, hands back what it has not begun, finishes the rest', () => {
    const rig = new Rig();
    const worker = rig.worker('w', { slots: 2 });
    const begun = rig.enqueue(requestOf('a'));
    worker.run();
    rig.enqueue(requestOf('b'));
    worker.isDraining = true;
    worker.refuses = true;
    worker.say();
    assert.equal(worker.leases.length, 1);
    rig.enqueue(requestOf('c'));
    assert.equal(worker.leases.length, 1);
    const other = rig.worker('other', { slots: 2 });
    assert.deepEqual(
      other.leases.map(({ attempt }) => attempt),
      [1, 1],
    );
    worker.finish();
    rig.commitAll();
    assert.equal(rig.codeOf(begun), Code.OK);
    assert.deepEqual(worker.leases, []);
  });

  it('a state that comes late or twice changes nothing', () => {
    const rig = new Rig();
    const worker = rig.worker('w');
    rig.enqueue(requestOf('a'));
    worker.run();
    const { session } = worker;
    assert.ok(session);
    rig.scheduler.report(session, {
      hello: undefined,
      sequence: 1,
      seenSequence: 9,
      leases: [],
      draining: true,
      trouble: '',
    });
    assert.equal(rig.scheduler.workers()[0]?.isDraining, false);
    assert.equal(worker.leases.length, 1);
  });
});

describe('pauses and restarts', () => {
  it('SC-15, SC-17: a process that stood still, or a clock that was set, loses no worker', () => {
    const rig = new Rig();
    const worker = rig.worker('w');
    const name = rig.enqueue(requestOf('a'));
    worker.run();
    for (const jumpMs of [60_000, 365 * 86_400_000, -365 * 86_400_000]) {
      rig.clock.advance(jumpMs);
      rig.scheduler.wake();
      rig.settle();
      assert.equal(rig.scheduler.workers()[0]?.isConnected, true);
      rig.pass(5_000, worker);
    }
    worker.finish();
    rig.commitAll();
    assert.equal(rig.codeOf(name), Code.OK);
  });

  it('SC-04: after a restart the queue is as it was, and running work goes on', () => {
    const rig = new Rig();
    const worker = rig.worker('w');
    const [running, queued] = [rig.enqueue(requestOf('a')), rig.enqueue(requestOf('b'))];
    const { lease } = worker;
    worker.run();
    rig.restart();
    assert.equal(rig.scheduler.queuedCount, 1);
    assert.match(rig.waitingReason(running) ?? '', /w is away/);
    worker.connect();
    assert.equal(worker.lease.leaseId, lease.leaseId);
    worker.finish();
    rig.commitAll();
    assert.equal(rig.codeOf(running), Code.OK);
    rig.restart();
    assert.equal(rig.codeOf(running), Code.OK, 'EXE-23: also after a restart');
    assert.equal(rig.codeOf(queued), undefined);
  });

  it('a result that was not recorded before a crash is told and stored again', () => {
    const rig = new Rig();
    const worker = rig.worker('w');
    const name = rig.enqueue(requestOf('a'));
    worker.finish();
    assert.equal(rig.commits.length, 1);
    rig.restart();
    worker.connect();
    worker.say();
    assert.equal(rig.commits.length, 1);
    rig.commitAll();
    assert.equal(rig.codeOf(name), Code.OK);
  });

  it('a worker that does not come back after a restart has lost its leases', () => {
    const rig = new Rig();
    const worker = rig.worker('w');
    rig.enqueue(requestOf('a'));
    worker.run();
    rig.restart();
    const other = rig.worker('other');
    rig.pass(59_000, other);
    assert.deepEqual(other.leases, []);
    rig.pass(2_000, other);
    assert.equal(other.lease.attempt, 2);
  });
});
