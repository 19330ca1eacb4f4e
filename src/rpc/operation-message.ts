import { ExecuteOperationMetadata } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Operation } from '../proto/google/longrunning/operations.ts';
import { ExecuteResponse } from '../proto/whole/build/bazel/remote/execution/v2/remote_execution.ts';
import type { OperationState } from '../scheduler/operations.ts';
import { pack } from './any.ts';
import type { Instance, Instances } from './instances.ts';

const api = 'build.bazel.remote.execution.v2';

/** An operation as clients see it: its metadata always (EXE-03), its response once it is done (EXE-45). */
export function operationMessage({ name, metadata, response }: OperationState): Operation {
  return {
    name,
    metadata: pack(`${api}.ExecuteOperationMetadata`, ExecuteOperationMetadata, metadata),
    done: response !== undefined,
    result: response && {
      $case: 'response',
      value: pack(`${api}.ExecuteResponse`, ExecuteResponse, response),
    },
  };
}

const operationName = /^(?:(.+)\/)?operations\/[^/]+$/;

/** The instance that a name `[instance/]operations/id` says, if there is one (EXE-02, OPS-10). */
export function findInstanceOfOperation(instances: Instances, name: string): Instance | undefined {
  const match = operationName.exec(name);
  return match ? instances.find(match[1] ?? '') : undefined;
}
