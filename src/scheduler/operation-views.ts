import type { OperationPage, OperationSelection, OperationView } from './administration.ts';
import type { OperationTable } from './operation-table.ts';
import type { OperationState } from './operations.ts';
import { stateOf } from './operation-state.ts';
import type { Operation, Run } from './run.ts';
import type { RunQueues } from './run-queues.ts';
import type { WorkerTable } from './worker-table.ts';

/** Operations as others see them: with why they wait. */
export class OperationViews {
  readonly #operations: OperationTable;
  readonly #queues: RunQueues;
  readonly #workers: WorkerTable;

  constructor(operations: OperationTable, queues: RunQueues, workers: WorkerTable) {
    this.#operations = operations;
    this.#queues = queues;
    this.#workers = workers;
  }

  stateOf(operation: Operation): OperationState {
    const { run } = operation;
    const isQueued = run?.place.kind === 'queued';
    return stateOf(operation, isQueued ? this.#queues.explain(run) : undefined);
  }

  /** Oldest first. */
  select(selection: OperationSelection): Operation[] {
    return this.#operations.all().filter((operation) => isSelected(operation, selection));
  }

  /** `limit` at most. */
  page(selection: OperationSelection, limit: number): OperationPage {
    const all = this.select(selection);
    const listed = all
      .slice(0, limit)
      .map((each) => viewOfOperation(each, this.stateOf(each), this.#waitingReasonOf(each)));
    return { listed, total: all.length };
  }

  /** Why the operation is not running yet; undefined when it is, or is done. */
  #waitingReasonOf({ run }: Operation): string | undefined {
    if (run?.place.kind === 'queued') return this.#queues.explain(run);
    return run?.place.kind === 'leased' ? this.#workers.explain(run.place.lease) : undefined;
  }
}

function isSelected(
  { name, instanceName, requestMetadata, done }: Operation,
  wanted: OperationSelection,
): boolean {
  if (wanted.names && !wanted.names.has(name)) return false;
  if (done && !wanted.includeDone) return false;
  if (wanted.instanceName !== undefined && instanceName !== wanted.instanceName) return false;
  const { toolInvocationId } = wanted;
  return toolInvocationId === undefined || requestMetadata?.toolInvocationId === toolInvocationId;
}

/** `state` is the operation's, as its clients see it. */
function viewOfOperation(
  { run, requestMetadata, watchers }: Operation,
  state: OperationState,
  waitingReason: string | undefined,
): OperationView {
  return {
    state,
    waitingReason,
    workerId: run && 'lease' in run.place ? run.place.lease.workerId : undefined,
    requestMetadata,
    priority: run?.priority ?? 0,
    queuedAt: run?.queuedAt,
    earlierAttempts: run ? earlierAttemptsOf(run) : 0,
    watchers,
  };
}

function earlierAttemptsOf({ losses, failures, refusals, requirements }: Run): number {
  return losses + failures + refusals + (requirements.memoryAbove > 0 ? 1 : 0);
}
