import { collect } from '../base/chunks.ts';
import { StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import { Digest } from '../digest/digest.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import {
  ActionResult,
  type OutputFile,
} from '../proto/whole/build/bazel/remote/execution/v2/remote_execution.ts';

/** Which contents a client would like to have in the result itself. */
export interface InlineHints {
  readonly inlineStdout: boolean;
  readonly inlineStderr: boolean;
  /** Paths of output files, exactly as in the result; others are ignored (AC-07). */
  readonly inlineOutputFiles: readonly string[];
}

/** Contents in one result: clients hint for small files, and wait for all of it in one message (AC-10). */
const INLINED_BYTES_MAX = 1024 * 1024;
/** The whole result: clients take messages of 4 MiB unasked, and an operation has more around it (AC-08). */
const RESULT_BYTES_MAX = 3.5 * 1024 * 1024;

/**
 * The result with the contents hinted for, as far as they fit; what does not, or cannot be read, is left
 * to be fetched. Digests stay (AC-09). `blobs` are those of the result's instance, its digests are of
 * `digestFunction`.
 */
export async function inlineContents(
  result: ActionResult,
  hints: InlineHints,
  digestFunction: DigestFunction,
  blobs: BlobStore,
  signal: AbortSignal,
): Promise<ActionResult> {
  const { inlineStdout, inlineStderr, inlineOutputFiles } = hints;
  if (!inlineStdout && !inlineStderr && inlineOutputFiles.length === 0) return result;
  const encodedBytes = ActionResult.encode(result).finish().length;
  let roomBytes = Math.min(INLINED_BYTES_MAX, RESULT_BYTES_MAX - encodedBytes);
  const read = async (message: OutputFile['digest'], already: Uint8Array) => {
    const sizeBytes = message?.sizeBytes ?? 0;
    if (already.length > 0 || sizeBytes === 0 || sizeBytes > roomBytes) return already;
    const digest = Digest.fromMessage(digestFunction, message, 'digest');
    const bytes = await readIfThere(digest, blobs, signal);
    roomBytes -= bytes.length;
    return bytes;
  };
  const inlined = { ...result };
  if (inlineStdout) inlined.stdoutRaw = await read(result.stdoutDigest, result.stdoutRaw);
  if (inlineStderr) inlined.stderrRaw = await read(result.stderrDigest, result.stderrRaw);
  const wanted = new Set(inlineOutputFiles);
  inlined.outputFiles = [];
  for (const file of result.outputFiles) {
    const contents = wanted.has(file.path) ? await read(file.digest, file.contents) : file.contents;
    inlined.outputFiles.push({ ...file, contents });
  }
  return inlined;
}

/** No bytes when they cannot be had: a hint is no reason to fail. */
async function readIfThere(
  digest: Digest,
  blobs: BlobStore,
  signal: AbortSignal,
): Promise<Uint8Array> {
  try {
    return await collect(blobs.read(digest, 0, signal));
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof StatusError) return new Uint8Array();
    throw error;
  }
}
