import * as v from 'valibot';
import { choice } from './keys.ts';

/** Whether blobs are compressed between this program and the server. */
export type Compression = 'off' | 'zstd';

/**
 * Off by default: large blobs gain on lines slower than some 400 Mbit/s, small ones slower than 200 (see
 * docs/benchmarks.md), and it costs processor time, which a worker's actions need.
 */
export const compressionKey = v.optional(
  choice(
    'How blobs travel: as they are, or compressed where a sample says that it helps and the server can.',
    ['off', 'zstd'],
  ),
  'off',
);

/** Whether large blobs are sent in chunks. */
export type Chunking = 'off' | 'uploads';

/**
 * Off by default: the server keeps the chunks beside the blob, and reads all of them for it. Large outputs that
 * change a little each time win.
 */
export const chunkingKey = v.optional(
  choice(
    'Whether large blobs are sent in chunks, and of them only those that the server lacks, if it can ' +
      'put them together.',
    ['off', 'uploads'],
  ),
  'off',
);
