import type { NewId } from '../base/id.ts';
import { Code, StatusError } from '../base/status.ts';
import type { ExecuteResponse } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { endedBy, retryAfter } from './endings.ts';
import type { OperationTable } from './operation-table.ts';
import type { ActionRequest } from './operations.ts';
import type { Quarantine } from './quarantine.ts';
import type { Operation, Run } from './run.ts';
import type { Runs } from './runs.ts';
import type { SchedulerOptions } from './scheduler-options.ts';

export interface AdmissionOptions {
  readonly newId: NewId;
  readonly operations: OperationTable;
  readonly runs: Runs;
  readonly quarantine: Quarantine;
  readonly limits: Pick<SchedulerOptions, 'pendingOperationsMax' | 'retryDelayMs'>;
}

/** Makes operations of requests: those that wait for a run, and those that are done at once. */
export class Admission {
  readonly #options: AdmissionOptions;

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /** Done at once when its action is in quarantine. Fails with RESOURCE_EXHAUSTED when too many wait. */
  enqueue(request: ActionRequest): Operation {
    const { operations, runs, quarantine, limits } = this.#options;
    if (operations.pendingCount >= limits.pendingOperationsMax) throw this.#full();
    const why = quarantine.find(request.instanceName, request.action);
    if (why !== undefined) return this.complete(request, endedBy(Code.INTERNAL, why));
    return this.#add(request, runs.obtain(request), true);
  }

  complete(request: ActionRequest, response: ExecuteResponse): Operation {
    const operation = this.#add(request, undefined, false);
    this.#options.operations.finish(operation, response);
    return operation;
  }

  #add(request: ActionRequest, run: Run | undefined, isDurable: boolean): Operation {
    const { newId, operations } = this.#options;
    const { instanceName, action, requestMetadata } = request;
    const name = `${instanceName === '' ? '' : `${instanceName}/`}operations/${newId()}`;
    return operations.add({ name, instanceName, action, requestMetadata, isDurable }, run);
  }

  #full(): StatusError {
    const { pendingOperationsMax, retryDelayMs } = this.#options.limits;
    return new StatusError(
      Code.RESOURCE_EXHAUSTED,
      `${pendingOperationsMax} operations are not done, which is the limit; come back later`,
      { details: [retryAfter(retryDelayMs)] },
    );
  }
}
