import type {
  OperationChanges,
  OperationRows,
  StoredOperation,
  StoredRun,
  StoredScheduler,
  StoredStart,
} from '../../src/scheduler/operation-rows.ts';

/** Rows that live as long as this object: a disk that outlives the scheduler. */
export class MemoryOperationRows implements OperationRows {
  readonly runs = new Map<string, StoredRun>();
  readonly operations = new Map<string, StoredOperation>();
  drainedWorkers: readonly string[] = [];
  terminatingWorkers: readonly StoredStart[] = [];
  /** Set to let writes fail. */
  failure: Error | undefined;

  load(): StoredScheduler {
    return {
      runs: [...this.runs.values()],
      operations: [...this.operations.values()],
      drainedWorkers: this.drainedWorkers,
      terminatingWorkers: this.terminatingWorkers,
    };
  }

  write(changes: OperationChanges): void {
    const { runs, operations, endedRuns, forgottenOperations, drainedWorkers } = changes;
    if (this.failure) throw this.failure;
    for (const run of runs) this.runs.set(run.id, run);
    for (const operation of operations) this.operations.set(operation.name, operation);
    for (const id of endedRuns) this.runs.delete(id);
    for (const name of forgottenOperations) this.operations.delete(name);
    this.drainedWorkers = drainedWorkers ?? this.drainedWorkers;
    this.terminatingWorkers = changes.terminatingWorkers ?? this.terminatingWorkers;
  }
}
