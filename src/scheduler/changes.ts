import type { OperationChanges, StoredOperation, StoredRun } from './operation-rows.ts';
import type { Operation, Run } from './run.ts';

/** Collects what has to be written before anybody hears of it. */
export class Changes {
  readonly #runs = new Set<Run>();
  readonly #operations = new Set<Operation>();
  readonly #endedRuns = new Set<string>();
  readonly #forgotten = new Set<string>();
  /** Runs and operations of which there is no row: there is none to take away when they end. */
  readonly #rowless = new Set<Run | Operation>();
  #drainedWorkers: ReadonlySet<string> | undefined;
  #terminatingWorkers: ReadonlyMap<string, string> | undefined;

  newRun(run: Run): void {
    this.#rowless.add(run);
    this.run(run);
  }

  run(run: Run): void {
    this.#runs.add(run);
  }

  endedRun(run: Run): void {
    this.#runs.delete(run);
    if (!this.#rowless.delete(run)) this.#endedRuns.add(run.id);
  }

  newOperation(operation: Operation): void {
    if (operation.isDurable) this.#rowless.add(operation);
    this.operation(operation);
  }

  operation(operation: Operation): void {
    if (operation.isDurable) this.#operations.add(operation);
  }

  drainedWorkers(all: ReadonlySet<string>): void {
    this.#drainedWorkers = all;
  }

  /** By the name of each worker, its start that is meant. */
  terminatingWorkers(all: ReadonlyMap<string, string>): void {
    this.#terminatingWorkers = all;
  }

  forgotten(operation: Operation): void {
    if (!operation.isDurable) return;
    this.#operations.delete(operation);
    if (!this.#rowless.delete(operation)) this.#forgotten.add(operation.name);
  }

  /** Hands over what has collected; it is forgotten only if `write` does not throw. */
  flush(write: (changes: OperationChanges) => void): void {
    const sets = [this.#runs, this.#operations, this.#endedRuns, this.#forgotten];
    const drained = this.#drainedWorkers;
    const terminating = this.#terminatingWorkers;
    if (sets.every(({ size }) => size === 0) && !drained && !terminating) return;
    write({
      runs: [...this.#runs].map(storedRun),
      operations: [...this.#operations].map(storedOperation),
      endedRuns: [...this.#endedRuns],
      forgottenOperations: [...this.#forgotten],
      drainedWorkers: drained && [...drained],
      terminatingWorkers:
        terminating && [...terminating].map(([workerId, bootId]) => ({ workerId, bootId })),
    });
    this.#drainedWorkers = undefined;
    this.#terminatingWorkers = undefined;
    for (const set of [...sets, this.#rowless]) set.clear();
  }
}

function storedRun(run: Run): StoredRun {
  const { id, request, queuedAt, order, priority, epoch, losses, failures, refusals, place } = run;
  const lease = 'lease' in place ? place.lease : undefined;
  return {
    id,
    request,
    queuedAt,
    order,
    priority,
    epoch,
    losses,
    failures,
    refusals,
    avoided: [...run.avoided],
    memoryAbove: run.requirements.memoryAbove,
    lease: lease && { id: lease.id, workerId: lease.workerId, bootId: lease.bootId },
  };
}

function storedOperation(operation: Operation): StoredOperation {
  const { name, instanceName, action, requestMetadata, run, done, isDeleted } = operation;
  return { name, instanceName, action, requestMetadata, runId: run?.id, done, isDeleted };
}
