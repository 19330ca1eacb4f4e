import type { BigIntStats } from 'node:fs';
import type { NodeProperties } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';

/** The node properties that workers keep on inputs and can return on outputs (DIR-13, RES-30). */
export const supportedNodeProperties = ['mtime', 'unix_mode'] as const;
export type NodePropertyName = (typeof supportedNodeProperties)[number];

/**
 * The requested properties of a file, directory or link; undefined when none is requested. A mode says who
 * may do what, and nothing of setuid, setgid and sticky: no result gives anybody another's rights.
 */
export function nodePropertiesOf(
  stats: BigIntStats,
  names: ReadonlySet<NodePropertyName>,
): NodeProperties | undefined {
  if (names.size === 0) return undefined;
  return {
    properties: [],
    mtime: names.has('mtime') ? timestampOf(stats.mtimeNs) : undefined,
    unixMode: names.has('unix_mode') ? Number(stats.mode & 0o777n) : undefined,
  };
}

/** Nanos count forward from the second, before 1970 too. */
function timestampOf(ns: bigint) {
  const second = 1_000_000_000n;
  const nanos = ((ns % second) + second) % second;
  return { seconds: Number((ns - nanos) / second), nanos: Number(nanos) };
}
