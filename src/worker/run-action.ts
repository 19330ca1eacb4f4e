import path from 'node:path';
import type { Clock } from '../base/clock.ts';
import { withHeldMemory } from '../base/memory.ts';
import { Code, StatusError } from '../base/status.ts';
import { withDeadline } from '../base/with-deadline.ts';
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
import type { OutputLimits } from '../tree/collect-outputs.ts';
import type { DirectoryCache } from '../tree/directory-cache.ts';
import type { InputFiles } from '../tree/input-files.ts';
import type { FolderUse } from '../tree/input-folders.ts';
import type { TreeLimits } from '../tree/walk-directories.ts';
import type { WrittenFolder } from '../tree/written-folder.ts';
import { ActionTimes } from './action-times.ts';
import { DiskWatch } from './disk-watch.ts';
import type { KeptFolders } from './kept-folders.ts';
import { LiveOutput, type OutputStreamNames } from './live-output.ts';
import { type PreparedAction, prepareAction } from './prepare-action.ts';
import { resourceUsageOf } from './resource-usage.ts';
import { uploadResult } from './upload-result.ts';
import { verdictOnError } from './verdict.ts';

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
    const memoryMet = outcome.kind === 'resource-limit' ? outcome.memoryBytesMax : undefined;
    if (memoryMet !== undefined && prepared.memoryBytesMax === undefined) {
      events.memoryLimitMet(memoryMet);
    }
    if (inputs) events.inputsLeft([inputs, inputRoot, folderUseOf(leased.executor)]);
    times.mark('executionCompletedTimestamp');
    times.mark('outputUploadStartTimestamp');
    events.phase(HeldLease_Phase.PHASE_UPLOADING, times.metadata);
    const response = await uploadOutputs(leased, prepared, outcome, environment, signal);
    times.mark('outputUploadCompletedTimestamp');
    return withMetadata(response, times, outcome);
  } catch (error) {
    signal.throwIfAborted();
    return ExecuteResponse.fromPartial(verdictOnError(error));
  } finally {
    await lastOutput;
  }
}

/** What may lack half of its outputs is no success; a failure speaks for itself (DF-08). */
function refuseSuccess(outcome: Outcome, folder: string): void {
  if (outcome.kind !== 'exited' || outcome.exitCode !== 0) return;
  throw new StatusError(
    Code.RESOURCE_EXHAUSTED,
    `the disk of ${folder} was full while the command ran: what it wrote may be cut off. Make room on it`,
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
  return inTime(fetchTimeoutMs, 'fetching the inputs', fetch, clock, signal);
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

function uploadOutputs(
  { action, blobs, folder, executor }: LeasedAction,
  { command, inputRoot }: PreparedAction,
  outcome: Outcome,
  { outputLimits, uploadTimeoutMs, clock }: ActionEnvironment,
  signal: AbortSignal,
): Promise<ExecuteResponse> {
  const { function: digestFunction } = action;
  const { owner } = executor;
  const files = outputFilesIn(folder);
  const ended = { command, outcome, digestFunction, inputRoot, owner, ...files };
  const upload = (either: AbortSignal) => uploadResult(ended, blobs, outputLimits, clock, either);
  return inTime(uploadTimeoutMs, 'uploading the outputs', upload, clock, signal);
}

/** A store that does not answer must not hold a slot for ever. */
function inTime<T>(
  ms: number,
  what: string,
  work: (signal: AbortSignal) => Promise<T>,
  clock: Clock,
  signal: AbortSignal,
): Promise<T> {
  const late = () => new StatusError(Code.UNAVAILABLE, `${what} took longer than ${ms / 1_000} s`);
  return withDeadline(ms, late, work, clock, signal);
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
