import * as v from 'valibot';
import { choice } from './keys.ts';

/** Whether blobs are compressed between this program and the server. */
export type Compression = 'off' | 'zstd';

/**
 * Off by default: large blobs gain on lines slower than some 500 Mbit/s, small ones slower than 100 (see
 * docs/benchmarks.md), and it costs processor time, which a worker's actions need.
 */
export const compressionKey = v.optional(
  choice(
    'How blobs travel: as they are, or compressed where a sample says that it helps and the server can.',
    ['off', 'zstd'],
  ),
  'off',
);
