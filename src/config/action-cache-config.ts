import * as v from 'valibot';
import { choice, flag, section, size, text } from './keys.ts';
import type { FolderOf } from './surroundings.ts';

/** Where results are kept. */
export interface ActionCacheConfig {
  readonly type: 'sqlite' | 'memory';
  readonly rootPath: string;
  readonly maxSizeBytes: number;
  readonly updatesAllowed: boolean;
}

export const actionCacheSchema = section({
  type: v.optional(
    choice(
      'Where results are kept: in an SQLite database, which "filesystem" means too, or in memory.',
      ['sqlite', 'filesystem', 'memory'],
    ),
    'sqlite',
  ),
  root_path: v.optional(text('The folder of the database.')),
  max_size: v.optional(
    size('The size at which results not used for the longest time make room.'),
    '1GiB',
  ),
  updates_allowed: v.optional(
    flag(
      'Whether clients may store results of actions that they ran themselves; results of actions ' +
        'that workers ran are stored in any case.',
    ),
    true,
  ),
});

export function actionCacheConfigOf(
  values: v.InferOutput<typeof actionCacheSchema>,
  folder: FolderOf,
): ActionCacheConfig {
  return {
    type: values.type === 'memory' ? 'memory' : 'sqlite',
    rootPath: folder(values.root_path, 'action_cache'),
    maxSizeBytes: values.max_size,
    updatesAllowed: values.updates_allowed,
  };
}
