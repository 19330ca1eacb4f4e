import * as v from 'valibot';
import { choice, duration, section, size, text } from './keys.ts';
import type { FolderOf } from './surroundings.ts';

/** Where blobs are kept. */
export interface CasStorageConfig {
  readonly type: 'filesystem' | 'memory';
  readonly rootPath: string;
  readonly maxSizeBytes: number;
  readonly durability: 'full' | 'normal';
  /** 0: never. */
  readonly verifyIntervalMs: number;
}

/** By type: a small part of a build host's disk, and of its memory. */
const casMaxSizeBytes = { filesystem: 50 * 2 ** 30, memory: 2 ** 30 };

export const casStorageSchema = section({
  type: v.optional(
    choice('Where blobs are kept: as files, or in memory until the server stops.', [
      'filesystem',
      'memory',
    ]),
    'filesystem',
  ),
  root_path: v.optional(text('The folder of the blobs.')),
  max_size: v.optional(
    size(
      'The size at which blobs not used for the longest time make room; 50GiB, or 1GiB in memory, ' +
        'unless set.',
    ),
  ),
  durability: v.optional(
    choice(
      'What survives a loss of power: with "full" every acknowledged upload; with "normal" uploads ' +
        'of the last seconds may be lost, and are noticed as missing.',
      ['full', 'normal'],
    ),
    'full',
  ),
  verify_interval: v.optional(
    duration(
      'How long it takes to read all blobs once, to find those that were damaged on the disk; then it ' +
        'begins again. "0s" never does.',
    ),
    '7d',
  ),
});

export function casStorageConfigOf(
  values: v.InferOutput<typeof casStorageSchema>,
  folder: FolderOf,
): CasStorageConfig {
  return {
    type: values.type,
    rootPath: folder(values.root_path, 'cas'),
    maxSizeBytes: values.max_size ?? casMaxSizeBytes[values.type],
    durability: values.durability,
    verifyIntervalMs: values.verify_interval,
  };
}
