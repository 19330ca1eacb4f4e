import { Code, StatusError } from '../base/status.ts';
import {
  Action,
  Command,
  type DeepPartial,
  type ExecuteRequest,
  ExecuteResponse,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Operation } from '../proto/google/longrunning/operations.ts';
import type { Timestamp } from '../proto/google/protobuf/timestamp.ts';
import { PreconditionFailure } from '../proto/google/rpc/error_details.ts';
import type { Status } from '../proto/google/rpc/status.ts';
import type { Api } from './api.ts';
import { expectStatus, expectThat, NotApplicable, textOf } from './expect.ts';
import { type Blob, blobOf } from './random-blobs.ts';
import { rpcs } from './rpcs.ts';

/** A message as a blob. */
export function encodedBlob<T>(
  api: Api,
  type: { fromPartial(message: DeepPartial<T>): T; encode(message: T): { finish(): Uint8Array } },
  message: DeepPartial<T>,
  digestFunction = api.tested.digestFunction,
): Blob {
  return blobOf(digestFunction, type.encode(type.fromPartial(message)).finish());
}

/** Stores an action that runs `script` in a shell, in an empty folder; nobody else has it. */
export async function putScript(
  api: Api,
  script: string,
  parts: { readonly command?: DeepPartial<Command>; readonly action?: DeepPartial<Action> } = {},
  digestFunction = api.tested.digestFunction,
): Promise<Blob> {
  const platform = { properties: [...api.tested.platform] };
  const message = { arguments: ['sh', '-c', script], platform, ...parts.command };
  const command = encodedBlob(api, Command, message, digestFunction);
  const root = blobOf(digestFunction, new Uint8Array());
  const whole: DeepPartial<Action> = {
    commandDigest: command.digest.toMessage(),
    inputRootDigest: root.digest.toMessage(),
    salt: api.random.bytes(16),
    platform,
    ...parts.action,
  };
  const action = encodedBlob(api, Action, whole, digestFunction);
  await api.put(command, root, action);
  return action;
}

/** Every message of an execution. */
export function execute(
  api: Api,
  { digest }: Blob,
  more: DeepPartial<ExecuteRequest> = {},
): Promise<Operation[]> {
  const digestFunction = digest.function.value;
  return api.all(rpcs.execute, { actionDigest: digest.toMessage(), digestFunction, ...more });
}

/** What a done operation says. */
export function responseOf(operation: Operation | undefined): ExecuteResponse {
  expectThat(operation?.done === true, 'a last message that is done', operation?.done ?? 'none');
  const { result } = operation;
  expectThat(result?.$case === 'response', 'a response in it', result?.$case ?? 'none');
  return ExecuteResponse.decode(result.value.value);
}

/** The result of an execution that must end well, whatever its exit code. */
export async function resultOf(api: Api, action: Blob, more: DeepPartial<ExecuteRequest> = {}) {
  const response = responseOf((await execute(api, action, more)).at(-1));
  expectStatus(response.status ?? { code: 0, message: '' }, Code.OK, 'the execution');
  const { result } = response;
  expectThat(result !== undefined, 'a result', 'none');
  return { response, result };
}

type Failed = Pick<Status, 'code' | 'message' | 'details'>;

/** How an execution fails: the status of the call, or that inside the done operation (EXE-12). */
export async function failureOf(api: Api, action: Blob): Promise<Failed> {
  const status = await statusOf(api, action);
  expectThat(status !== undefined && status.code !== Code.OK, 'a status that is an error', status);
  return status;
}

/**
 * Fails with NotApplicable where nobody runs an action: no worker is there, or none that has the platform
 * (EXE-08). Nothing can be told then of how the server executes.
 */
export async function expectWorker(api: Api): Promise<void> {
  const action = await putScript(api, 'true');
  let status: Failed | undefined;
  try {
    status = await statusOf(api, action);
  } catch (thrown) {
    if (!api.signal.aborted) throw thrown;
    throw new NotApplicable('no action came to an end, which a worker that fits would bring it to');
  }
  if (!status) return;
  const { code, details } = status;
  if (code === Code.UNAVAILABLE || (code === Code.FAILED_PRECONDITION && details.length === 0)) {
    throw new NotApplicable(`no worker ran an action: ${textOf(status)}`);
  }
}

async function statusOf(api: Api, action: Blob): Promise<Failed | undefined> {
  let operations: readonly Operation[];
  try {
    operations = await execute(api, action);
  } catch (thrown) {
    if (api.signal.aborted) throw thrown;
    const { code, message, details } = StatusError.from(thrown);
    return { code, message, details: details.map((detail) => ({ ...detail })) };
  }
  return responseOf(operations.at(-1)).status;
}

/** What a status says of the missing blobs. */
export function violationsOf({ details: [detail] }: Failed) {
  expectThat(detail !== undefined, 'a PreconditionFailure in the details', 'no details');
  return PreconditionFailure.decode(detail.value).violations;
}

/** The blob that a result names. */
export async function contentOf(
  api: Api,
  digest: { readonly hash: string; readonly sizeBytes: number } | undefined,
): Promise<Uint8Array> {
  expectThat(digest !== undefined, 'a digest', 'none');
  const { responses } = await api.one(rpcs.batchRead, { digests: [digest] });
  return responses[0]?.data ?? new Uint8Array();
}

/** Nanoseconds since the Unix epoch; 0 without a timestamp. */
export function nanosOf(stamp: Timestamp | undefined): bigint {
  return stamp ? BigInt(stamp.seconds) * 1_000_000_000n + BigInt(stamp.nanos) : 0n;
}
