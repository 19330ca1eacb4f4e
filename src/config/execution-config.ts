import * as v from 'valibot';
import { choice, count, duration, list, section } from './keys.ts';

/** Who runs actions, and for how long they wait and run. */
export interface ExecutionConfig {
  readonly backend: 'scheduler' | 'direct' | 'none';
  readonly defaultTimeoutMs: number;
  readonly maxTimeoutMs: number;
  readonly workerGraceMs: number;
  readonly abandonQueuedAfterMs: number;
  readonly abandonRunningAfterMs: number;
  readonly queueMax: number;
  /** Names of platform properties that choose no worker. */
  readonly ignoredProperties: readonly string[];
  readonly absoluteSymlinks: 'allowed' | 'disallowed';
}

export const executionSchema = section({
  backend: v.optional(
    choice(
      'Who runs actions: workers that connect ("scheduler"), this process ("direct"), or nobody, ' +
        'which leaves a cache ("none").',
      ['scheduler', 'direct', 'none'],
    ),
    'scheduler',
  ),
  default_timeout: v.optional(
    duration('How long an action may run that does not say so itself, up to max_timeout.', '1ms'),
    '15m',
  ),
  max_timeout: v.optional(
    duration('The longest timeout an action may ask for; more is refused.', '1ms'),
    '24h',
  ),
  worker_grace: v.optional(
    duration('How long an action waits for a worker that fits it to connect, before it fails.'),
    '60s',
  ),
  abandon_queued_after: v.optional(
    duration('How long an action stays in the queue when no client waits for it any more.'),
    '60s',
  ),
  abandon_running_after: v.optional(
    duration(
      'How long an action goes on running when no client waits for it any more: one that comes back ' +
        'finds it.',
    ),
    '10m',
  ),
  queue_max: v.optional(
    count('How many actions may wait at once; more are refused.', 1, 10_000_000),
    100_000,
  ),
  ignored_properties: v.optional(
    list(
      'The platform properties that choose no worker, by name. With container-image among them, actions that ' +
        'ask for an image run on any worker, in whatever that one has.',
    ),
    [
      'Pool',
      'JDK_SYMLINK',
      'unixUID',
      'unixGID',
      'remoteApisSocketPath',
      'InputRootAbsolutePath',
      'persistentWorkerKey',
      'persistentWorkerProtocol',
    ],
  ),
  absolute_symlinks: v.optional(
    choice(
      'Whether symlinks among inputs and outputs may have absolute targets, which mean something ' +
        'else on each host.',
      ['allowed', 'disallowed'],
    ),
    'allowed',
  ),
});

/** What no action may ask for, none gets unasked. */
export function executionConfigOf(values: v.InferOutput<typeof executionSchema>): ExecutionConfig {
  return {
    backend: values.backend,
    defaultTimeoutMs: Math.min(values.default_timeout, values.max_timeout),
    maxTimeoutMs: values.max_timeout,
    workerGraceMs: values.worker_grace,
    abandonQueuedAfterMs: values.abandon_queued_after,
    abandonRunningAfterMs: values.abandon_running_after,
    queueMax: values.queue_max,
    ignoredProperties: values.ignored_properties,
    absoluteSymlinks: values.absolute_symlinks,
  };
}
