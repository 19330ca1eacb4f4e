import {
  ExecutedActionMetadata,
  ExecutionStage_Value,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { WaitingReason } from '../proto/expbuild/operation/v1/waiting_reason.ts';
import { HeldLease_Phase } from '../proto/expbuild/worker/v1/worker.ts';
import type { OperationState } from './operations.ts';
import { timestampOf } from './protobuf-time.ts';
import { type Operation, type Run, streamsOf } from './run.ts';

/** The type of what stands in the metadata of a queued operation. */
export const waitingReasonUrl = 'type.googleapis.com/expbuild.operation.v1.WaitingReason';

/** What its clients may know of an operation (EXE-61 to EXE-63). `waitingReason`: why it is queued. */
export function stateOf(operation: Operation, waitingReason: string | undefined): OperationState {
  const { name, instanceName, action, run, done } = operation;
  const streams = done ? operation.streams : run && streamsOf(run);
  return {
    name,
    instanceName,
    metadata: {
      stage: done ? ExecutionStage_Value.COMPLETED : stageOf(run),
      actionDigest: action.toMessage(),
      digestFunction: action.function.value,
      stdoutStreamName: streams?.stdout ?? '',
      stderrStreamName: streams?.stderr ?? '',
      partialExecutionMetadata: done
        ? done.response.result?.executionMetadata
        : partialMetadataOf(run, waitingReason),
    },
    response: done?.response,
  };
}

/** EXECUTING from the moment a worker works on it, not from when it was promised one (EXE-29). */
function stageOf(run: Run | undefined): ExecutionStage_Value {
  if (run?.place.kind === 'committing') return ExecutionStage_Value.EXECUTING;
  const isStarted =
    run?.place.kind === 'leased' && (run.place.lease.phase ?? 0) >= HeldLease_Phase.PHASE_FETCHING;
  return isStarted ? ExecutionStage_Value.EXECUTING : ExecutionStage_Value.QUEUED;
}

function partialMetadataOf(
  run: Run | undefined,
  waitingReason: string | undefined,
): ExecutedActionMetadata | undefined {
  if (!run) return undefined;
  const known = 'lease' in run.place ? run.place.lease.metadata : undefined;
  return ExecutedActionMetadata.fromPartial({
    ...known,
    queuedTimestamp: timestampOf(run.queuedAt),
    auxiliaryMetadata:
      waitingReason === undefined
        ? (known?.auxiliaryMetadata ?? [])
        : [{ typeUrl: waitingReasonUrl, value: encodedReason(waitingReason) }],
  });
}

function encodedReason(text: string): Uint8Array {
  return WaitingReason.encode({ text }).finish();
}
