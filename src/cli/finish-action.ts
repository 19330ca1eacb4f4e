import { Code, StatusError } from '../base/status.ts';
import { downloadOutputs } from '../client/download-outputs.ts';
import {
  runAction,
  type RunEvents,
  type RunOptions,
  type RunOutcome,
} from '../client/run-action.ts';
import type { ShownOutput } from '../client/shown-output.ts';
import {
  type ActionResult,
  type ExecuteOperationMetadata,
  ExecutionStage_Value,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { WaitingReason } from '../proto/expbuild/operation/v1/waiting_reason.ts';
import { waitingReasonUrl } from '../scheduler/operation-state.ts';
import type { Program } from './command.ts';
import { describeResult } from './describe-result.ts';
import { UnfinishedError } from './exit-codes.ts';
import { printable } from '../base/printable.ts';
import { counted, formatDuration, Progress } from './progress.ts';
import type { Session } from './session.ts';
import { shownOutput } from './show-output.ts';

export interface FinishOptions {
  /** Where outputs go. */
  readonly output: string;
  readonly json: boolean;
  readonly verbose: boolean;
}

const stageNames = new Map<number, string>([
  [ExecutionStage_Value.CACHE_CHECK, 'looking for a stored result'],
  [ExecutionStage_Value.QUEUED, 'queued'],
  [ExecutionStage_Value.EXECUTING, 'executing'],
]);

/**
 * Runs an action and brings home what it made: stdout and stderr to ours, outputs to their folder. The
 * exit code is the action's own.
 */
export async function finishAction(
  program: Program,
  session: Session,
  run: RunOptions,
  { output, json, verbose }: FinishOptions,
): Promise<number> {
  const { terminal, clock, newId, leaving } = program;
  const startedAt = clock.now();
  const progress = new Progress('uploading', terminal, clock);
  // With --json, standard output is for the JSON object alone; it names the blobs.
  const shown = json ? undefined : shownOutput(program, session);
  const events = eventsFor(program, progress, verbose, shown);
  let outcome: RunOutcome;
  try {
    outcome = await runAction(session.remote, run, events, leaving).catch((thrown: unknown) => {
      throw refusedToRun(run, thrown);
    });
    const isCutShort = outcome.kind === 'unfinished';
    await shown?.finish(outcome.result, isCutShort, run.action.function, leaving);
  } finally {
    progress.end();
    await shown?.stop();
  }
  if (outcome.kind === 'unfinished') {
    throw new UnfinishedError(`action ${run.action} did not finish: ${outcome.error.message}`, {
      cause: outcome.error,
    });
  }
  const { result, isCached, message } = outcome;
  const downloading = new Progress('downloading', terminal, clock);
  const { blobs } = session.remote;
  const ports = { blobs, newId };
  const downloaded = await downloadOutputs(
    result,
    run.action.function,
    output,
    ports,
    leaving,
    (state) =>
      downloading.show({
        done: state.doneFiles,
        all: state.files,
        doneBytes: state.doneBytes,
        allBytes: state.bytes,
      }),
  ).finally(() => downloading.end());
  if (message !== '') terminal.note(printable(message));
  const took = formatDuration(clock.now() - startedAt);
  const how = isCached ? 'stored result' : `executed on ${workerOf(result)}`;
  const files = downloaded.files > 0 ? `, ${counted(downloaded.files, 'output file')}` : '';
  terminal.note(terminal.style('dim', `exit code ${result.exitCode}, ${how}${files}, in ${took}`));
  if (json) {
    const described = { action: `${run.action}`, isCached, message, ...describeResult(result) };
    terminal.out(JSON.stringify(described));
  }
  return result.exitCode;
}

function eventsFor(
  { terminal }: Program,
  progress: Progress,
  isVerbose: boolean,
  shown: ShownOutput | undefined,
): RunEvents {
  let last = '';
  const tell = (text: string, detail = '') => {
    if (text === last) return;
    last = text;
    terminal.note(terminal.style('dim', `${text}${detail}`));
  };
  return {
    uploading: ({ sentBlobs, blobs, sentBytes, bytes }) =>
      progress.show({ done: sentBlobs, all: blobs, doneBytes: sentBytes, allBytes: bytes }),
    postponed: ({ message }) => tell(`not taken yet: ${printable(withoutRequest(message))}`),
    uploadingAgain: (blobs) =>
      terminal.note(`the server has lost ${counted(blobs, 'input')}: uploading again`),
    state: (metadata, operationName) => {
      shown?.follow(metadata);
      const { stage } = metadata;
      const name = stageNames.get(stage);
      const reason = waitingReasonOf(metadata);
      const text = reason === undefined ? name : `${name}: ${printable(reason)}`;
      if (text !== undefined) tell(text, isVerbose ? ` (operation ${operationName})` : '');
    },
  };
}

/** Each call has an id of its own, and says the same otherwise. */
function withoutRequest(message: string): string {
  return message.replace(/ \(request \S+\)$/, '');
}

/** Why the operation is queued, where the server says it. */
function waitingReasonOf({
  partialExecutionMetadata,
}: ExecuteOperationMetadata): string | undefined {
  const found = partialExecutionMetadata?.auxiliaryMetadata.find(
    ({ typeUrl }) => typeUrl === waitingReasonUrl,
  );
  return found && WaitingReason.decode(found.value).text;
}

/** What is wrong with the action itself, rather than with the server or the way to it. */
const refusals: readonly Code[] = [
  Code.INVALID_ARGUMENT,
  Code.FAILED_PRECONDITION,
  Code.RESOURCE_EXHAUSTED,
];

function refusedToRun({ action }: RunOptions, thrown: unknown): unknown {
  const { code, message } = StatusError.from(thrown);
  if (!refusals.includes(code)) return thrown;
  return new UnfinishedError(`action ${action} cannot run: ${message}`, { cause: thrown });
}

const workerOf = ({ executionMetadata }: ActionResult) =>
  printable(executionMetadata?.worker || 'an unnamed worker');
