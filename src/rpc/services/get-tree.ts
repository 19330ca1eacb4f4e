import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { quoted } from '../../base/quoted.ts';
import { Code, StatusError } from '../../base/status.ts';
import type { Digest } from '../../digest/digest.ts';
import type { GetTreeRequest } from '../../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { readTree } from '../../tree/walk-directories.ts';
import type { Instance } from '../instances.ts';
import { RESPONSE_BYTES_MAX } from '../limits.ts';
import type { Encodable } from '../method.ts';
import { requestDigest } from '../request-digests.ts';

/** Directories of one page unless the client wants fewer. */
const PAGE_SIZE_MAX = 1000;
/** What a page has beside its directories: the token, and some bytes for each of them. */
const PAGE_OVERHEAD_BYTES = 16 * 1024;

interface TreePage {
  /** Directory messages as they are stored. */
  readonly directories: readonly Uint8Array[];
  readonly nextPageToken: string;
}

/** Writes a GetTreeResponse around directories as they were stored: none is encoded anew (GEN-18). */
export const treePageType: Encodable<TreePage> = {
  encode: ({ directories, nextPageToken }) => {
    const writer = new BinaryWriter();
    for (const bytes of directories) writer.uint32(0x0a).bytes(bytes);
    if (nextPageToken !== '') writer.uint32(0x12).string(nextPageToken);
    return writer;
  },
};

/**
 * All pages of the tree in one stream, since clients make no second call (CAS-46). A token says how
 * many directories have been sent, and of which tree; the order is always the same (CAS-45). Fails with
 * INVALID_ARGUMENT at a directory that fits into no message that all clients take (GEN-09).
 */
export async function* getTree(
  request: GetTreeRequest,
  instance: Instance,
  signal: AbortSignal,
): AsyncIterable<TreePage> {
  const { rootDigest, digestFunction, pageSize } = request;
  const root = requestDigest(instance.digestFunctions, digestFunction, rootDigest, 'root_digest');
  if (pageSize < 0)
    throw new StatusError(Code.INVALID_ARGUMENT, `page_size ${pageSize} is negative`);
  const directoriesMax = pageSize === 0 ? PAGE_SIZE_MAX : Math.min(pageSize, PAGE_SIZE_MAX);
  const skipped = parsePageToken(request.pageToken, root);
  let position = 0;
  let page: Uint8Array[] = [];
  let pageBytes = PAGE_OVERHEAD_BYTES;
  for await (const { digest, bytes } of readTree(
    root,
    instance.blobs,
    instance.limits.tree,
    signal,
  )) {
    position += 1;
    if (position <= skipped) continue;
    if (PAGE_OVERHEAD_BYTES + bytes.length > RESPONSE_BYTES_MAX) throw tooLargeToList(digest);
    if (
      page.length >= directoriesMax ||
      (page.length > 0 && pageBytes + bytes.length > RESPONSE_BYTES_MAX)
    ) {
      yield { directories: page, nextPageToken: pageToken(root, position - 1) };
      page = [];
      pageBytes = PAGE_OVERHEAD_BYTES;
    }
    page.push(bytes);
    pageBytes += bytes.length;
  }
  // A token is given only where more follows.
  if (position <= skipped) throw unknownToken(request.pageToken);
  yield { directories: page, nextPageToken: '' };
}

function tooLargeToList(digest: Digest): StatusError {
  return new StatusError(
    Code.INVALID_ARGUMENT,
    `directory ${digest} is larger than a message may be; read it with ByteStream.Read`,
  );
}

function pageToken(root: Digest, sent: number): string {
  return `${root}/${sent}`;
}

function parsePageToken(token: string, root: Digest): number {
  if (token === '') return 0;
  const sent = Number(token.slice(token.lastIndexOf('/') + 1));
  if (!Number.isSafeInteger(sent) || sent < 1 || token !== pageToken(root, sent)) {
    throw unknownToken(token);
  }
  return sent;
}

function unknownToken(token: string): StatusError {
  return new StatusError(
    Code.INVALID_ARGUMENT,
    `page_token ${quoted(token)} is not one of this tree's; begin without one`,
  );
}
