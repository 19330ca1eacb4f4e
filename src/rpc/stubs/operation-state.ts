import { Code, StatusError } from '../../base/status.ts';
import {
  ExecuteOperationMetadata,
  ExecuteResponse,
} from '../../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Operation } from '../../proto/google/longrunning/operations.ts';
import type { Any } from '../../proto/google/protobuf/any.ts';
import type { OperationState } from '../../scheduler/operations.ts';
import { type Decodable, decodeMessage } from '../../tree/decode-message.ts';

/**
 * An operation as a server sends it. An error in place of a response becomes a response with that status,
 * which means the same. Fails with INTERNAL when it can mean nothing.
 */
export function operationStateOf(operation: Operation, instanceName: string): OperationState {
  const { name, metadata } = operation;
  return {
    name,
    instanceName,
    metadata: metadata
      ? unpacked(metadata, ExecuteOperationMetadata, 'ExecuteOperationMetadata', name)
      : ExecuteOperationMetadata.fromPartial({}),
    response: operation.done ? responseOf(operation) : undefined,
  };
}

function responseOf({ name, result }: Operation): ExecuteResponse {
  if (result?.$case === 'error') return ExecuteResponse.fromPartial({ status: result.value });
  if (result) return unpacked(result.value, ExecuteResponse, 'ExecuteResponse', name);
  throw new StatusError(Code.INTERNAL, `operation ${name} is done, and has no response`);
}

function unpacked<T>(
  { typeUrl, value }: Any,
  type: Decodable<T>,
  typeName: string,
  operation: string,
): T {
  const expected = `build.bazel.remote.execution.v2.${typeName}`;
  if (typeUrl.slice(typeUrl.lastIndexOf('/') + 1) !== expected) {
    throw new StatusError(
      Code.INTERNAL,
      `operation ${operation} has ${JSON.stringify(typeUrl)} where ${expected} belongs`,
    );
  }
  try {
    return decodeMessage(type, value, `the ${expected} of operation ${operation}`);
  } catch (thrown) {
    const { message } = StatusError.from(thrown);
    throw new StatusError(Code.INTERNAL, message, { cause: thrown });
  }
}
