import * as v from 'valibot';
import { duration, section, size, text } from './keys.ts';

/** Output of commands, for those who read it while they run. */
export interface LogsConfig {
  /** Undefined where it is in memory, as blobs are, or where no commands run. */
  readonly rootPath: string | undefined;
  readonly maxSizeBytes: number;
  readonly retentionMs: number;
}

/** Four outputs of the largest size that a command may have; in memory, one of a moderate size. */
const maxSizeBytes = { files: 2 ** 30, memory: 2 ** 26 };

export const logsSchema = section({
  root_path: v.optional(
    text(
      'The folder of the output of commands, for those who read it while they run. With blobs in ' +
        'memory it is in memory, too.',
    ),
  ),
  max_size: v.optional(
    size(
      'The size at which the output of the commands that ended first makes room; 1GiB, or 64MiB in ' +
        'memory, unless set.',
    ),
  ),
  retention: v.optional(
    duration('How long output can be read after its command has ended; results keep it as blobs.'),
    '15m',
  ),
});

/** `rootPath` is where its files would be; undefined where it has none. */
export function logsConfigOf(
  values: v.InferOutput<typeof logsSchema>,
  rootPath: string | undefined,
): LogsConfig {
  return {
    rootPath,
    maxSizeBytes: values.max_size ?? maxSizeBytes[rootPath === undefined ? 'memory' : 'files'],
    retentionMs: values.retention,
  };
}
