import type { Digest } from '../digest/digest.ts';
import type {
  ExecuteResponse,
  RequestMetadata,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Changes } from './changes.ts';
import type { Deadlines } from './deadlines.ts';
import { memoryOf } from './memory-of.ts';
import { type Done, type Operation, type Run, streamsOf } from './run.ts';
import type { SchedulerOptions } from './scheduler-options.ts';
import type { SteadyTime } from './steady-time.ts';

export interface OperationTableOptions {
  readonly time: SteadyTime;
  readonly deadlines: Deadlines;
  readonly changes: Changes;
  readonly limits: SchedulerOptions;
  /** Told when nobody watched the operation for too long. */
  readonly onAbandoned: (operation: Operation, afterMs: number) => void;
}

export interface NewOperation {
  readonly name: string;
  readonly instanceName: string;
  readonly action: Digest;
  readonly requestMetadata: RequestMetadata | undefined;
  readonly isDurable: boolean;
}

/** What of an operation of before a restart does not come from its run. */
export interface OldOperation extends Omit<NewOperation, 'isDurable'> {
  readonly done: Done | undefined;
  readonly isDeleted: boolean;
}

/** All operations by name, from when they are asked for until nobody can ask for them any more. */
export class OperationTable {
  readonly #options: OperationTableOptions;
  /** Oldest first. */
  readonly #operations = new Map<string, Operation>();
  /** Those that are done, in the order in which they became so, and what their responses take in memory. */
  readonly #done = new Map<Operation, number>();
  #doneBytes = 0;
  /** Operations that look different since `takeChanged`. */
  #changed = new Set<Operation>();

  constructor(options: OperationTableOptions) {
    this.#options = options;
  }

  get pendingCount(): number {
    return this.#operations.size - this.#done.size;
  }

  find(name: string): Operation | undefined {
    const operation = this.#operations.get(name);
    return operation?.isDeleted ? undefined : operation;
  }

  /** Finds deleted ones too, for those who watched before. */
  findAny(name: string): Operation | undefined {
    return this.#operations.get(name);
  }

  /** Those of all instances that are not deleted, oldest first. */
  all(): Operation[] {
    return [...this.#operations.values()].filter(({ isDeleted }) => !isDeleted);
  }

  /** Those of one instance that are not deleted, oldest first. */
  list(instanceName: string): Operation[] {
    return this.all().filter((operation) => operation.instanceName === instanceName);
  }

  /** A new operation that waits for the run, or for `finish`. */
  add(named: NewOperation, run: Run | undefined): Operation {
    const operation = this.#put(named, run);
    this.#options.changes.newOperation(operation);
    return operation;
  }

  /** An operation of before a restart. */
  restore({ done, isDeleted, ...named }: OldOperation, run: Run | undefined): Operation {
    const operation = this.#put({ ...named, isDurable: true }, run);
    operation.isDeleted = isDeleted;
    if (done) this.#retain(operation, done);
    return operation;
  }

  /** Nobody finds it from now on. Its run goes on, and those who watch it still hear the end (OPS-07). */
  delete(operation: Operation): void {
    if (operation.done) {
      this.#forget(operation);
      return;
    }
    operation.isDeleted = true;
    this.#options.changes.operation(operation);
  }

  finish(operation: Operation, response: ExecuteResponse): void {
    this.#retain(operation, { response, at: this.#options.time.wallNow });
    this.#options.changes.operation(operation);
    this.#changed.add(operation);
    if (operation.isDeleted) this.#forget(operation);
  }

  /** Its run went on or back: watchers are told, and the wait for one starts anew (EXE-28). */
  changed(run: Run): void {
    for (const operation of run.operations) {
      this.#changed.add(operation);
      this.#awaitWatcher(operation);
    }
  }

  watch(operation: Operation): void {
    operation.watchers += 1;
    if (!operation.done) operation.deadline?.cancel();
  }

  unwatch(operation: Operation): void {
    operation.watchers -= 1;
    this.#awaitWatcher(operation);
  }

  takeChanged(): ReadonlySet<Operation> {
    const changed = this.#changed;
    this.#changed = new Set();
    return changed;
  }

  #put(named: NewOperation, run: Run | undefined): Operation {
    const operation: Operation = {
      ...named,
      run,
      done: undefined,
      streams: undefined,
      isDeleted: false,
      watchers: 0,
      deadline: undefined,
    };
    this.#operations.set(operation.name, operation);
    run?.operations.add(operation);
    this.#awaitWatcher(operation);
    return operation;
  }

  /** Done since then: what is past its time already is forgotten at the next deadline. */
  #retain(operation: Operation, done: Done): void {
    const { time, deadlines, limits } = this.#options;
    operation.streams = operation.run && streamsOf(operation.run);
    operation.run?.operations.delete(operation);
    operation.run = undefined;
    operation.done = done;
    operation.deadline?.cancel();
    const ageMs = Math.max(0, time.wallNow - done.at);
    operation.deadline = deadlines.add(time.now + Math.max(0, limits.retainDoneMs - ageMs), () =>
      this.#forget(operation),
    );
    const memoryBytes = memoryOf(done.response);
    this.#done.set(operation, memoryBytes);
    this.#doneBytes += memoryBytes;
    for (const oldest of this.#done.keys()) {
      const { size } = this.#done;
      const isFull = size > limits.retainedDoneMax || this.#doneBytes > limits.retainedDoneBytesMax;
      if (!isFull || oldest === operation) return;
      this.#forget(oldest);
    }
  }

  #awaitWatcher(operation: Operation): void {
    if (operation.done || operation.watchers > 0) return;
    const { time, deadlines, limits, onAbandoned } = this.#options;
    const isQueued = operation.run?.place.kind === 'queued';
    const afterMs = isQueued ? limits.abandonQueuedAfterMs : limits.abandonRunningAfterMs;
    operation.deadline?.cancel();
    operation.deadline = deadlines.add(time.now + afterMs, () => onAbandoned(operation, afterMs));
  }

  #forget(operation: Operation): void {
    operation.deadline?.cancel();
    this.#operations.delete(operation.name);
    this.#doneBytes -= this.#done.get(operation) ?? 0;
    this.#done.delete(operation);
    this.#options.changes.forgotten(operation);
  }
}
