import { Code, StatusError } from '../base/status.ts';
import type { Digest } from '../digest/digest.ts';
import type { ParsedDirectory } from './directory.ts';

interface Extent {
  /** Levels of directories below this one. */
  readonly depth: number;
  /** Nodes below this one, a shared directory counted each time. */
  readonly nodes: number;
}

/**
 * Fails with INVALID_ARGUMENT when the tree, written out on a disk, would exceed the limits (DIR-16):
 * a few directories that refer to each other twice stand for millions. Directories that are not in
 * `directories` count as empty. Each is looked at once.
 */
export function checkExpandedTree(
  root: Digest,
  directories: ReadonlyMap<string, { readonly parsed: ParsedDirectory }>,
  limits: { readonly depthMax: number; readonly nodesMax: number },
): void {
  const extents = new Map<string, Extent>();
  const path: string[] = [root.key];
  const open = new Set<string>();
  for (let key = path.at(-1); key !== undefined; key = path.at(-1)) {
    const parsed = directories.get(key)?.parsed;
    if (!open.has(key)) {
      open.add(key);
      for (const { digest } of parsed?.directories ?? []) {
        if (!open.has(digest.key)) path.push(digest.key);
      }
      continue;
    }
    path.pop();
    if (extents.has(key)) continue;
    const extent = extentOf(parsed, extents);
    if (extent.depth > limits.depthMax || extent.nodes > limits.nodesMax) {
      throw new StatusError(
        Code.INVALID_ARGUMENT,
        `the tree ${root} has more than ${limits.nodesMax} nodes, or directories deeper than ` +
          `${limits.depthMax}, the limits here`,
      );
    }
    extents.set(key, extent);
  }
}

function extentOf(
  parsed: ParsedDirectory | undefined,
  extents: ReadonlyMap<string, Extent>,
): Extent {
  let nodes = (parsed?.files.length ?? 0) + (parsed?.symlinks.length ?? 0);
  let depth = 0;
  for (const { digest } of parsed?.directories ?? []) {
    const below = extents.get(digest.key) ?? { depth: 0, nodes: 0 };
    nodes += 1 + below.nodes;
    depth = Math.max(depth, 1 + below.depth);
  }
  return { depth, nodes };
}
