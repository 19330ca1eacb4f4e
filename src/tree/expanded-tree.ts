import { Code, StatusError } from '../base/status.ts';
import type { Digest } from '../digest/digest.ts';
import type { ParsedDirectory } from './directory.ts';

/** How large a tree is when it is written out on a disk. */
export interface Extent {
  /** Levels of directories below the root. */
  readonly depth: number;
  /** Files, directories and symlinks below the root, a shared directory counted each time. */
  readonly nodes: number;
  /** The longest path below the root. */
  readonly pathBytes: number;
}

/** Limits of what is written out (DIR-16, ACT-29). */
export interface ExtentLimits {
  readonly depthMax: number;
  readonly nodesMax: number;
  readonly nameBytesMax: number;
  readonly pathBytesMax: number;
}

/**
 * Fails with INVALID_ARGUMENT when the tree, written out on a disk, would exceed the limits (DIR-16):
 * a few directories that refer to each other twice stand for millions. Each is looked at once; those
 * that are neither in `directories` nor in `known` count as empty. Gives the extents of all, by key.
 */
export function checkExpandedTree(
  root: Digest,
  directories: ReadonlyMap<string, { readonly parsed: ParsedDirectory }>,
  limits: ExtentLimits,
  known: ReadonlyMap<string, Extent> = new Map(),
): ReadonlyMap<string, Extent> {
  const extents = new Map(known);
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
    const extent = extentOf(parsed, extents, limits, root);
    if (extent.depth > limits.depthMax) {
      throw tooLarge(root, `has directories more than ${limits.depthMax} deep`);
    }
    if (extent.nodes > limits.nodesMax) {
      throw tooLarge(root, `has more than ${limits.nodesMax} files, directories and symlinks`);
    }
    if (extent.pathBytes > limits.pathBytesMax) {
      throw tooLarge(root, `has a path of more than ${limits.pathBytesMax} bytes`);
    }
    extents.set(key, extent);
  }
  return extents;
}

function extentOf(
  parsed: ParsedDirectory | undefined,
  extents: ReadonlyMap<string, Extent>,
  limits: ExtentLimits,
  root: Digest,
): Extent {
  let depth = 0;
  let nodes = 0;
  let pathBytes = 0;
  const add = (name: string, below: Extent) => {
    const nameBytes = Buffer.byteLength(name);
    if (nameBytes > limits.nameBytesMax) {
      throw tooLarge(root, `has a name of ${nameBytes} bytes, more than ${limits.nameBytesMax}`);
    }
    nodes += 1 + below.nodes;
    const slashBytes = below.pathBytes > 0 ? 1 : 0;
    pathBytes = Math.max(pathBytes, nameBytes + slashBytes + below.pathBytes);
  };
  for (const { name } of parsed?.files ?? []) add(name, nothing);
  for (const { name } of parsed?.symlinks ?? []) add(name, nothing);
  for (const { name, digest } of parsed?.directories ?? []) {
    const below = extents.get(digest.key) ?? nothing;
    add(name, below);
    depth = Math.max(depth, 1 + below.depth);
  }
  return { depth, nodes, pathBytes };
}

const nothing: Extent = { depth: 0, nodes: 0, pathBytes: 0 };

function tooLarge(root: Digest, how: string): StatusError {
  return new StatusError(Code.INVALID_ARGUMENT, `the tree ${root} ${how}, the limit here`);
}
