import type { BlobStore } from '../../src/cas/blob-store.ts';
import { chunkListMigrations, ChunkLists } from '../../src/chunking/chunk-lists.ts';
import { SplicedBlobs } from '../../src/chunking/spliced-blobs.ts';
import { openDatabase } from '../../src/sqlite/open-database.ts';

/** The store, which takes blobs as lists of chunks too, in memory. */
export function composing(blobs: BlobStore): SplicedBlobs {
  const db = openDatabase(':memory:', chunkListMigrations, { synchronous: 'FULL' });
  const lists = new ChunkLists(db);
  return new SplicedBlobs(blobs, { namespace: '', lists, blobBytesMax: 2 ** 30 });
}
