import { open, rm } from 'node:fs/promises';
import path from 'node:path';
import type { NewId } from '../base/id.ts';
import { Code } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import type { Digest } from '../digest/digest.ts';
import { digestOfFile, fileChunks } from '../tree/file-chunks.ts';
import type { DownloadRoom, RoomShare } from './download-room.ts';
import type { HttpContent } from './http-content.ts';
import type { Integrity } from './integrity.ts';
import { OriginFailure } from './origin-failure.ts';

export interface DownloadOptions {
  /** A folder of this server alone, where downloads are until they are checked. */
  readonly folder: string;
  readonly sizeBytesMax: number;
  readonly room: DownloadRoom;
  readonly newId: NewId;
}

/**
 * Stores what an origin sends, and gives its digest, in constant memory: the digest is known only at the
 * end, so the bytes go to a file first. `fetch` is called once there is one to take them. Nothing is stored unless they have the checksum (AST-07, AST-18):
 * the failure is ABORTED then, and RESOURCE_EXHAUSTED for more bytes than are allowed.
 */
export async function downloadBlob(
  fetch: () => Promise<HttpContent>,
  blobs: BlobStore,
  wanted: { readonly digestFunction: DigestFunction; readonly integrity: Integrity | undefined },
  options: DownloadOptions,
  signal: AbortSignal,
): Promise<Digest> {
  const file = path.join(options.folder, options.newId());
  const share = options.room.share();
  try {
    await receive(fetch, file, wanted.integrity, options.sizeBytesMax, share);
    const digest = await digestOfFile(file, wanted.digestFunction, signal);
    await blobs.write(digest, fileChunks(file), signal);
    return digest;
  } finally {
    await rm(file, { force: true });
    share.end();
  }
}

async function receive(
  fetch: () => Promise<HttpContent>,
  target: string,
  integrity: Integrity | undefined,
  sizeBytesMax: number,
  share: RoomShare,
): Promise<void> {
  const hash = integrity?.createHash();
  let receivedBytes = 0;
  const file = await open(target, 'wx', 0o600);
  try {
    const { chunks, sizeBytes = 0 } = await fetch();
    for await (const chunk of chunks) {
      receivedBytes += chunk.length;
      if (Math.max(receivedBytes, sizeBytes) > sizeBytesMax) throw tooLarge(sizeBytesMax);
      share.growTo(receivedBytes);
      hash?.update(chunk);
      await file.appendFile(chunk);
    }
  } finally {
    await file.close();
  }
  const flaw = hash && integrity?.findFlaw(hash);
  if (flaw !== undefined) {
    throw new OriginFailure(Code.ABORTED, `what was fetched is not what was asked for: ${flaw}`);
  }
}

function tooLarge(sizeBytesMax: number): OriginFailure {
  return new OriginFailure(
    Code.RESOURCE_EXHAUSTED,
    `it has more than ${sizeBytesMax} bytes, the limit of this server (remote_asset.max_fetch_size)`,
  );
}
