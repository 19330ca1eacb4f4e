import path from 'node:path';
import type { TestContext } from 'node:test';
import { globSync } from 'node:fs';
import { chunksOf, collect } from '../../src/base/chunks.ts';
import { type Log, silentLog } from '../../src/base/log.ts';
import type { BlobStore } from '../../src/cas/blob-store.ts';
import { FilesystemBlobs, type FilesystemBlobsOptions } from '../../src/cas/filesystem-blobs.ts';
import type { Digest } from '../../src/digest/digest.ts';
import { type Blob, blobOf } from './blob-of.ts';
import { FakeClock } from './fake-clock.ts';
import { never } from './never.ts';
import { tempDir } from './temp-dir.ts';

/** A store of 64 MiB in a folder of the test's own. */
export async function openFilesystemBlobs(
  t: Pick<TestContext, 'after'>,
  options: Partial<FilesystemBlobsOptions> = {},
  clock = new FakeClock(),
  log: Log = silentLog,
): Promise<FilesystemBlobs> {
  const root = options.root ?? tempDir(t);
  const blobs = await FilesystemBlobs.open(
    { sizeBytesMax: 64 * 2 ** 20, durability: 'normal', ...options, root },
    clock,
    log,
  );
  t.after(() => blobs.close());
  return blobs;
}

/** Writes the blobs one after the other. */
export async function writeAll(store: BlobStore, blobs: readonly Blob[]): Promise<void> {
  for (const { digest, bytes } of blobs) await store.write(digest, chunksOf(bytes), never);
}

/** The content of a small blob, as text. */
export async function readText(store: BlobStore, digest: Digest): Promise<string> {
  return Buffer.from(await collect(store.read(digest, 0, never))).toString();
}

/** Blobs of one disk block each, all different. */
export function blockBlobs(count: number): Blob[] {
  return Array.from({ length: count }, (_, n) => blobOf(Buffer.alloc(4096, `block ${n},`)));
}

/** Whatever lies in the blob, incoming and quarantine folders, by path below `root`. */
export function filesIn(root: string): string[] {
  return globSync('{blobs-v1,incoming,quarantine}/**/*', { cwd: root, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)))
    .toSorted();
}
