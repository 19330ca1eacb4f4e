import { BinaryReader } from '@bufbuild/protobuf/wire';
import { holdMemory } from '../base/memory.ts';
import { Code, StatusError } from '../base/status.ts';
import { Digest } from '../digest/digest.ts';
import { type ParsedDirectory, parseDirectory, TREE_MEMORY_BYTES_MAX } from './directory.ts';

/** A Tree message: a directory and all that are below it. */
export interface ParsedTree {
  readonly root: ParsedDirectory;
  readonly rootDigest: Digest;
  /** By the key of their digest; also children that nothing refers to (DIR-20). */
  readonly children: ReadonlyMap<string, ParsedDirectory>;
}

/** `Tree.root` and `Tree.children`, both length-delimited. */
const ROOT_TAG = 0x0a;
const CHILD_TAG = 0x12;

/**
 * Directories of one Tree, and files, directories and symlinks in all of them: as many as one walk of
 * an input tree takes. A child of two bytes costs a microsecond of hashing, a node some 200 bytes.
 */
const NODES_MAX = 1_000_000;

/**
 * The Tree whose encoding `bytes` are; `digest` gives the digest function and names it in errors. Each
 * directory is found by the digest of its very bytes, so fields unknown here do no harm (DIR-19). Fails
 * with INVALID_ARGUMENT when it is not a Tree, has no root, has more than a million nodes, takes more than a
 * quarter of the heap, or has a directory that is not well-formed. That all directories referred to are there
 * is not checked.
 */
export function parseTree(bytes: Uint8Array, digest: Digest): ParsedTree {
  const slices = slicesOf(bytes, digest);
  if (!slices.root) throw new StatusError(Code.INVALID_ARGUMENT, `tree ${digest} has no root`);
  const children = new Map<string, ParsedDirectory>();
  let memoryBytes = 0;
  const parse = (directory: Uint8Array, directoryDigest: Digest) => {
    const parsed = parseDirectory(directory, directoryDigest);
    memoryBytes += parsed.memoryBytes;
    if (memoryBytes > TREE_MEMORY_BYTES_MAX) {
      throw tooLarge(digest, `takes more than ${TREE_MEMORY_BYTES_MAX} bytes of memory`);
    }
    holdMemory(parsed.memoryBytes);
    return parsed;
  };
  let nodes = slices.children.length;
  for (const child of slices.children) {
    if (nodes > NODES_MAX) throw tooManyNodes(digest);
    const childDigest = Digest.ofBytes(digest.function, child);
    const { key } = childDigest;
    if (children.has(key)) continue;
    const parsed = parse(child, childDigest);
    nodes += parsed.files.length + parsed.directories.length + parsed.symlinks.length;
    children.set(key, parsed);
  }
  const rootDigest = Digest.ofBytes(digest.function, slices.root);
  return { root: parse(slices.root, rootDigest), rootDigest, children };
}

function tooManyNodes(digest: Digest): StatusError {
  return tooLarge(digest, `has more than ${NODES_MAX} nodes`);
}

function tooLarge(digest: Digest, how: string): StatusError {
  return new StatusError(Code.INVALID_ARGUMENT, `tree ${digest} ${how}, the limit here`);
}

function slicesOf(
  bytes: Uint8Array,
  digest: Digest,
): { root: Uint8Array | undefined; children: Uint8Array[] } {
  let root: Uint8Array | undefined;
  const children: Uint8Array[] = [];
  try {
    const reader = new BinaryReader(bytes);
    while (reader.pos < reader.len) {
      if (children.length > NODES_MAX) throw tooManyNodes(digest);
      const tag = reader.uint32();
      if (tag === ROOT_TAG) root = reader.bytes();
      else if (tag === CHILD_TAG) children.push(reader.bytes());
      else reader.skip(tag & 7);
    }
  } catch (error) {
    if (error instanceof StatusError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new StatusError(Code.INVALID_ARGUMENT, `tree ${digest} cannot be decoded: ${reason}`, {
      cause: error,
    });
  }
  return { root, children };
}
