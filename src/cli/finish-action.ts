import { Code, StatusError } from '../base/status.ts';
import { downloadOutputs } from '../client/download-outputs.ts';
import {
  runAction,
  type RunEvents,
  type RunOptions,
  type RunOutcome,
} from '../client/run-action.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import { Digest } from '../digest/digest.ts';
import {
  type ActionResult,
  type Digest as DigestMessage,
  ExecutionStage_Value,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Program } from './command.ts';
import { describeResult } from './describe-result.ts';
import { UnfinishedError } from './exit-codes.ts';
import { printable } from '../base/printable.ts';
import { counted, formatDuration, Progress } from './progress.ts';
import type { Session } from './session.ts';

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
  const events = eventsFor(program, progress, verbose);
  const outcome = await runAction(session.remote, run, events, leaving)
    .catch((thrown: unknown) => {
      throw refusedToRun(run, thrown);
    })
    .finally(() => progress.end());
  if (outcome.result) await showStreams(program, session, run.action.function, outcome, json);
  if (outcome.kind === 'unfinished') {
    throw new UnfinishedError(`action ${run.action} did not finish: ${outcome.error.message}`, {
      cause: outcome.error,
    });
  }
  const { result, isCached } = outcome;
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
  const took = formatDuration(clock.now() - startedAt);
  const how = isCached ? 'stored result' : `executed on ${workerOf(result)}`;
  const files = downloaded.files > 0 ? `, ${counted(downloaded.files, 'output file')}` : '';
  terminal.note(terminal.style('dim', `exit code ${result.exitCode}, ${how}${files}, in ${took}`));
  if (json) {
    const shown = { action: `${run.action}`, isCached, ...describeResult(result) };
    terminal.out(JSON.stringify(shown));
  }
  return result.exitCode;
}

function eventsFor({ terminal }: Program, progress: Progress, isVerbose: boolean): RunEvents {
  let lastStage = 0;
  return {
    uploading: ({ sentBlobs, blobs, sentBytes, bytes }) =>
      progress.show({ done: sentBlobs, all: blobs, doneBytes: sentBytes, allBytes: bytes }),
    uploadingAgain: (blobs) =>
      terminal.note(`the server has lost ${counted(blobs, 'input')}: uploading again`),
    stage: (stage, operationName) => {
      const name = stageNames.get(stage);
      if (stage === lastStage || name === undefined) return;
      lastStage = stage;
      const detail = isVerbose ? ` (operation ${operationName})` : '';
      terminal.note(terminal.style('dim', `${name}${detail}`));
    },
  };
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

/** With --json, standard output is for the JSON object alone; it names the blobs. */
async function showStreams(
  { terminal, leaving }: Program,
  { remote }: Session,
  digestFunction: DigestFunction,
  { result }: RunOutcome,
  json: boolean,
): Promise<void> {
  if (!result || json) return;
  const show = async (
    raw: Uint8Array,
    message: DigestMessage | undefined,
    name: string,
    write: (bytes: Uint8Array) => Promise<void>,
  ) => {
    if (raw.length > 0 || !message) return write(raw);
    const digest = Digest.fromMessage(digestFunction, message, name);
    try {
      for await (const chunk of remote.blobs.read(digest, 0, leaving)) await write(chunk);
    } catch (thrown) {
      throw StatusError.during(`fetching the action's ${name}`, thrown);
    }
  };
  await show(result.stdoutRaw, result.stdoutDigest, 'stdout', (bytes) => terminal.write(bytes));
  await show(result.stderrRaw, result.stderrDigest, 'stderr', (bytes) =>
    terminal.writeBeside(bytes),
  );
}

const workerOf = ({ executionMetadata }: ActionResult) =>
  printable(executionMetadata?.worker || 'an unnamed worker');
