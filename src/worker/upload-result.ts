import { lstat } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '../base/clock.ts';
import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import type { Outcome, Owner } from '../executor/executor.ts';
import {
  ActionResult,
  type Command,
  ExecuteResponse,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { responseBytesMax } from '../scheduler/work-queue.ts';
import { collectOutputs, type OutputLimits } from '../tree/collect-outputs.ts';
import { digestOfFile, fileChunks } from '../tree/file-chunks.ts';
import type { BlobSource } from '../tree/upload-files.ts';
import { uploadPatiently } from './upload-patiently.ts';
import { exitCodeOf, verdictOf, verdictOnError } from './verdict.ts';

/** A command that has ended, and where it left what it made. */
export interface EndedCommand {
  readonly command: Command;
  readonly outcome: Outcome;
  readonly digestFunction: DigestFunction;
  readonly inputRoot: string;
  readonly stdoutPath: string;
  readonly stderrPath: string;
  /** Whom its outputs may belong to, beside the worker. */
  readonly owner: Owner | undefined;
}

/** The rest is for times, resource usage, and what went wrong. */
const outputsBytesMax = responseBytesMax - 256 * 1024;

/**
 * Uploads what a command printed and its outputs, and says how it ended. Outputs that cannot be taken through
 * the command's own fault are left out, and are the status; what the command printed is there all the same.
 */
export async function uploadResult(
  { command, outcome, digestFunction, inputRoot, stdoutPath, stderrPath, owner }: EndedCommand,
  blobs: BlobStore,
  limits: OutputLimits,
  clock: Clock,
  signal: AbortSignal,
): Promise<ExecuteResponse> {
  const stdout = await printedIn(stdoutPath, digestFunction, limits, signal);
  const stderr = await printedIn(stderrPath, digestFunction, limits, signal);
  await uploadPatiently(blobs, [...stdout, ...stderr], clock, signal);
  const printed = {
    exitCode: exitCodeOf(outcome),
    stdoutDigest: stdout[0]?.digest.toMessage(),
    stderrDigest: stderr[0]?.digest.toMessage(),
  };
  const verdict = verdictOf(outcome);
  try {
    const found = await collectOutputs(command, inputRoot, digestFunction, limits, owner, signal);
    checkSize(found.outputs);
    await uploadPatiently(blobs, found.blobs, clock, signal);
    return ExecuteResponse.fromPartial({ result: { ...printed, ...found.outputs }, ...verdict });
  } catch (error) {
    const blame = verdictOnError(error);
    // A command that was ended did not finish its outputs: they tell why, or are none (EXE-48).
    return ExecuteResponse.fromPartial({ result: printed, ...(verdict.status ? verdict : blame) });
  }
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
async function printedIn(
  file: string,
  digestFunction: DigestFunction,
  { bytesMax }: OutputLimits,
  signal: AbortSignal,
): Promise<BlobSource[]> {
  try {
    const stats = await lstat(file);
    if (!stats.isFile() || stats.size > bytesMax) throw replaced(file);
    const digest = await digestOfFile(file, digestFunction, signal);
    return digest.sizeBytes === 0 ? [] : [{ digest, open: () => fileChunks(file) }];
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    throw ['ENOENT', 'ELOOP', 'EISDIR', 'EACCES', 'ENXIO'].includes(code) ? replaced(file) : error;
  }
}

/** A command with the rights of the worker can reach the file: another attempt would end the same. */
function replaced(file: string): StatusError {
  const message = `the command removed or replaced the file that its ${path.basename(file)} goes to`;
  return new StatusError(Code.INVALID_ARGUMENT, message);
}
