import assert from 'node:assert/strict';
import type { NewId } from '../base/id.ts';
import { Code, StatusError } from '../base/status.ts';
import type { ExecuteResponse } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Changes } from './changes.ts';
import { endedBy, retryAfter } from './endings.ts';
import type { OperationTable } from './operation-table.ts';
import type { StoredRun } from './operation-rows.ts';
import type { ActionRequest } from './operations.ts';
import type { Invocations } from './invocations.ts';
import type { KnownWorkers } from './known-workers.ts';
import { requirementsOf, withMoreMemory } from './platform.ts';
import type { PendingCommits } from './pending-commits.ts';
import { type GivenLease, newLease, type Place, type Run } from './run.ts';
import { platformCharsOf, type RunIndex } from './run-index.ts';
import type { Quarantine } from './quarantine.ts';
import type { RunQueues } from './run-queues.ts';
import type { SchedulerOptions } from './scheduler-options.ts';
import type { SteadyTime } from './steady-time.ts';
import type { Worker } from './worker.ts';

export interface RunsOptions {
  readonly time: SteadyTime;
  readonly newId: NewId;
  readonly changes: Changes;
  readonly operations: OperationTable;
  readonly queues: RunQueues;
  readonly runIndex: RunIndex;
  readonly commits: PendingCommits;
  readonly knownWorkers: KnownWorkers;
  readonly invocations: Invocations;
  readonly quarantine: Quarantine;
  readonly limits: SchedulerOptions;
}

/** What becomes of runs: they are queued, leased, queued again or committing, and then no more. */
export class Runs {
  readonly #options: RunsOptions;
  readonly #ignored: ReadonlySet<string>;
  #nextOrder = 1;

  constructor(options: RunsOptions) {
    this.#options = options;
    this.#ignored = new Set(options.limits.ignoredProperties);
  }

  /** A run for the request: one that is on its way already if there is one that it may share. */
  obtain(request: ActionRequest): Run {
    const joined = this.#options.runIndex.findJoinable(request);
    if (!joined) return this.#start(request);
    this.#join(joined, request);
    return joined;
  }

  /** A run of before a restart; `place` says where it is, with the lease that it has. */
  restore(stored: StoredRun, place: (run: Run) => Place): Run {
    const { time, invocations, runIndex } = this.#options;
    const invocation = invocations.join(stored.request, time.now);
    const run: Run = {
      ...stored,
      requirements: withMoreMemory(
        requirementsOf(stored.request.properties, this.#ignored),
        stored.memoryAbove,
      ),
      enteredAt: time.now - Math.max(0, time.wallNow - stored.queuedAt),
      invocation,
      invocations: [invocation],
      operations: new Set(),
      avoided: new Set(stored.avoided),
      latestLease: undefined,
      place: { kind: 'queued' },
    };
    runIndex.add(run);
    run.place = place(run);
    if ('lease' in run.place) this.#begin(run, run.place.lease);
    else this.#options.queues.add(run, true);
    this.#nextOrder = Math.max(this.#nextOrder, run.order + 1);
    return run;
  }

  /** Promises the run to the worker. It must have left its queue. */
  lease(run: Run, worker: Worker): GivenLease {
    assert.equal(run.place.kind, 'queued');
    run.epoch += 1;
    const lease = newLease(run, this.#options.newId(), worker);
    run.place = { kind: 'leased', lease };
    this.#begin(run, lease);
    this.#changed(run);
    return lease;
  }

  /** The lease counts again, as its worker is back with its result. */
  resume(lease: GivenLease): void {
    const { run } = lease;
    assert.equal(run.latestLease, lease);
    if (run.place.kind === 'queued') {
      this.#options.queues.remove(run);
      run.place = { kind: 'leased', lease };
      this.#begin(run, lease);
    }
    this.#changed(run);
  }

  /** Its worker is gone, and what it did with it: another one runs it again (EXE-64). */
  lose(run: Run, what: string): void {
    const { attemptsMax, retryDelayMs, quarantineMs } = this.#options.limits;
    run.losses += 1;
    if (run.losses < attemptsMax) {
      this.#requeue(run);
      return;
    }
    const { instanceName, action } = run.request;
    const message = `${what}; workers were lost ${run.losses} times while they ran action ${action}`;
    const minutes = quarantineMs / 60_000;
    const why = `${message}: it appears to take them down, and is not run again for ${minutes} minutes`;
    this.#options.quarantine.add(instanceName, action, why);
    this.end(run, endedBy(Code.UNAVAILABLE, message, [retryAfter(retryDelayMs)]));
  }

  /** Its worker could not run it for a reason of its own. */
  fail(run: Run, code: Code, what: string): void {
    run.failures += 1;
    const message = `${what}; workers failed ${run.failures} times to run action ${run.request.action}`;
    if (run.failures < this.#options.limits.failuresMax) this.#requeue(run);
    else this.end(run, endedBy(code, message));
  }

  /** Its worker does not have it, without saying why. */
  refuse(run: Run, what: string): void {
    const { refusalsMax, retryDelayMs } = this.#options.limits;
    run.refusals += 1;
    const message = `${what}; workers handed action ${run.request.action} back ${run.refusals} times`;
    if (run.refusals < refusalsMax) this.#requeue(run);
    else this.end(run, endedBy(Code.UNAVAILABLE, message, [retryAfter(retryDelayMs)]));
  }

  /** Its worker shuts down before it began: nothing is counted (WRK-17). */
  giveBack(run: Run): void {
    this.#requeue(run);
  }

  /**
   * It ran out of memory, of which it may have more elsewhere. That this happens but once is up to the caller,
   * and what the lease came to is not wanted, should its worker bring it again.
   */
  enlarge(run: Run, lease: GivenLease, memoryAbove: number): void {
    this.#options.runIndex.forgetLease(lease);
    run.requirements = withMoreMemory(run.requirements, memoryAbove);
    this.#requeue(run);
  }

  /** It has run, and its result goes to be stored. */
  commit(run: Run, lease: GivenLease, response: ExecuteResponse): void {
    this.#stopped(run);
    run.place = { kind: 'committing', lease, response, failures: 0 };
    this.#options.operations.changed(run);
    this.#options.commits.add(run, response);
  }

  /** All its operations are done, with this response; then it is no more. */
  end(run: Run, response: ExecuteResponse): void {
    for (const operation of run.operations) {
      this.#options.operations.finish(operation, response);
    }
    if (run.place.kind === 'queued') this.#options.queues.remove(run);
    this.#stopped(run);
    for (const invocation of run.invocations) this.#options.invocations.leave(invocation);
    run.place = { kind: 'ended' };
    this.#options.runIndex.remove(run);
    this.#options.changes.endedRun(run);
  }

  #start(request: ActionRequest): Run {
    const { limits, queues, knownWorkers, invocations, time, newId, runIndex, changes } =
      this.#options;
    this.#refuseLargePlatform(request);
    if (queues.size >= limits.queuedMax) {
      throw this.#full(`${queues.size} actions are queued`, request);
    }
    const { platformChars } = runIndex;
    if (platformChars + platformCharsOf(request) > limits.platformCharsSumMax) {
      const what = `${platformChars} characters of platform properties are kept`;
      throw this.#full(what, request);
    }
    const requirements = requirementsOf(request.properties, this.#ignored);
    knownWorkers.refuseNoAmount(requirements);
    const invocation = invocations.join(request, time.now);
    const run: Run = {
      id: newId(),
      request,
      requirements,
      queuedAt: time.wallNow,
      enteredAt: time.now,
      order: this.#nextOrder,
      invocation,
      invocations: [invocation],
      operations: new Set(),
      priority: request.priority,
      epoch: 0,
      losses: 0,
      failures: 0,
      refusals: 0,
      avoided: new Set(),
      latestLease: undefined,
      place: { kind: 'queued' },
    };
    this.#nextOrder += 1;
    runIndex.add(run);
    queues.add(run);
    changes.newRun(run);
    return run;
  }

  #full(what: string, { action }: ActionRequest): StatusError {
    const { retryDelayMs } = this.#options.limits;
    return new StatusError(
      Code.RESOURCE_EXHAUSTED,
      `${what}, which is the limit; action ${action} may come back in ${retryDelayMs} ms`,
      { details: [retryAfter(retryDelayMs)] },
    );
  }

  /** It is kept as long as the run waits, and no worker could have all of it. */
  #refuseLargePlatform(request: ActionRequest): void {
    const { platformCharsMax } = this.#options.limits;
    const chars = platformCharsOf(request);
    if (chars <= platformCharsMax) return;
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `the platform properties of action ${request.action} have ${chars} characters, more than ${platformCharsMax}; name fewer`,
    );
  }

  /** It is as urgent as the most urgent of those who asked, and goes when it is the turn of any (EXE-65). */
  #join(run: Run, request: ActionRequest): void {
    const { queues, changes, invocations, time } = this.#options;
    const isSooner = request.priority < run.priority;
    const joined = invocations.joinAs(request, run.invocations, time.now);
    if (!isSooner && !joined) return;
    const change = () => {
      run.priority = Math.min(run.priority, request.priority);
      if (joined) run.invocations.push(joined);
    };
    if (run.place.kind === 'queued') queues.change(run, change);
    else change();
    if (isSooner) changes.run(run);
  }

  #requeue(run: Run): void {
    this.#stopped(run);
    run.place = { kind: 'queued' };
    this.#options.queues.add(run, true);
    this.#changed(run);
  }

  /** The lease is the one that counts, and takes a slot. */
  #begin(run: Run, lease: GivenLease): void {
    this.#options.runIndex.setLease(run, lease);
    run.invocation.started(run, run.priority, this.#options.time.now);
  }

  /** It takes no slot any more. */
  #stopped(run: Run): void {
    run.invocation.stopped(run, this.#options.time.now);
    this.#options.queues.cheaper(run.invocation);
  }

  #changed(run: Run): void {
    this.#options.changes.run(run);
    this.#options.operations.changed(run);
  }
}
