import { chunksOf } from '../../base/chunks.ts';
import { quoted } from '../../base/quoted.ts';
import { Code, StatusError } from '../../base/status.ts';
import type { BlobStore } from '../../cas/blob-store.ts';
import type { DigestFunction } from '../../digest/digest-function.ts';
import { Digest } from '../../digest/digest.ts';
import type {
  ActionResult,
  Digest as DigestMessage,
} from '../../proto/build/bazel/remote/execution/v2/remote_execution.ts';

/**
 * The result with the contents that came along in it stored as blobs and named by their digests, as
 * everybody else's (AC-17). Fails with INVALID_ARGUMENT when contents are not those of their digest.
 */
export async function withStoredContents(
  result: ActionResult,
  digestFunction: DigestFunction,
  blobs: BlobStore,
  signal: AbortSignal,
): Promise<ActionResult> {
  const store = async (contents: Uint8Array, named: DigestMessage | undefined, what: string) => {
    if (contents.length === 0) return named;
    const digest = Digest.ofBytes(digestFunction, contents);
    if (named && (named.hash !== digest.hash || named.sizeBytes !== digest.sizeBytes)) {
      throw new StatusError(
        Code.INVALID_ARGUMENT,
        `the contents of ${what} have the digest ${digest}, not ${named.hash}/${named.sizeBytes}`,
      );
    }
    await blobs.write(digest, chunksOf(contents), signal);
    return digest.toMessage();
  };
  const outputFiles: ActionResult['outputFiles'] = [];
  for (const file of result.outputFiles) {
    const what = quoted(file.path);
    const digest = await store(file.contents, file.digest, what);
    outputFiles.push({ ...file, digest, contents: new Uint8Array() });
  }
  return {
    ...result,
    outputFiles,
    stdoutDigest: await store(result.stdoutRaw, result.stdoutDigest, 'stdout'),
    stdoutRaw: new Uint8Array(),
    stderrDigest: await store(result.stderrRaw, result.stderrDigest, 'stderr'),
    stderrRaw: new Uint8Array(),
  };
}
