import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Code, type StatusError } from '../../src/base/status.ts';
import { amountText, parseAmount } from '../../src/scheduler/amounts.ts';
import { requestOf, Rig, type RigWorker } from './rig.ts';

const request = (action: string, properties: Readonly<Record<string, string>>) =>
  requestOf(action, { properties, doNotCache: true });

function finishOne(rig: Rig, worker: RigWorker): void {
  const [lease] = worker.leases;
  assert.ok(lease);
  worker.finish(lease);
  rig.commitAll();
  worker.obey();
}

describe('what actions share on a worker', () => {
  it('reads amounts with and without units', () => {
    for (const [text, amount] of [
      ['2', 2],
      ['0.5', 0.5],
      ['500m', 0.5],
      ['4GiB', 2 ** 32],
      ['4Gi', 2 ** 32],
      ['1.5GB', 1.5e9],
      ['100 MB', 1e8],
      ['lots', undefined],
      ['-1', undefined],
      ['', undefined],
      ['1e9', undefined],
      ['x86-64', undefined],
    ] as const) {
      assert.equal(parseAmount(text), amount, text);
    }
    assert.deepEqual([3 * 2 ** 30, 2.5, 1_000].map(amountText), ['3GiB', '2.5', '1000']);
  });

  it('SC-26: a worker never has more than its capacity', () => {
    const rig = new Rig();
    const worker = rig.worker('w', { slots: 8, capacities: { cpu: 4, memory: 2 ** 33 } });
    for (let n = 0; n < 8; n += 1) rig.enqueue(request(`cpu ${n}`, { cpu: '1.5' }));
    assert.equal(worker.leases.length, 2);
    rig.enqueue(request('memory', { memory: '6GiB' }));
    rig.enqueue(request('memory too', { memory: '6GiB' }));
    worker.say();
    assert.equal(worker.leases.length, 3);
    for (let left = 10; left > 0; left -= 1) finishOne(rig, worker);
    assert.equal(rig.scheduler.queuedCount, 0);
  });

  it('ten tenths of a processor fit on one', () => {
    const rig = new Rig();
    const worker = rig.worker('w', { slots: 20, capacities: { cpu: 0.3 } });
    for (let n = 0; n < 4; n += 1) rig.enqueue(request(`tenth ${n}`, { cpu: '100m' }));
    assert.equal(worker.leases.length, 3);
  });

  it('counts what the worker has not let go of yet', () => {
    const rig = new Rig();
    const worker = rig.worker('w', { slots: 2, capacities: { gpu: 1 } });
    const name = rig.enqueue(request('a', { gpu: '1' }));
    worker.run();
    const next = rig.enqueue(request('b', { gpu: '1' }));
    rig.cancel(name);
    worker.say();
    assert.deepEqual(worker.leases, []);
    worker.obey();
    assert.equal(worker.lease.operationName, next);
  });

  it('ACT-06: a property that the worker does not share out is matched by its text', () => {
    const rig = new Rig();
    const small = rig.worker('small', { properties: { memory: '4GiB' } });
    rig.enqueue(request('a', { memory: '4GiB' }));
    assert.equal(small.leases.length, 1);
    rig.enqueue(request('b', { memory: '2GiB' }));
    finishOne(rig, small);
    assert.deepEqual(small.leases, []);
  });

  it('SC-25: what is more than any worker has ends with FAILED_PRECONDITION, and says so', () => {
    const rig = new Rig({ unmatchedGraceMs: 5_000 });
    const odd = rig.enqueue(request('b', { memory: 'plenty' }));
    const worker = rig.worker('w', { capacities: { cpu: 8, memory: 2 ** 34 } });
    const name = rig.enqueue(request('a', { cpu: '64' }));
    assert.equal(rig.waitingReason(name), 'no worker has cpu=64; the largest has cpu=8');
    rig.pass(6_000, worker);
    assert.equal(rig.codeOf(name), Code.FAILED_PRECONDITION);
    assert.equal(rig.codeOf(odd), Code.FAILED_PRECONDITION);
    assert.match(rig.messageOf(odd), /memory=plenty is no amount/);
  });

  it('says that workers have no room', () => {
    const rig = new Rig();
    rig.worker('w', { slots: 4, capacities: { cpu: 4 } });
    rig.enqueue(request('a', { cpu: '3' }));
    const name = rig.enqueue(request('b', { cpu: '2' }));
    assert.equal(rig.waitingReason(name), 'the one worker that matches has no cpu=2 left (w)');
  });

  it('a large action does not wait for ever while small ones come', () => {
    const rig = new Rig({ reserveAfterMs: 10_000 });
    const worker = rig.worker('w', { slots: 4, capacities: { cpu: 4 } });
    for (let n = 0; n < 4; n += 1) rig.enqueue(request(`small ${n}`, { cpu: '1' }));
    const large = rig.enqueue(request('large', { cpu: '4' }));
    for (let n = 0; n < 30; n += 1) {
      rig.enqueue(request(`later ${n}`, { cpu: '1' }));
      rig.pass(1_000, worker);
      const [oldest] = worker.leases;
      if (oldest?.operationName === large) return;
      finishOne(rig, worker);
    }
    assert.fail('it never ran');
  });

  it('a worker is kept for a large action only as long as that waits', () => {
    const rig = new Rig({ reserveAfterMs: 1_000 });
    const worker = rig.worker('w', { slots: 4, capacities: { cpu: 4 } });
    rig.enqueue(request('small', { cpu: '1' }));
    const large = rig.enqueue(request('large', { cpu: '4' }));
    for (let n = 0; n < 3; n += 1) rig.pass(1_000, worker);
    rig.enqueue(request('other', { cpu: '1' }));
    assert.equal(worker.leases.length, 1);
    rig.cancel(large);
    worker.say();
    assert.equal(worker.leases.length, 2);
  });

  it('a large action that failed on a worker gets another one kept, and none it would not go to', () => {
    const rig = new Rig({ reserveAfterMs: 10_000 });
    const [a, b] = ['a', 'b'].map((id) => rig.worker(id, { slots: 4, capacities: { cpu: 4 } }));
    assert.ok(a && b);
    const large = rig.enqueue(request('large', { cpu: '4' }));
    const [first, second] = a.leases.length > 0 ? [a, b] : [b, a];
    for (let n = 0; n < 4; n += 1) rig.enqueue(request(`small ${n}`, { cpu: '1' }));
    first.fail(first.lease, Code.RESOURCE_EXHAUSTED, 'disk full');
    first.obey();
    for (let n = 0; n < 60; n += 1) {
      rig.enqueue(request(`later ${n}`, { cpu: '1' }));
      rig.enqueue(request(`latest ${n}`, { cpu: '1' }));
      rig.pass(1_000, a, b);
      if (second.leases.some(({ operationName }) => operationName === large)) return;
      if (first.leases.length > 0) finishOne(rig, first);
      if (second.leases.length > 0) finishOne(rig, second);
    }
    assert.fail('it never ran again');
  });

  it('a step goes to the worker that ran it before', () => {
    const rig = new Rig();
    const workers = ['a', 'b', 'c'].map((id) => rig.worker(id, { slots: 4 }));
    const runStep = (step: string): string => {
      rig.enqueue({ ...request(step, {}), affinityKey: step });
      const at = workers.find(({ leases }) => leases.length > 0);
      assert.ok(at);
      finishOne(rig, at);
      return at.id;
    };
    // The other workers are freer than the one that has a lease for long.
    const first = runStep('x.o');
    const busy = workers.find(({ id }) => id === first);
    rig.enqueue({ ...request('long', {}), affinityKey: 'x.o' });
    assert.equal(busy?.leases.length, 1);
    rig.enqueue({ ...request('again', {}), affinityKey: 'x.o' });
    assert.equal(busy?.leases.length, 2);
    rig.enqueue({ ...request('new', {}), affinityKey: 'y.o' });
    assert.equal(busy?.leases.length, 2);
  });

  it('a preference chooses among workers, and is no condition', () => {
    const rig = new Rig();
    const slow = rig.worker('slow', { slots: 4, properties: { disk: 'hdd' } });
    const fast = rig.worker('fast', { slots: 2, properties: { disk: 'ssd' } });
    for (let n = 0; n < 3; n += 1) rig.enqueue(request(`${n}`, { 'prefer:disk': 'ssd' }));
    assert.deepEqual([fast.leases.length, slow.leases.length], [2, 1]);
    rig.enqueue(request('other', { 'prefer:gpu': '1' }));
    assert.equal(slow.leases.length, 2);
  });

  it('SC-26: an action that asks for more than a worker gives to one goes to another', () => {
    const rig = new Rig({ unmatchedGraceMs: 5_000 });
    const capacities = { cpu: 8, memory: 2 ** 34 };
    const actionMaxes = { memory: 2 ** 26, cpu: 2 };
    const tight = rig.worker('tight', { slots: 8, capacities, actionMaxes });
    const name = rig.enqueue(request('large', { memory: '2GiB' }));
    assert.equal(
      rig.waitingReason(name),
      'no worker has memory=2GiB; the largest has memory=64MiB',
    );
    rig.enqueue(request('wide', { cpu: '3' }));
    for (const n of [1, 2, 3, 4]) rig.enqueue(request(`small ${n}`, { cpu: '2', memory: '64MiB' }));
    assert.equal(tight.leases.length, 4);
    const roomy = rig.worker('roomy', { slots: 8, capacities });
    assert.equal(roomy.leases.length, 2);
  });

  it('what is to be an amount and is none is refused at once', () => {
    const rig = new Rig();
    rig.enqueue(request('nobody here yet', { cpu: 'many' }));
    rig.worker('w', { slots: 8, capacities: { cpu: 4 } });
    for (const cpu of ['abc', '-1', '']) {
      assert.throws(() => rig.enqueue(request(cpu, { cpu })), {
        code: Code.INVALID_ARGUMENT,
        message: `platform property cpu=${cpu} is no amount, such as 2, 500m or 4GiB`,
      });
    }
    assert.equal(rig.scheduler.queuedCount, 1);
    rig.worker('named', { properties: { cpu: 'arm' } });
    rig.enqueue(request('by its name', { cpu: 'arm' }));
  });

  it('a worker with nonsense for capacities is refused', () => {
    for (const capacities of [{ cpu: -1 }, { cpu: Number.NaN }, { cpu: Infinity }]) {
      assert.throws(
        () => new Rig().worker('w', { capacities }),
        (error: StatusError) => error.code === Code.INVALID_ARGUMENT && /cpu/.test(error.message),
      );
    }
  });
});
