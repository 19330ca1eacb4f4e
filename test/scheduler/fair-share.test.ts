import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RequestMetadata } from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Lease } from '../../src/proto/expbuild/worker/v1/worker.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { linux, Rig, type RigWorker, requestOf } from './rig.ts';

const tickMs = 100;

type Platform = Readonly<Record<string, string>>;

const macos = { OSFamily: 'macos' };

interface Build {
  readonly id: string;
  /** How long each of its actions runs. */
  readonly actionMs: number;
  readonly priority?: number;
  readonly properties?: Platform;
}

function ofBuild(toolInvocationId: string): RequestMetadata {
  return RequestMetadata.fromPartial({ toolInvocationId });
}

/** Builds that always have something to run, and workers that never rest. */
class BusyFarm {
  readonly rig = new Rig();
  readonly #workers: RigWorker[] = [];
  readonly #builds = new Map<string, Build>();
  readonly #startedAt = new Map<string, number>();
  /** What each build has had of the slots. */
  readonly usedMs = new Map<string, number>();
  #count = 0;

  constructor(workers: number, slots: number, properties: Platform = {}) {
    this.addWorkers(workers, slots, properties);
  }

  addWorkers(count: number, slots: number, properties: Platform): void {
    for (let n = 0; n < count; n += 1) {
      this.#workers.push(this.rig.worker(`w${this.#workers.length}`, { slots, properties }));
    }
  }

  join(build: Build, backlog = 100): void {
    this.#builds.set(build.id, build);
    for (let n = 0; n < backlog; n += 1) this.ask(build);
  }

  ask({ id, priority = 0, properties = {} }: Build): string {
    this.#count += 1;
    const requestMetadata = RequestMetadata.fromPartial({ toolInvocationId: id });
    return this.rig.enqueue(
      requestOf(`${id} ${this.#count}`, {
        requestMetadata,
        priority,
        properties,
        doNotCache: true,
      }),
    );
  }

  pass(ms: number): void {
    for (let leftMs = ms; leftMs > 0; leftMs -= tickMs) {
      this.rig.clock.advance(tickMs);
      this.rig.scheduler.wake();
      for (const worker of this.#workers) this.#work(worker);
      this.rig.commitAll();
      for (const worker of this.#workers) worker.obey();
      for (const { leases } of this.#workers) this.#begin(leases);
    }
  }

  /** The first worker loses its connection, and comes back at once. */
  blink(): void {
    const [worker] = this.#workers;
    worker?.disconnect();
    this.rig.clock.advance(tickMs);
    worker?.connect();
  }

  #begin(leases: readonly Lease[]): void {
    for (const { leaseId } of leases) {
      if (!this.#startedAt.has(leaseId)) this.#startedAt.set(leaseId, this.rig.clock.now());
    }
  }

  #work(worker: RigWorker): void {
    const now = this.rig.clock.now();
    for (const lease of worker.leases) {
      const id = lease.requestMetadata?.toolInvocationId ?? '';
      this.usedMs.set(id, (this.usedMs.get(id) ?? 0) + tickMs);
      const build = this.#builds.get(id);
      const ranMs = now - (this.#startedAt.get(lease.leaseId) ?? now);
      if (!build || ranMs < build.actionMs) continue;
      worker.finish(lease);
      this.ask(build);
    }
  }
}

describe('fair shares', () => {
  it('EXE-65: two busy builds get slot-seconds within 10 % of each other in a minute', () => {
    for (const [slowMs, quickMs, slots] of [
      [1_000, 1_000, 10],
      [5_000, 300, 10],
      [2_000, 100, 3],
      [10_000, 1_000, 16],
    ] as const) {
      const farm = new BusyFarm(2, slots);
      farm.join({ id: 'slow', actionMs: slowMs });
      farm.pass(7_000);
      farm.join({ id: 'quick', actionMs: quickMs });
      // What runs already is not taken back.
      farm.pass(slowMs);
      farm.usedMs.clear();
      farm.pass(60_000);
      const slow = farm.usedMs.get('slow') ?? 0;
      const quick = farm.usedMs.get('quick') ?? 0;
      const difference = Math.abs(slow - quick) / Math.max(slow, quick);
      assert.ok(difference < 0.1, `${slowMs} and ${quickMs} ms: ${slow} and ${quick} slot-ms`);
    }
  });

  it('EXE-65, I9: busy builds of any number and kind get equal shares of any farm, whose workers come and go', () => {
    for (let seed = 1; seed <= 15; seed += 1) {
      const random = seededRandom(seed);
      const between = (from: number, to: number) => Math.floor(from + random() * (to - from));
      const farm = new BusyFarm(between(1, 4), between(4, 12));
      const builds = Array.from({ length: between(2, 5) }, (_, n) => ({
        id: `build ${n}`,
        actionMs: between(1, 40) * tickMs,
      }));
      for (const build of builds) {
        farm.join(build);
        farm.pass(between(0, 30) * tickMs);
      }
      farm.pass(5_000);
      farm.usedMs.clear();
      for (let part = 0; part < 6; part += 1) {
        farm.pass(10_000);
        if (random() < 0.5) farm.blink();
      }
      const used = builds.map(({ id }) => farm.usedMs.get(id) ?? 0);
      const difference = 1 - Math.min(...used) / Math.max(...used);
      assert.ok(difference < 0.1, `seed ${seed}: ${used.join(', ')} slot-ms`);
    }
  });

  it('EXE-65, SC-23: a build of ten actions does not wait for the ten thousand before it', () => {
    const farm = new BusyFarm(1, 10);
    farm.join({ id: 'flood', actionMs: 1_000 }, 10_000);
    farm.pass(20_000);
    farm.join({ id: 'small', actionMs: 1_000 }, 0);
    const names = Array.from({ length: 10 }, () => farm.ask({ id: 'small', actionMs: 1_000 }));
    farm.pass(5_000);
    assert.ok(names.every((name) => farm.rig.state(name).response));
  });

  it('EXE-65: builds share their workers fairly while another has many others for itself', () => {
    const farm = new BusyFarm(1, 6, linux);
    farm.addWorkers(4, 20, macos);
    farm.join({ id: 'alone', actionMs: 1_000, properties: macos }, 200);
    farm.join({ id: 'slow', actionMs: 5_000, properties: linux });
    farm.join({ id: 'quick', actionMs: 300, properties: linux });
    farm.pass(20_000);
    farm.usedMs.clear();
    farm.pass(60_000);
    const slow = farm.usedMs.get('slow') ?? 0;
    const quick = farm.usedMs.get('quick') ?? 0;
    const difference = Math.abs(slow - quick) / Math.max(slow, quick);
    assert.ok(difference < 0.1, `${slow} and ${quick} slot-ms`);
  });

  it('EXE-65, SC-23: an action that a small build shares with a large one goes in the turn of either', () => {
    const rig = new Rig();
    for (let n = 0; n < 1_000; n += 1) {
      rig.enqueue(requestOf(`${n}`, { requestMetadata: ofBuild('flood') }));
    }
    const name = rig.enqueue(requestOf('999', { requestMetadata: ofBuild('small') }));
    const worker = rig.worker('w', { slots: 2 });
    for (let n = 0; n < 3 && rig.codeOf(name) === undefined; n += 1) {
      for (const lease of worker.leases) worker.finish(lease);
      rig.commitAll();
      worker.obey();
    }
    assert.equal(rig.codeOf(name), 0);
    assert.equal(rig.scheduler.queuedCount > 900, true);
  });

  it('EXE-14: ten points of priority between builds double the share, and starve nobody', () => {
    const farm = new BusyFarm(1, 12);
    farm.join({ id: 'nightly', actionMs: 1_000, priority: 10 });
    farm.join({ id: 'person', actionMs: 1_000 });
    farm.pass(60_000);
    const ratio = (farm.usedMs.get('person') ?? 0) / (farm.usedMs.get('nightly') ?? 1);
    assert.ok(ratio > 1.7 && ratio < 2.3, `${ratio}`);
  });

  it('a build that could not use its share catches up with a minute of it, not with more', () => {
    const farm = new BusyFarm(1, 10);
    farm.join({ id: 'idle', actionMs: 1_000 }, 0);
    farm.rig.enqueue(
      requestOf('stuck', {
        properties: { OSFamily: 'plan9' },
        requestMetadata: RequestMetadata.fromPartial({ toolInvocationId: 'idle' }),
      }),
    );
    farm.join({ id: 'busy', actionMs: 1_000 });
    farm.pass(50_000);
    for (let n = 0; n < 100; n += 1) farm.ask({ id: 'idle', actionMs: 1_000 });
    farm.usedMs.clear();
    farm.pass(30_000);
    assert.ok((farm.usedMs.get('busy') ?? 0) > 100_000, `${farm.usedMs.get('busy')}`);
  });

  it('SC-23: waiting makes up for priority within a build', () => {
    const rig = new Rig({ priorityPointMs: 10_000 });
    const waited = rig.enqueue(requestOf('waited', { priority: 3 }));
    rig.pass(29_000);
    const urgent = rig.enqueue(requestOf('urgent'));
    rig.pass(2_000);
    const late = rig.enqueue(requestOf('late'));
    const worker = rig.worker('w');
    const order: string[] = [];
    for (let left = 3; left > 0; left -= 1) {
      order.push(worker.lease.operationName);
      worker.finish();
      rig.commitAll();
      worker.obey();
    }
    assert.deepEqual(order, [urgent, waited, late]);
  });
});
