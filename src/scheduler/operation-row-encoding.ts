import { Code, StatusError } from '../base/status.ts';
import { Digest } from '../digest/digest.ts';
import { allDigestFunctions } from '../digest/digest-functions.ts';
import {
  ExecuteResponse,
  Platform,
  RequestMetadata,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { StoredOperation, StoredRun } from './operation-rows.ts';

interface DigestRow {
  readonly digest_function: string;
  readonly hash: string;
  readonly size_bytes: number;
}

/** A row of table `run`. */
export interface RunRow extends DigestRow {
  readonly id: string;
  readonly instance_name: string;
  readonly timeout_ms: number;
  readonly do_not_cache: number;
  readonly asked_priority: number;
  readonly platform: Uint8Array;
  readonly request_metadata: Uint8Array | null;
  readonly queued_at: number;
  readonly position: number;
  readonly priority: number;
  readonly epoch: number;
  readonly losses: number;
  readonly failures: number;
  readonly refusals: number;
  /** A JSON list of worker ids. */
  readonly avoided: string;
  readonly lease_id: string | null;
  readonly worker_id: string | null;
  readonly boot_id: string | null;
  readonly memory_above: number;
}

/** A row of table `operation`, without its number. */
export interface OperationRow extends DigestRow {
  readonly name: string;
  readonly instance_name: string;
  readonly run_id: string | null;
  readonly done_at: number | null;
  readonly response: Uint8Array | null;
  readonly deleted: number;
  readonly request_metadata: Uint8Array | null;
}

/** `storedRun` undoes it. */
export function runRow({ request, lease, ...run }: StoredRun): RunRow {
  const { requestMetadata } = request;
  return {
    ...digestRow(request.action),
    id: run.id,
    instance_name: request.instanceName,
    timeout_ms: request.timeoutMs,
    do_not_cache: request.doNotCache ? 1 : 0,
    asked_priority: request.priority,
    platform: Platform.encode({ properties: [...request.properties] }).finish(),
    request_metadata: metadataBytes(requestMetadata),
    queued_at: run.queuedAt,
    position: run.order,
    priority: run.priority,
    epoch: run.epoch,
    losses: run.losses,
    failures: run.failures,
    refusals: run.refusals,
    avoided: JSON.stringify(run.avoided),
    lease_id: lease?.id ?? null,
    worker_id: lease?.workerId ?? null,
    boot_id: lease?.bootId ?? null,
    memory_above: run.memoryAbove,
  };
}

/** Fails with DATA_LOSS when this program does not know its digest function. */
export function storedRun(row: RunRow): StoredRun {
  const { lease_id: id, worker_id: workerId, boot_id: bootId } = row;
  return {
    id: row.id,
    request: {
      instanceName: row.instance_name,
      action: digestOf(row),
      timeoutMs: row.timeout_ms,
      doNotCache: row.do_not_cache === 1,
      priority: row.asked_priority,
      properties: Platform.decode(row.platform).properties,
      requestMetadata: metadataOf(row),
    },
    queuedAt: row.queued_at,
    order: row.position,
    priority: row.priority,
    epoch: row.epoch,
    losses: row.losses,
    failures: row.failures,
    refusals: row.refusals,
    avoided: JSON.parse(row.avoided) as string[],
    memoryAbove: row.memory_above,
    lease:
      id !== null && workerId !== null && bootId !== null ? { id, workerId, bootId } : undefined,
  };
}

/** `storedOperation` undoes it. */
export function operationRow(operation: StoredOperation): OperationRow {
  const { name, instanceName, action, requestMetadata, runId, done, isDeleted } = operation;
  return {
    ...digestRow(action),
    name,
    instance_name: instanceName,
    run_id: runId ?? null,
    done_at: done?.at ?? null,
    response: done ? ExecuteResponse.encode(done.response).finish() : null,
    deleted: isDeleted ? 1 : 0,
    request_metadata: metadataBytes(requestMetadata),
  };
}

/** Fails as `storedRun` does. */
export function storedOperation(row: OperationRow): StoredOperation {
  const { done_at: at, response } = row;
  return {
    name: row.name,
    instanceName: row.instance_name,
    action: digestOf(row),
    requestMetadata: metadataOf(row),
    runId: row.run_id ?? undefined,
    done: at !== null && response ? { at, response: ExecuteResponse.decode(response) } : undefined,
    isDeleted: row.deleted === 1,
  };
}

function metadataBytes(metadata: RequestMetadata | undefined): Uint8Array | null {
  return metadata ? RequestMetadata.encode(metadata).finish() : null;
}

function metadataOf({
  request_metadata: bytes,
}: RunRow | OperationRow): RequestMetadata | undefined {
  return bytes ? RequestMetadata.decode(bytes) : undefined;
}

function digestRow({ function: { name }, hash, sizeBytes }: Digest): DigestRow {
  return { digest_function: name, hash, size_bytes: sizeBytes };
}

function digestOf({ digest_function: name, hash, size_bytes: sizeBytes }: DigestRow): Digest {
  const digestFunction = allDigestFunctions.find((known) => known.name === name);
  if (!digestFunction) {
    throw new StatusError(Code.DATA_LOSS, `the row of action ${hash} has digest function ${name}`);
  }
  return Digest.of(digestFunction, hash, sizeBytes);
}
