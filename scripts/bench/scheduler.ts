// What one operation costs the scheduler's own logic in time and memory, with many builds and workers.
//
//   node scripts/bench/scheduler.ts [--operations 100000] [--builds 1000] [--workers 1000] [--slots 8]
import { parseArgs } from 'node:util';
import { RequestMetadata } from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  HeldLease,
  HeldLease_Phase,
  WorkerState,
} from '../../src/proto/expbuild/worker/v1/worker.ts';
import { Scheduler } from '../../src/scheduler/scheduler.ts';
import { defaultSchedulerOptions } from '../../src/scheduler/scheduler-options.ts';
import type { Session } from '../../src/scheduler/worker.ts';
import { workerProtocolVersion } from '../../src/scheduler/work-queue.ts';
import { countedIds, ranWith, requestOf } from '../../test/scheduler/rig.ts';

const { values } = parseArgs({
  options: {
    operations: { type: 'string', default: '100000' },
    builds: { type: 'string', default: '1000' },
    workers: { type: 'string', default: '1000' },
    slots: { type: 'string', default: '8' },
  },
});
const [operations, builds, workers, slots] = [
  values.operations,
  values.builds,
  values.workers,
  values.slots,
].map(Number) as [number, number, number, number];

let now = 1_000_000_000;
const scheduler = new Scheduler({
  clock: { now: () => (now += 0.5), sleep: () => Promise.reject(new Error('nobody waits')) },
  newId: countedIds(),
  // Time passes with each call; nobody watches, and nothing is to end for that.
  limits: {
    ...defaultSchedulerOptions,
    unmatchedGraceMs: 1e9,
    abandonQueuedAfterMs: 1e9,
    lostAfterMs: 1e9,
  },
  stored: { runs: [], operations: [], drainedWorkers: [], terminatingWorkers: [] },
});

const properties = [{ OSFamily: 'linux' }, { OSFamily: 'linux', cpu: '1' }, { cpu: '2' }] as const;
const requests = Array.from({ length: operations }, (_, n) => ({
  ...requestOf(`action ${n}`, {
    properties: properties[n % properties.length] ?? {},
    requestMetadata: RequestMetadata.fromPartial({ toolInvocationId: `build ${n % builds}` }),
  }),
  affinityKey: `step ${n % 10_000}`,
}));

/** Writes and tells, as the skin does it at the end of a turn. */
function settle() {
  scheduler.flush(() => {});
  const { commits, sessions } = scheduler.takeNews();
  for (const commit of commits) scheduler.committed(commit, commit.response);
  return sessions;
}

function measure(what: string, count: number, act: () => void): void {
  // Of the processor: others may be at work on the machine.
  const before = process.cpuUsage();
  act();
  const { user, system } = process.cpuUsage(before);
  const us = user + system;
  console.log(`${what.padEnd(48)} ${(us / count).toFixed(1).padStart(8)} us each, ${count} times`);
}

function connect(n: number, isIdle: boolean): Session {
  const hello = {
    workerId: `w${n}`,
    bootId: '1',
    slots,
    protocolVersion: workerProtocolVersion,
    properties: [{ name: 'OSFamily', value: isIdle ? 'plan9' : 'linux' }],
    capacities: isIdle ? [] : [{ name: 'cpu', amount: slots }],
  };
  return scheduler.connect(WorkerState.fromPartial({ sequence: 1, hello }));
}

globalThis.gc?.();
const before = process.memoryUsage().heapUsed;
measure('enqueue, no worker', operations, () => {
  for (const request of requests) {
    scheduler.enqueue(request);
    settle();
  }
});
globalThis.gc?.();
if (globalThis.gc) {
  const each = (process.memoryUsage().heapUsed - before) / operations;
  console.log(`${'memory'.padEnd(48)} ${each.toFixed(0).padStart(8)} bytes for each operation`);
}
const first = connect(-1, true);
measure('wake, one idle worker of another kind', 1_000, () => {
  for (let n = 0; n < 1_000; n += 1) {
    scheduler.report(first, WorkerState.fromPartial({ sequence: n + 2 }));
    settle();
  }
});

interface Simple {
  readonly session: Session;
  sequence: number;
  readonly held: Map<string, HeldLease>;
}
const bySession = new Map<Session, Simple>();
let assigned = 0;
function tell(): void {
  for (const [session, desired] of settle()) {
    const worker = bySession.get(session);
    if (!worker || !desired) continue;
    const wanted = new Map(desired.leases.map((lease) => [lease.leaseId, lease]));
    for (const id of worker.held.keys()) if (!wanted.has(id)) worker.held.delete(id);
    for (const [leaseId, { epoch }] of wanted) {
      if (worker.held.has(leaseId)) continue;
      assigned += 1;
      worker.held.set(leaseId, HeldLease.fromPartial({ leaseId, epoch, phase: 2 }));
    }
  }
}
measure('workers come, and get their first actions', workers * slots, () => {
  for (let n = 0; n < workers; n += 1) {
    const session = connect(n, false);
    bySession.set(session, { session, sequence: 1, held: new Map() });
    tell();
  }
});
const isBusy = () => scheduler.queuedCount > 0;
assigned = 0;
const startedAt = process.cpuUsage();
let reports = 0;
while (isBusy() && reports < 3_000) {
  for (const worker of bySession.values()) {
    const [held] = worker.held.values();
    if (held) {
      held.phase = HeldLease_Phase.PHASE_DONE;
      held.response = ranWith('w');
    }
    worker.sequence += 1;
    reports += 1;
    const leases = [...worker.held.values()];
    scheduler.report(
      worker.session,
      WorkerState.fromPartial({
        sequence: worker.sequence,
        seenSequence: worker.session.sent,
        leases,
      }),
    );
    tell();
  }
}
const spent = process.cpuUsage(startedAt);
const us = spent.user + spent.system;
console.log(
  `${'report of a result, and the next action'.padEnd(48)} ${(us / reports).toFixed(1).padStart(8)} us each, ${reports} times, ${assigned} given`,
);
for (const { name } of scheduler.list('')) scheduler.cancel(name);
for (const worker of bySession.values()) {
  worker.sequence += 1;
  scheduler.report(
    worker.session,
    WorkerState.fromPartial({ sequence: worker.sequence, seenSequence: worker.session.sent + 9 }),
  );
  tell();
}
settle();
measure('enqueue, all workers idle at first', 4_000, () => {
  for (let n = 0; n < 4_000; n += 1) {
    scheduler.enqueue({ ...(requests[n] ?? requestOf('none')), doNotCache: true });
    tell();
  }
});
