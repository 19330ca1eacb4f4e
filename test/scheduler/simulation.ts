import assert from 'node:assert/strict';
import { Code, StatusError } from '../../src/base/status.ts';
import type { DesiredState, WorkerState } from '../../src/proto/expbuild/worker/v1/worker.ts';
import { Deadlines } from '../../src/scheduler/deadlines.ts';
import type { OperationState } from '../../src/scheduler/operations.ts';
import type { PendingCommit } from '../../src/scheduler/pending-commits.ts';
import { Scheduler } from '../../src/scheduler/scheduler.ts';
import { defaultSchedulerOptions } from '../../src/scheduler/scheduler-options.ts';
import type { Session } from '../../src/scheduler/worker.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { type Accepted, justAccepted } from './accepted-operation.ts';
import { MemoryOperationRows } from './memory-operation-rows.ts';
import { LeaseHistory } from './lease-history.ts';
import { countedIds } from './rig.ts';
import { drawRequest } from './simulated-requests.ts';
import { type Connection, SimulatedWorker, type WorkerWorld } from './simulated-worker.ts';
import { WaitingTimes } from './waiting-times.ts';

const faultsMs = 120_000;
/** After the last fault: two leases lost, a grace, and what was queued must be through by then. */
const calmMs = 1_800_000;

/** What happened in one simulation. */
export interface Summary {
  readonly operations: number;
  readonly succeeded: number;
  readonly restarts: number;
  readonly commits: number;
  /** Results that a worker brought after it was started anew, or counted as lost. */
  readonly brought: number;
  /** Runs that went to a worker with more memory. */
  readonly enlarged: number;
}

/** A scheduler, workers, clients and a network, all of which fail as the seed says. */
export class Simulation implements WorkerWorld {
  readonly #random: () => number;
  readonly #clock = new FakeClock(1_000_000_000);
  readonly #events = new Deadlines();
  readonly #rows = new MemoryOperationRows();
  readonly #newId = countedIds();
  readonly #workers: SimulatedWorker[] = [];
  #scheduler: Scheduler | undefined;
  #sessions = new Map<Session, Connection>();
  #bySession = new Map<Connection, Session>();
  /** Entries since the last flush. */
  #entries = 0;
  #wakeAt = Infinity;
  #isCalm = false;
  readonly #accepted = new Map<string, Accepted>();
  #unwritten: string[] = [];
  readonly #leases = new LeaseHistory((line) => this.trace(line));
  #waiting = new WaitingTimes(defaultSchedulerOptions, 0);
  readonly #offered = new Set<string>();
  readonly #drainHeard = new WeakSet<Session>();
  /** Runs whose result is being stored. */
  readonly #committing = new Set<string>();
  readonly #committed = new Map<string, string>();
  readonly #lines: string[] | undefined;
  #restarts = 0;

  constructor(seed: number, lines?: string[]) {
    this.#random = seededRandom(seed);
    this.#lines = lines;
  }

  /** Runs until every accepted operation has ended; throws when something is not as it must be. */
  run(): Summary {
    this.#restart();
    for (const [id, slots, os, actionMemoryMax] of [
      ['a', 1, 'linux', 2 ** 30],
      ['b', 3, 'linux', 2 ** 31],
      ['c', 2, 'macos', 0],
    ] as const) {
      const properties = [{ name: 'OSFamily', value: os }];
      const capacities = [{ name: 'cpu', amount: slots }];
      const traits = { id, slots, properties, capacities, actionMemoryMax };
      const worker = new SimulatedWorker(traits, this);
      this.#leases.memoryOf.set(id, actionMemoryMax);
      worker.trouble = 0.05;
      this.#workers.push(worker);
      this.after(this.between(0, 10_000), () => worker.start());
    }
    this.#clients();
    this.#faults();
    this.#passUntil(() => this.#now >= faultsMs);
    this.#calmDown();
    this.#passUntil(() => this.#now >= faultsMs + 60_000 && this.#areAllDone());
    const told = [...this.#accepted.values()].flatMap((accepted) => accepted.told ?? []);
    return {
      operations: told.length,
      succeeded: told.filter(({ response }) => !response?.status?.code).length,
      restarts: this.#restarts,
      commits: this.#committed.size,
      brought: this.#leases.brought.size,
      enlarged: this.#leases.enlarged,
    };
  }

  chance(probability: number): boolean {
    return this.#random() < (this.#isCalm ? 0 : probability);
  }

  between(from: number, to: number): number {
    return Math.floor(from + this.#random() * (to - from));
  }

  after(ms: number, act: () => void): void {
    this.#events.add(this.#now + ms, act);
  }

  trace(line: string): void {
    this.#lines?.push(`${this.#now} ${line}`);
  }

  send(connection: Connection, state: WorkerState): void {
    this.#carry(() => this.#deliver(connection, state));
  }

  get #now(): number {
    return this.#clock.now() - 1_000_000_000;
  }

  /** Loses, doubles, delays and so reorders. */
  #carry(deliver: () => void): void {
    if (this.chance(0.1)) return;
    const copies = this.chance(0.1) ? 2 : 1;
    for (let copy = 0; copy < copies; copy += 1) {
      this.after(this.chance(0.1) ? this.between(100, 20_000) : this.between(1, 50), deliver);
    }
  }

  #deliver(connection: Connection, state: WorkerState): void {
    const { worker } = connection;
    const session = this.#bySession.get(connection);
    const has = state.leases.map(({ leaseId, phase }) => `${leaseId}:${phase}`).join();
    this.trace(
      `${worker.traits.id} ${state.hello?.bootId ?? ''} has ${has} (${state.sequence}, seen ${state.seenSequence})`,
    );
    if (!this.#scheduler) {
      this.after(this.between(200, 5_000), () => connection.isOpen && worker.connect());
    } else if (session) {
      if (state.draining) this.#drainHeard.add(session);
      this.#enter((scheduler) => scheduler.report(session, state));
    } else if (state.hello && (connection.isOpen || this.chance(0.5))) {
      this.#enter((scheduler) => {
        const opened = this.#connect(scheduler, connection, state);
        if (!opened) return;
        if (state.draining) this.#drainHeard.add(opened);
        this.#sessions.set(opened, connection);
        this.#bySession.set(connection, opened);
      });
    } else if (!state.hello && connection.isOpen) {
      // The hello was lost, and with it the stream.
      worker.connect();
    }
  }

  /** Undefined when its name is taken, by what may be itself of before: it tries again. */
  #connect(scheduler: Scheduler, connection: Connection, state: WorkerState): Session | undefined {
    try {
      // Rows that are not written yet would tell old news.
      const due = this.#entries > 0 ? [] : this.#leases.due(state, this.#rows.runs, scheduler);
      const session = scheduler.connect(state);
      this.#leases.kept(due, state, scheduler);
      return session;
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      this.after(this.between(200, 5_000), () => connection.isOpen && connection.worker.connect());
      return undefined;
    }
  }

  /** Lets something happen in the scheduler, which is then written and told, now or soon. */
  #enter(act: (scheduler: Scheduler) => void): void {
    const scheduler = this.#scheduler;
    if (!scheduler) return;
    act(scheduler);
    this.#entries += 1;
    scheduler.verify();
    this.#waiting.see(scheduler.workers(), this.#now);
    if (this.chance(0.3)) this.after(this.between(0, 20), () => this.#flush(scheduler));
    else this.#flush(scheduler);
  }

  #flush(scheduler: Scheduler): void {
    if (scheduler !== this.#scheduler) return;
    if (this.chance(0.02)) {
      this.trace('nothing can be written');
      this.after(1_000, () => this.#flush(scheduler));
      return;
    }
    const before = new Map(this.#rows.runs);
    scheduler.flush((changes) => this.#rows.write(changes));
    this.#leases.check(before, this.#rows.runs, scheduler, this.#entries === 1);
    this.#waiting.check(this.#rows.runs.values());
    this.#entries = 0;
    for (const name of this.#unwritten) {
      this.#accepted.set(name, { ...justAccepted, name });
      this.#watch(scheduler, name);
    }
    this.#unwritten = [];
    const { operations, sessions, commits } = scheduler.takeNews();
    for (const state of operations) this.#tell(state);
    for (const [session, desired] of sessions) this.#instruct(session, desired);
    for (const pending of commits) this.#commit(scheduler, pending);
    this.#arm(scheduler);
  }

  #arm(scheduler: Scheduler): void {
    const inMs = scheduler.wakeInMs();
    if (inMs === undefined || this.#now + inMs >= this.#wakeAt) return;
    this.#wakeAt = this.#now + inMs;
    const late = this.chance(0.01) ? this.between(1_000, 90_000) : this.between(0, 20);
    this.after(inMs + late, () => {
      if (scheduler !== this.#scheduler) return;
      this.#wakeAt = Infinity;
      this.#enter(() => scheduler.wake());
    });
  }

  #instruct(session: Session, desired: DesiredState | undefined): void {
    const connection = this.#sessions.get(session);
    if (!connection) return;
    if (!desired) {
      this.#sessions.delete(session);
      this.after(this.between(1, 2_000), () => connection.isOpen && connection.worker.connect());
      return;
    }
    for (const { leaseId } of desired.leases) {
      const isNew = !this.#offered.has(leaseId);
      const isDrained = this.#rows.drainedWorkers.includes(connection.worker.traits.id);
      assert.ok(!isNew || !isDrained, `${leaseId} goes to a drained worker`);
      assert.ok(!isNew || !this.#drainHeard.has(session), `${leaseId} goes to a draining worker`);
      this.#offered.add(leaseId);
    }
    const ids = desired.leases.map(({ leaseId }) => leaseId);
    this.trace(`${connection.worker.traits.id} shall have ${ids.join()} (${desired.sequence})`);
    this.#carry(() => {
      if (connection.worker.isPaused) return;
      connection.worker.hear(connection, desired);
    });
  }

  /** Stores a result, unless the disk is busy. */
  #commit(scheduler: Scheduler, pending: PendingCommit): void {
    const { runId, response } = pending;
    this.#leases.checkCommit(pending);
    assert.ok(!this.#committing.has(runId), `${runId} is to be stored twice`);
    this.#committing.add(runId);
    this.after(this.between(1, 500), () => {
      if (scheduler === this.#scheduler) this.#committing.delete(runId);
      if (this.chance(0.1)) {
        const error = new StatusError(Code.UNAVAILABLE, 'the disk is busy');
        this.#enter(() => scheduler === this.#scheduler && scheduler.commitFailed(pending, error));
        return;
      }
      this.#committed.set(runId, response.message);
      this.#enter(() => scheduler === this.#scheduler && scheduler.committed(pending, response));
    });
  }

  #watch(scheduler: Scheduler, name: string): void {
    const accepted = this.#accepted.get(name);
    const state = scheduler.find(name);
    if (!accepted || !state || this.chance(0.1)) return;
    this.#tell(state);
    accepted.isWatched = scheduler.watch(name);
  }

  #tell(state: OperationState): void {
    const accepted = this.#accepted.get(state.name);
    if (!accepted || !state.response) return;
    if (accepted.told) {
      assert.deepEqual(state.response, accepted.told.response, `${state.name} ended twice`);
      return;
    }
    this.trace(`${state.name} ended: ${JSON.stringify(state.response.status ?? 'ok')}`);
    accepted.told = state;
    accepted.toldAt = this.#now;
    if (state.response.result) {
      assert.ok([...this.#committed.values()].includes(state.response.message), 'told uncommitted');
    }
  }

  #clients(): void {
    this.after(this.between(10, 3_000), () => {
      if (this.#isCalm) return;
      this.#clients();
      const request = drawRequest(this);
      this.#enter((scheduler) => {
        const name = scheduler.enqueue(request);
        this.#leases.asked(request);
        this.trace(`${name} is ${request.action.hash.slice(0, 4)}`);
        this.#unwritten.push(name);
        this.#perhaps(() => this.#enter((later) => later.cancel(name)));
        this.#perhaps(() => this.#unwatch(name));
        this.#perhaps(() => this.#delete(name));
      });
    });
  }

  #perhaps(act: () => void): void {
    if (this.chance(0.1)) this.after(this.between(0, 30_000), act);
  }

  #unwatch(name: string): void {
    const accepted = this.#accepted.get(name);
    if (!accepted?.isWatched) return;
    accepted.isWatched = false;
    this.#enter((scheduler) => scheduler.unwatch(name));
  }

  #delete(name: string): void {
    const accepted = this.#accepted.get(name);
    if (!accepted) return;
    this.#enter((scheduler) => {
      accepted.isDeleted = scheduler.delete(name);
      assert.equal(scheduler.find(name), undefined, `${name} is deleted`);
    });
  }

  #faults(): void {
    this.after(this.between(500, 8_000), () => {
      if (this.#isCalm) return;
      this.#faults();
      const worker = this.#workers[this.between(0, this.#workers.length)];
      if (worker) this.#harm(worker);
    });
  }

  #harm(worker: SimulatedWorker): void {
    const fault = this.between(0, 8);
    if (fault === 0) this.#crashServer();
    else if (fault === 1 && worker.isUp) {
      const session = worker.connection && this.#bySession.get(worker.connection);
      worker.crash();
      // A process that ends is heard of, a machine that does is not.
      if (session && this.chance(0.5)) this.#enter((later) => later.disconnect(session));
      this.after(this.between(100, 60_000), () => worker.start());
    } else if (fault === 2) {
      worker.drain();
      this.after(this.between(1_000, 40_000), () => worker.start());
    } else if (fault === 3) {
      worker.isPaused = true;
      this.after(this.between(1_000, 70_000), () => (worker.isPaused = false));
    } else if (fault === 4) worker.connect();
    else if (fault === 5 && worker.connection) {
      const session = this.#bySession.get(worker.connection);
      worker.drop();
      if (session) this.#enter((scheduler) => scheduler.disconnect(session));
      this.after(this.between(100, 50_000), () => worker.connect());
    } else if (fault === 6) this.#clock.advance(this.between(0, 40_000));
    else this.#operate(worker.traits.id);
  }

  /** An operator drains a worker for a while, or wants its process to end. */
  #operate(id: string): void {
    const selection = { ids: new Set([id]) };
    if (this.chance(0.5)) {
      this.#enter((scheduler) => scheduler.updateWorkers(selection, 'terminate'));
      return;
    }
    this.trace(`${id} is drained`);
    this.#enter((scheduler) => scheduler.updateWorkers(selection, 'drain'));
    this.after(this.between(1_000, 30_000), () => this.#undrain(id));
  }

  /** The scheduler may be away, or forget it in a crash before it is written. */
  #undrain(id: string): void {
    this.#enter((scheduler) => scheduler.updateWorkers({ ids: new Set([id]) }, 'undrain'));
    if (this.#rows.drainedWorkers.includes(id)) this.after(1_000, () => this.#undrain(id));
  }

  #crashServer(): void {
    if (!this.#scheduler) return;
    this.trace('the scheduler crashes');
    this.#scheduler = undefined;
    this.after(this.between(10, 40_000), () => this.#restart());
    for (const worker of this.#workers) {
      const { connection } = worker;
      this.after(this.between(0, 6_000), () => connection?.isOpen && worker.connect());
    }
  }

  #restart(): void {
    if (this.#scheduler) return;
    this.trace('the scheduler starts');
    this.#restarts += 1;
    this.#sessions = new Map();
    this.#bySession = new Map();
    this.#unwritten = [];
    this.#committing.clear();
    this.#entries = 0;
    this.#wakeAt = Infinity;
    // Waiting is worth nothing here: who is more urgent must never be overtaken.
    const limits = { ...defaultSchedulerOptions, attemptsMax: 4, priorityPointMs: 1e9 };
    const stored = this.#rows.load();
    const scheduler = new Scheduler({ clock: this.#clock, newId: this.#newId, limits, stored });
    this.#scheduler = scheduler;
    this.#waiting = new WaitingTimes(limits, this.#now);
    for (const accepted of this.#accepted.values()) {
      const { name, told, toldAt } = accepted;
      accepted.isWatched = false;
      const state = scheduler.find(name);
      const isForgotten = told && this.#now - toldAt > limits.retainDoneMs - 60_000;
      assert.ok(state ?? (isForgotten || accepted.isDeleted), `${name} is lost`);
      if (told && state) assert.deepEqual(state.response, told.response, `${name} changed its end`);
      if (!told) this.#watch(scheduler, name);
    }
    this.#enter(() => scheduler.wake());
  }

  /** From now on nothing fails, and everybody is there. */
  #calmDown(): void {
    this.trace('calm');
    this.#isCalm = true;
    this.#restart();
    for (const worker of this.#workers) {
      worker.isPaused = false;
      this.after(100_000, () => worker.start());
      worker.start();
      worker.connect();
    }
  }

  #areAllDone(): boolean {
    const scheduler = this.#scheduler;
    if (!scheduler) return false;
    for (const accepted of this.#accepted.values()) {
      if (accepted.told || (accepted.isDeleted && !accepted.isWatched)) continue;
      const state = scheduler.findWatched(accepted.name);
      assert.ok(state, `${accepted.name} is lost`);
      if (!state.response) return false;
      assert.ok(!accepted.isWatched, `the watcher of ${accepted.name} was not told its end`);
      this.#tell(state);
    }
    return scheduler.queuedCount === 0;
  }

  #passUntil(isOver: () => boolean): void {
    while (!isOver()) {
      const { nextAt } = this.#events;
      const isLate = nextAt === undefined || nextAt > faultsMs + calmMs;
      assert.ok(!isLate, 'operations are left that do not end');
      if (nextAt > this.#now) this.#clock.advance(nextAt - this.#now);
      this.#events.runNext();
    }
  }
}
