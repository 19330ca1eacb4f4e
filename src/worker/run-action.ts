import { lstat } from 'node:fs/promises';
import { constants } from 'node:os';
import path from 'node:path';
import type { Clock } from '../base/clock.ts';
import { withHeldMemory } from '../base/memory.ts';
import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { Digest } from '../digest/digest.ts';
import type { Executor, Outcome } from '../executor/executor.ts';
import type { LogStreams } from '../logs/log-streams.ts';
import {
  ActionResult,
  type ExecutedActionMetadata,
  ExecuteResponse,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { HeldLease_Phase } from '../proto/expbuild/worker/v1/worker.ts';
import type { Timestamp } from '../proto/google/protobuf/timestamp.ts';
import { durationOf } from '../scheduler/protobuf-time.ts';
import { responseBytesMax } from '../scheduler/work-queue.ts';
import { collectOutputs, type OutputLimits } from '../tree/collect-outputs.ts';
import type { DirectoryCache } from '../tree/directory-cache.ts';
import { digestOfFile, fileChunks } from '../tree/file-chunks.ts';
import type { InputFiles } from '../tree/input-files.ts';
import type { FolderUse } from '../tree/input-folders.ts';
import type { BlobSource } from '../tree/upload-files.ts';
import type { TreeLimits } from '../tree/walk-directories.ts';
import type { WrittenFolder } from '../tree/written-folder.ts';
import { ActionTimes } from './action-times.ts';
import type { KeptFolders } from './kept-folders.ts';
import { DiskWatch } from './disk-watch.ts';
import { LiveOutput, type OutputStreamNames } from './live-output.ts';
import { type PreparedAction, prepareAction } from './prepare-action.ts';
import { resourceUsageOf } from './resource-usage.ts';
import { uploadPatiently } from './upload-patiently.ts';

/** What one worker runs all its actions with. */
export interface ActionEnvironment {
  readonly workerId: string;
  readonly files: InputFiles;
  readonly directories: DirectoryCache;
  /** Unchanged directories of input roots; undefined where none are kept. */
  readonly folders?: KeptFolders | undefined;
  readonly treeLimits: TreeLimits;
  readonly outputLimits: OutputLimits;
  /** Variables that commands have unless they set them themselves (ACT-12, ACT-13). */
  readonly variables: Readonly<Record<string, string>>;
  readonly fetchTimeoutMs: number;
  readonly uploadTimeoutMs: number;
  readonly clock: Clock;
  /** Where output goes while commands run; undefined where nobody takes it. */
  readonly logs?: LogStreams | undefined;
}

/** An action that is to run here. */
export interface LeasedAction {
  readonly instanceName: string;
  readonly action: Digest;
  readonly timeoutMs: number;
  readonly queuedAt: Timestamp | undefined;
  readonly blobs: BlobStore;
  readonly executor: Executor;
  /** A place for its files, which must not exist; the caller removes it. */
  readonly folder: string;
}

export interface ActionEvents {
  /** Each part of the action as it begins (WRK-14). */
  phase(phase: HeldLease_Phase, metadata: ExecutedActionMetadata): void;
  /** The command's output can be read under these names. */
  streams(names: OutputStreamNames): void;
  /** The command failed at this limit of memory, which it had not asked for itself. */
  memoryLimitMet(bytes: number): void;
  /** The command is gone, and what it left unchanged of its inputs can be kept once its outputs are taken. */
  inputsLeft(inputs: LeftInputs): void;
}

/** Arguments of `KeptFolders.keep`. */
export type LeftInputs = readonly [written: WrittenFolder, place: string, use: FolderUse];

/** A command that takes longer than it may: Siso runs it for ever at any other text (EXE-50). */
const timeoutMessage = 'execution timeout exceeded';
/** For a command that was ended here, so that no client takes it for success. */
const endedExitCode = 128 + constants.signals.SIGTERM;

/** The rest is for times, resource usage, and what went wrong. */
const outputsBytesMax = responseBytesMax - 256 * 1024;

/**
 * Runs one action: fetches its inputs, runs its command, uploads its outputs. What the command or the
 * action is to blame for is a response; what went wrong on this machine is thrown, and another attempt
 * may succeed (WRK-18).
 */
export async function runAction(
  leased: LeasedAction,
  environment: ActionEnvironment,
  events: ActionEvents,
  signal: AbortSignal,
): Promise<ExecuteResponse> {
  const times = new ActionTimes(environment.clock, environment.workerId, leased.queuedAt);
  let lastOutput: Promise<void> | undefined;
  let diskFull: Promise<boolean> | undefined;
  try {
    times.mark('inputFetchStartTimestamp');
    events.phase(HeldLease_Phase.PHASE_FETCHING, times.metadata);
    const prepared = await fetchInputs(leased, environment, signal);
    times.mark('inputFetchCompletedTimestamp');
    times.mark('executionStartTimestamp');
    events.phase(HeldLease_Phase.PHASE_RUNNING, times.metadata);
    const live = liveOutputOf(leased, environment, events);
    const disk = new DiskWatch(leased.folder, environment.clock);
    const running = runCommand(leased, prepared, environment, signal);
    // The rest of the output goes out while files are uploaded.
    const outcome = await running.finally(() => {
      lastOutput = live?.end();
      diskFull = disk.end();
    });
    if (await diskFull) refuseSuccess(outcome, leased.folder);
    const { inputs, inputRoot } = prepared;
    if (outcome.kind === 'resource-limit' && prepared.memoryBytesMax === undefined)
      events.memoryLimitMet(outcome.memoryBytesMax ?? 0);
    if (inputs) events.inputsLeft([inputs, inputRoot, folderUseOf(leased.executor)]);
    times.mark('executionCompletedTimestamp');
    times.mark('outputUploadStartTimestamp');
    events.phase(HeldLease_Phase.PHASE_UPLOADING, times.metadata);
    const response = await uploadResult(leased, prepared, outcome, environment, signal);
    times.mark('outputUploadCompletedTimestamp');
    return withMetadata(response, times, outcome);
  } catch (error) {
    signal.throwIfAborted();
    return ExecuteResponse.fromPartial(blamed(error));
  } finally {
    await lastOutput;
  }
}

/** What may lack half of its outputs is no success; a failure speaks for itself (DF-08). */
function refuseSuccess(outcome: Outcome, folder: string): void {
  if (outcome.kind !== 'exited' || outcome.exitCode !== 0) return;
  throw new StatusError(
    Code.RESOURCE_EXHAUSTED,
    `the disk of ${folder} was full while the command ran: what it wrote may be cut off`,
  );
}

function liveOutputOf(
  { instanceName, folder }: LeasedAction,
  { logs, clock }: ActionEnvironment,
  events: ActionEvents,
): LiveOutput | undefined {
  if (!logs) return undefined;
  const onStreams = (names: OutputStreamNames) => events.streams(names);
  return new LiveOutput({ logs, instanceName, clock, onStreams, ...outputFilesIn(folder) });
}

/** How an action ends that is itself to blame for an error; throws it again if it is not. */
function blamed(error: unknown): Pick<ExecuteResponse, 'status' | 'message'> {
  const { code, message, details } = StatusError.from(error);
  if (code !== Code.INVALID_ARGUMENT && code !== Code.FAILED_PRECONDITION) throw error;
  return { status: { code, message, details: [...details] }, message };
}

function fetchInputs(
  { action, blobs, executor, folder }: LeasedAction,
  { files, directories, folders, treeLimits, fetchTimeoutMs, clock }: ActionEnvironment,
  signal: AbortSignal,
): Promise<PreparedAction> {
  const use = folderUseOf(executor);
  const options = { files, directories, folders, limits: treeLimits, ...use };
  // While it reads directories: waiting for a long command must not keep others from reading theirs.
  const fetch = (either: AbortSignal) =>
    withHeldMemory(() => prepareAction(action, folder, blobs, options, either));
  return within(fetchTimeoutMs, 'fetching the inputs', clock, fetch, signal);
}

function folderUseOf({ owner, protectsInputs }: Executor): FolderUse {
  return { owner, hardLinks: protectsInputs };
}

function runCommand(
  { executor, timeoutMs, folder }: LeasedAction,
  {
    argv,
    command,
    inputRoot,
    workingDirectory,
    temporary,
    network,
    memoryBytesMax,
    cpusMax,
    properties,
  }: PreparedAction,
  { variables }: ActionEnvironment,
  signal: AbortSignal,
): Promise<Outcome> {
  const environment = new Map(Object.entries(variables));
  for (const { name, value } of command.environmentVariables) environment.set(name, value);
  return executor.run(
    {
      argv,
      environment: Object.fromEntries(environment),
      workingDirectory,
      temporary,
      folder,
      ...outputFilesIn(folder),
      timeoutMs,
      network,
      memoryBytesMax,
      cpusMax,
      properties,
    },
    inputRoot,
    signal,
  );
}

/** Beside the input root, where the command cannot put others in their place. */
function outputFilesIn(folder: string) {
  return { stdoutPath: path.join(folder, 'stdout'), stderrPath: path.join(folder, 'stderr') };
}

async function uploadResult(
  { action, blobs, folder, executor }: LeasedAction,
  { command, inputRoot }: PreparedAction,
  outcome: Outcome,
  { outputLimits, uploadTimeoutMs, clock }: ActionEnvironment,
  signal: AbortSignal,
): Promise<ExecuteResponse> {
  const { stdoutPath, stderrPath } = outputFilesIn(folder);
  const upload = async (either: AbortSignal) => {
    const stdout = await outputOf(stdoutPath, action, outputLimits, either);
    const stderr = await outputOf(stderrPath, action, outputLimits, either);
    await uploadPatiently(blobs, [...stdout, ...stderr], clock, either);
    const said = {
      exitCode: exitCodeOf(outcome),
      stdoutDigest: stdout[0]?.digest.toMessage(),
      stderrDigest: stderr[0]?.digest.toMessage(),
    };
    const verdict = verdictOf(outcome);
    try {
      const { function: digestFunction } = action;
      const found = await collectOutputs(
        command,
        inputRoot,
        digestFunction,
        outputLimits,
        executor.owner,
        either,
      );
      checkSize(found.outputs);
      await uploadPatiently(blobs, found.blobs, clock, either);
      return { result: { ...said, ...found.outputs }, ...verdict };
    } catch (error) {
      const blame = blamed(error);
      // A command that was ended did not finish its outputs: they tell why, or are none (EXE-48).
      return { result: said, ...(verdict.status ? verdict : blame) };
    }
  };
  const response = await within(uploadTimeoutMs, 'uploading the outputs', clock, upload, signal);
  return ExecuteResponse.fromPartial(response);
}

/** A server would refuse a larger result, or even the message with it and all others of this worker. */
function checkSize(outputs: Partial<ActionResult>): void {
  const { length } = ActionResult.encode(ActionResult.fromPartial(outputs)).finish();
  if (length <= outputsBytesMax) return;
  throw new StatusError(
    Code.INVALID_ARGUMENT,
    `what was made of the outputs is named in ${length} bytes, more than the ${outputsBytesMax} that a result ` +
      'may have for them: ask for fewer outputs, or for the folder that they are in',
  );
}

/** Nothing for an empty file: its digest stays unset (RES-24). */
async function outputOf(
  file: string,
  action: Digest,
  { bytesMax }: OutputLimits,
  signal: AbortSignal,
): Promise<BlobSource[]> {
  try {
    const stats = await lstat(file);
    if (!stats.isFile() || stats.size > bytesMax) throw replaced();
    const digest = await digestOfFile(file, action.function, signal);
    return digest.sizeBytes === 0 ? [] : [{ digest, open: () => fileChunks(file) }];
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    throw ['ENOENT', 'ELOOP', 'EISDIR', 'EACCES', 'ENXIO'].includes(code) ? replaced() : error;
  }
}

/** A command with the rights of the worker can reach the file: another attempt would end the same. */
function replaced(): StatusError {
  const message = 'the command removed or replaced the file that its output goes to';
  return new StatusError(Code.INVALID_ARGUMENT, message);
}

/** RES-23: a signal counts as 128 and its number, as shells have it. */
function exitCodeOf(outcome: Outcome): number {
  if (outcome.kind === 'exited' || outcome.kind === 'resource-limit') return outcome.exitCode;
  if (outcome.kind === 'killed') return 128 + constants.signals[outcome.signal];
  return endedExitCode;
}

/** Which end of a command is none: the status says so, and the message says it to people. */
function verdictOf(outcome: Outcome): Pick<ExecuteResponse, 'status' | 'message'> {
  if (outcome.kind === 'timed-out') {
    const seconds = (outcome.wallTimeMs / 1_000).toFixed(1);
    return {
      status: { code: Code.DEADLINE_EXCEEDED, message: timeoutMessage, details: [] },
      message: `the command was ended after ${seconds} s, its timeout`,
    };
  }
  if (outcome.kind === 'output-limit') {
    const message = `the command was ended: ${outcome.message}`;
    return { status: { code: Code.RESOURCE_EXHAUSTED, message, details: [] }, message };
  }
  if (outcome.kind === 'resource-limit') {
    return { status: undefined, message: `the command failed: ${outcome.message}` };
  }
  if (outcome.kind === 'exited' && outcome.message !== undefined) {
    const message = `a process of the command was ended: ${outcome.message}; the result is not cached`;
    return { status: undefined, message };
  }
  const message = outcome.kind === 'killed' ? `the command was ended by ${outcome.signal}` : '';
  return { status: undefined, message };
}

function withMetadata(
  response: ExecuteResponse,
  times: ActionTimes,
  outcome: Outcome,
): ExecuteResponse {
  const executionMetadata: ExecutedActionMetadata = {
    ...times.complete(),
    virtualExecutionDuration: durationOf(outcome.wallTimeMs),
    auxiliaryMetadata: [resourceUsageOf(outcome)],
  };
  const result = ActionResult.fromPartial({ ...response.result, executionMetadata });
  return { ...response, result };
}

/** Gives up after a while: a store that does not answer must not hold a slot for ever. */
async function within<T>(
  ms: number,
  what: string,
  clock: Clock,
  work: (signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  const late = new AbortController();
  const over = new AbortController();
  const expire = () =>
    late.abort(new StatusError(Code.UNAVAILABLE, `${what} took longer than ${ms / 1_000} s`));
  clock.sleep(ms, over.signal).then(expire, () => {});
  try {
    return await work(AbortSignal.any([signal, late.signal]));
  } finally {
    over.abort();
  }
}
