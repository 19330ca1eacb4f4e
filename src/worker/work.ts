import { aborted } from '../base/aborted.ts';
import { type Clock, slept } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import { Code, StatusError } from '../base/status.ts';
import type { DesiredState, Hello, WorkerState } from '../proto/expbuild/worker/v1/worker.ts';
import { msOf } from '../scheduler/protobuf-time.ts';
import type { WorkQueue } from '../scheduler/work-queue.ts';
import { fittingResults } from './fitting-results.ts';
import { HeldLeases, type HeldLeasesOptions } from './held-leases.ts';
import { helloOf, type WorkerDescription } from './hello.ts';
import type { ActionEnvironment } from './run-action.ts';
import { SelfTests, type SelfTestOptions } from './self-tests.ts';
import { sweepActions } from './sweep-actions.ts';

export interface WorkOptions extends HeldLeasesOptions, SelfTestOptions, WorkerDescription {
  readonly queue: WorkQueue;
  /** Where it is, for people. */
  readonly server: string;
  readonly random: Random;
  /** How long running actions may take to end once the worker shall stop. */
  readonly drainTimeoutMs: number;
  /** How long the scheduler may take, once nothing runs any more, to take the last results. */
  readonly lastReportMs: number;
  readonly reconnectMs: number;
  readonly reconnectMsMax: number;
  /** With leases, which are lost when the worker is away for some seconds. */
  readonly reconnectWithLeasesMsMax: number;
}

export const defaultWorkOptions = {
  // A kernel setting or a mount that changes below a worker; a test takes a tenth of a second.
  proveEveryMs: 60 * 60_000,
  proveAgainMs: 60_000,
  // Most actions end within it; whoever has longer ones says so, as `drain_timeout`.
  drainTimeoutMs: 5 * 60_000,
  lastReportMs: 10_000,
  // A scheduler that restarts is back at once, and a thousand workers do not come all together.
  reconnectMs: 200,
  reconnectMsMax: 10_000,
  reconnectWithLeasesMsMax: 3_000,
} as const satisfies Partial<WorkOptions>;

/** The scheduler was heard, and said no: to the version, to the name, to what the worker says of itself. */
const refusals: ReadonlySet<Code> = new Set([
  Code.FAILED_PRECONDITION,
  Code.INVALID_ARGUMENT,
  Code.UNIMPLEMENTED,
]);

/** Until the scheduler has said how often it wants to hear of the worker. */
const firstHeartbeatMs = 5_000;

/**
 * Runs what the scheduler wants, until `drain` aborts and the last result is taken, or `signal` aborts,
 * which ends running actions. Leases outlive the connection: the worker goes on with them and connects
 * again. What earlier actions left on the disk is removed first (WRK-02).
 */
export async function work(
  options: WorkOptions,
  environment: ActionEnvironment,
  drain: AbortSignal,
  signal: AbortSignal,
): Promise<void> {
  await sweepActions(options.folder, options.log);
  await new Worker(options, environment, drain).run(signal);
}

/** One worker from its first connection to its end. */
class Worker {
  readonly #options: WorkOptions;
  readonly #clock: Clock;
  /** Its own shutdown, or the scheduler's wish for one. */
  readonly #drain: AbortSignal;
  readonly #terminating = new AbortController();
  /** It is to stop, and nothing runs any more. */
  readonly #idle = new AbortController();
  readonly #leases: HeldLeases;
  readonly #selfTests: SelfTests;
  readonly #hello: Hello;
  #heartbeatMs = firstHeartbeatMs;
  /** Of the present connection: the last desired state that was acted on. */
  #seen = 0;
  #change = Promise.withResolvers<void>();

  constructor(options: WorkOptions, environment: ActionEnvironment, drain: AbortSignal) {
    this.#options = options;
    this.#clock = environment.clock;
    this.#drain = AbortSignal.any([drain, this.#terminating.signal]);
    this.#leases = new HeldLeases(options, environment, () => this.#changed());
    this.#selfTests = new SelfTests(options, this.#leases, this.#clock, () => this.#changed());
    this.#hello = helloOf(options, environment.workerId, options.newId(), options.executors.length);
  }

  async run(signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const either = AbortSignal.any([signal, over.signal]);
    const drained = this.#drained(over, either);
    const testing = this.#selfTests.run(either);
    try {
      await this.#connectForEver(either);
    } finally {
      over.abort();
      this.#leases.stopAll();
      await this.#leases.allEnded();
      await Promise.all([drained, testing]);
    }
  }

  get #reconnectMsMax(): number {
    const { reconnectMsMax, reconnectWithLeasesMsMax } = this.#options;
    return this.#leases.size > 0 ? reconnectWithLeasesMsMax : reconnectMsMax;
  }

  /** Why it is to take nothing new although it does not shut down. */
  get #trouble(): string | undefined {
    return this.#selfTests.failedWhy ?? this.#leases.uncleanWhy;
  }

  get #isFinished(): boolean {
    return this.#drain.aborted && this.#leases.size === 0;
  }

  /** Once the worker is to stop: gives actions their time, ends the rest, and sees that it comes to an end. */
  async #drained(over: AbortController, signal: AbortSignal): Promise<void> {
    await Promise.race([aborted(this.#drain), aborted(signal)]);
    this.#changed();
    const { drainTimeoutMs, lastReportMs, log } = this.#options;
    if (!signal.aborted) log.info('draining', { leases: this.#leases.size });
    if (await slept(drainTimeoutMs, this.#clock, AbortSignal.any([signal, this.#idle.signal]))) {
      log.warn('actions took too long to end and go back to the queue', { drainTimeoutMs });
      // The scheduler sees that they are not held any more, and gives them to others.
      this.#leases.stopAll();
    }
    if (!(await slept(lastReportMs, this.#clock, signal))) return;
    const { size: leases } = this.#leases;
    log.warn('stops without the scheduler, which does not take the last results', { leases });
    over.abort();
  }

  async #connectForEver(signal: AbortSignal): Promise<void> {
    const { server, log, random, reconnectMs } = this.#options;
    for (let failures = 0; !signal.aborted;) {
      let isHeard = false;
      try {
        await this.#connect(signal, () => {
          isHeard = true;
          failures = 0;
        });
        if (this.#isFinished || signal.aborted) return;
        log.info('the scheduler ended the connection');
      } catch (error) {
        if (signal.aborted) return;
        const { code, message } = StatusError.from(error);
        const fields = { server, code, error: message, failures };
        // It tries again all the same: either side may be upgraded, or the other worker end.
        if (refusals.has(code)) log.error('the scheduler refuses this worker', fields);
        else log.warn('no connection to the scheduler', fields);
      }
      if (this.#isFinished) return;
      const isIdle = this.#idle.signal.aborted;
      if (isIdle && !isHeard && this.#leases.areKept) {
        log.info('stops without the scheduler: results are brought at the next start', {
          results: this.#leases.size,
        });
        return;
      }
      const most = Math.min(reconnectMs * 2 ** failures, this.#reconnectMsMax);
      failures = Math.min(failures + 1, 30);
      const wakes = isIdle ? signal : AbortSignal.any([signal, this.#idle.signal]);
      await slept(random() * most, this.#clock, wakes);
    }
  }

  /** One connection, from hello to its end. */
  async #connect(signal: AbortSignal, onConnected: () => void): Promise<void> {
    const ended = new AbortController();
    const either = AbortSignal.any([signal, ended.signal]);
    this.#seen = 0;
    try {
      for await (const desired of this.#options.queue.connect(this.#states(either), either)) {
        onConnected();
        this.#take(desired);
      }
    } finally {
      ended.abort();
    }
  }

  #take({ welcome, sequence, leases, terminate }: DesiredState): void {
    if (sequence <= this.#seen) return;
    if (terminate) this.#terminating.abort();
    if (welcome) {
      const { heartbeatEvery } = welcome;
      this.#heartbeatMs = (heartbeatEvery && msOf(heartbeatEvery)) || firstHeartbeatMs;
      const { server, log } = this.#options;
      log.info('connected to the scheduler', { worker: this.#hello.workerId, server });
    }
    this.#seen = sequence;
    this.#leases.reconcile(leases, !this.#drain.aborted && this.#trouble === undefined);
  }

  /** All the worker is doing: at once, at each change, and when it was silent for a heartbeat. */
  async *#states(signal: AbortSignal): AsyncGenerator<WorkerState, void> {
    for (let sequence = 1; !signal.aborted; sequence++) {
      const change = this.#change.promise;
      const isLast = this.#isFinished;
      yield {
        hello: sequence === 1 ? this.#hello : undefined,
        sequence,
        seenSequence: this.#seen,
        leases: fittingResults(this.#leases.states),
        draining: this.#drain.aborted || this.#trouble !== undefined,
        trouble: this.#trouble ?? '',
      };
      if (isLast) return;
      const waiting = new AbortController();
      await Promise.race([
        change,
        slept(this.#heartbeatMs, this.#clock, AbortSignal.any([signal, waiting.signal])),
      ]);
      waiting.abort();
    }
  }

  #changed(): void {
    if (this.#drain.aborted && this.#leases.unfinished === 0) this.#idle.abort();
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }
}
