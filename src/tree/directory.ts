import { heapBytesMax } from '../base/memory.ts';
import { quoted } from '../base/quoted.ts';
import { Code, StatusError } from '../base/status.ts';
import { Digest } from '../digest/digest.ts';
import {
  Directory,
  type NodeProperties,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Timestamp } from '../proto/google/protobuf/timestamp.ts';
import { decodeMessage } from './decode-message.ts';

interface ParsedNode {
  /** One path segment, unique in its directory. */
  readonly name: string;
}

export interface ParsedFile extends ParsedNode {
  readonly digest: Digest;
  readonly isExecutable: boolean;
  readonly properties: NodeProperties | undefined;
}

/** A child directory, by the digest of its own Directory message. */
export interface ParsedSubdirectory extends ParsedNode {
  readonly digest: Digest;
}

export interface ParsedSymlink extends ParsedNode {
  /** As it was sent (DIR-09); not empty. */
  readonly target: string;
  readonly properties: NodeProperties | undefined;
}

/** A Directory message that was checked: its names can be made on a disk without leaving their folder. */
export interface ParsedDirectory {
  readonly files: readonly ParsedFile[];
  readonly directories: readonly ParsedSubdirectory[];
  readonly symlinks: readonly ParsedSymlink[];
  readonly properties: NodeProperties | undefined;
  /** What it takes in memory, about. */
  readonly memoryBytes: number;
}

/** What the directories of one tree may take in memory together. */
export const TREE_MEMORY_BYTES_MAX = heapBytesMax / 4;

/** What one directory takes with its place in a map, a node with its digest, and properties: measured. */
const BYTES_PER_DIRECTORY = 500;
const BYTES_PER_NODE = 150;
const BYTES_PER_PROPERTY = 150;

/**
 * The Directory whose encoding `bytes` are and whose digest is `digest`; that they match is not checked
 * here. Fails with INVALID_ARGUMENT when they are not a Directory, or one that no disk can hold: names
 * that are not one segment (DIR-01, DIR-02), a name given twice (DIR-03), an empty symlink target
 * (DIR-10), a time that is none, or a child's digest that is malformed under this function (DIG-12). The
 * order of the nodes is taken as it is: it matters to who makes digests, not to who reads them (DIR-04).
 */
export function parseDirectory(bytes: Uint8Array, digest: Digest): ParsedDirectory {
  const what = `directory ${digest}`;
  const message = decodeMessage(Directory, bytes, what);
  const names = new Set<string>();
  const digestOf = (node: { name: string; digest: Directory['files'][number]['digest'] }) => {
    const field = `digest of ${quoted(node.name)} in ${what}`;
    return Digest.fromMessage(digest.function, node.digest, field);
  };
  for (const nodes of [message.files, message.directories, message.symlinks]) {
    for (const { name } of nodes) checkName(name, names, what);
  }
  for (const nodes of [[message], message.files, message.symlinks]) {
    for (const { nodeProperties } of nodes) {
      if (nodeProperties?.mtime) checkTime(nodeProperties.mtime, what);
    }
  }
  return {
    files: message.files.map((node) => ({
      name: node.name,
      digest: digestOf(node),
      isExecutable: node.isExecutable,
      properties: node.nodeProperties,
    })),
    directories: message.directories.map((node) => ({ name: node.name, digest: digestOf(node) })),
    symlinks: message.symlinks.map((node) => ({
      name: node.name,
      target: checkedTarget(node, what),
      properties: node.nodeProperties,
    })),
    properties: message.nodeProperties,
    memoryBytes: bytes.length + memoryBytesOf(message),
  };
}

/** Beside the texts, which take no more than their encoding. */
function memoryBytesOf({ files, directories, symlinks, nodeProperties }: Directory): number {
  const nodes = files.length + directories.length + symlinks.length;
  let properties = 0;
  for (const { nodeProperties: of } of [{ nodeProperties }, ...files, ...symlinks]) {
    // Its list, its time and its mode.
    if (of) properties += 2 + of.properties.length;
  }
  return BYTES_PER_DIRECTORY + nodes * BYTES_PER_NODE + properties * BYTES_PER_PROPERTY;
}

/** From 0001-01-01 to the end of 9999, as timestamp.proto has it. */
const SECONDS_MIN = -62_135_596_800;
const SECONDS_MAX = 253_402_300_799;

/** A disk would take another time in place of one that is none, and say nothing. */
function checkTime({ seconds, nanos }: Timestamp, what: string): void {
  const isTime = seconds >= SECONDS_MIN && seconds <= SECONDS_MAX && nanos >= 0 && nanos < 1e9;
  if (isTime) return;
  throw new StatusError(
    Code.INVALID_ARGUMENT,
    `${what} has an mtime of ${seconds} s and ${nanos} ns; it must be in the years 1 to 9999, with nanos from 0 to ` +
      '999999999',
  );
}

/** This is the border of the sandbox: a name that passes here is joined to a path and made. */
function checkName(name: string, names: Set<string>, what: string): void {
  if (name === '' || name === '.' || name === '..' || name.includes('/') || name.includes('\0')) {
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `${what} has a node named ${quoted(name)}; a name is one path segment and not "." or ".."`,
    );
  }
  if (names.has(name)) {
    throw new StatusError(Code.INVALID_ARGUMENT, `${what} has two nodes named ${quoted(name)}`);
  }
  names.add(name);
}

function checkedTarget({ name, target }: { name: string; target: string }, what: string): string {
  if (target !== '' && !target.includes('\0')) return target;
  throw new StatusError(
    Code.INVALID_ARGUMENT,
    `symlink ${quoted(name)} in ${what} has the target ${quoted(target)}, which no symlink can have`,
  );
}
