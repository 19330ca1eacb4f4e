import { BinaryWriter } from '@bufbuild/protobuf/wire';
import type { BigIntStats } from 'node:fs';
import { readlink, stat } from 'node:fs/promises';
import path from 'node:path';
import { chunksOf } from '../base/chunks.ts';
import { concurrently } from '../base/concurrently.ts';
import { Code, StatusError } from '../base/status.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import { Digest } from '../digest/digest.ts';
import {
  type ActionResult,
  type Command,
  Command_OutputDirectoryFormat,
  type OutputSymlink,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { digestOfFile, fileChunks } from './file-chunks.ts';
import { findFolder, lstatIfAny, undefinedIfAbsent } from './inside-root.ts';
import { type NodePropertyName, nodePropertiesOf } from './node-properties.ts';
import { outputFailure } from './output-failure.ts';
import {
  type RequestedOutput,
  requestedOutputs,
  requestedProperties,
} from './requested-outputs.ts';
import {
  defaultScanOptions,
  type DirectoryBlob,
  type ScanBudget,
  scanFolder,
  type ScanOptions,
} from './scan-folder.ts';
import type { BlobSource } from './upload-files.ts';
import { textOf } from './utf8-text.ts';

/** Of all outputs of an action together, but for the depth; also how many are read at once. */
export type OutputLimits = Pick<ScanOptions, 'entriesMax' | 'bytesMax' | 'depthMax' | 'readsMax'>;

export const defaultOutputLimits: OutputLimits = {
  ...defaultScanOptions,
  // Twice what the largest output directories have (node_modules); each takes about 1 KiB of memory.
  entriesMax: 200_000,
  // More than any output directory has; less than what would fill a worker's disk unnoticed.
  bytesMax: 64 * 1024 ** 3,
};

export type Outputs = Pick<
  ActionResult,
  | 'outputFiles'
  | 'outputDirectories'
  | 'outputSymlinks'
  | 'outputFileSymlinks'
  | 'outputDirectorySymlinks'
>;

export interface CollectedOutputs {
  /** Each list sorted by path (RES-31). */
  readonly outputs: Outputs;
  /** All that the outputs refer to, to be uploaded before anybody hears of them (RES-17). */
  readonly blobs: readonly BlobSource[];
}

/** Whom the command ran as, if not as the worker itself. */
type Owner = { readonly uid: number; readonly gid: number } | undefined;

interface Context {
  readonly inputRoot: string;
  readonly digestFunction: DigestFunction;
  readonly limits: OutputLimits;
  readonly left: ScanBudget;
  readonly admit: (place: string, stats: BigIntStats) => void;
  readonly properties: ReadonlySet<NodePropertyName>;
  readonly format: Command_OutputDirectoryFormat;
  readonly signal: AbortSignal;
}

/** What one requested output adds. */
interface Found {
  readonly outputs: Partial<Outputs>;
  readonly blobs: readonly BlobSource[];
}

/**
 * The outputs that a command was asked for, as they are on the disk once all its processes are gone
 * (RES-34). One that is not there is left out (RES-02). Links are never followed, except on the way to
 * an output and within the input root (RES-22). Fails with FAILED_PRECONDITION when an output is not of
 * the kind asked for (RES-10), and with INVALID_ARGUMENT when no blob can hold it (RES-12), the limits are
 * exceeded, the command left it so that it cannot be read, or it is what the command could not read: the
 * worker may have more rights, and must not use them for it.
 */
export async function collectOutputs(
  command: Command,
  inputRoot: string,
  digestFunction: DigestFunction,
  limits: OutputLimits,
  owner: Owner,
  signal: AbortSignal,
): Promise<CollectedOutputs> {
  const properties = requestedProperties(command);
  const format = command.outputDirectoryFormat;
  const left = { entries: limits.entriesMax, bytes: limits.bytesMax };
  const admit = admitting(await lstatIfAny(inputRoot), owner);
  const context = { inputRoot, digestFunction, limits, left, admit, properties, format };
  const found = new Map<RequestedOutput, Found>();
  const requested = requestedOutputs(command);
  await concurrently(
    requested,
    limits.readsMax,
    async (output, either) => {
      const collecting = collectOne(output, { ...context, signal: either });
      found.set(
        output,
        await collecting.catch(async (error: unknown) => {
          throw await outputFailure(output.path, inputRoot, error);
        }),
      );
    },
    signal,
  );
  const all = requested.flatMap((output) => found.get(output) ?? []);
  return {
    outputs: {
      outputFiles: all.flatMap(({ outputs }) => outputs.outputFiles ?? []),
      outputDirectories: all.flatMap(({ outputs }) => outputs.outputDirectories ?? []),
      outputSymlinks: all.flatMap(({ outputs }) => outputs.outputSymlinks ?? []),
      outputFileSymlinks: all.flatMap(({ outputs }) => outputs.outputFileSymlinks ?? []),
      outputDirectorySymlinks: all.flatMap(({ outputs }) => outputs.outputDirectorySymlinks ?? []),
    },
    blobs: all.flatMap(({ blobs }) => blobs),
  };
}

async function collectOne(output: RequestedOutput, context: Context): Promise<Found> {
  const { dir: parent, base } = path.posix.parse(output.fromRoot);
  const folder = await findFolder(context.inputRoot, parent);
  const nothing = { outputs: {}, blobs: [] };
  if (folder === undefined) return nothing;
  const place = path.join(folder, base);
  const stats = await lstatIfAny(place);
  if (!stats) return nothing;
  context.admit(place, stats);
  if (stats.isSymbolicLink()) return symlinkFound(output, place, stats, context);
  if (stats.isDirectory()) {
    if (output.kind === 'file') throw conflict(output, 'a directory');
    return directoryFound(output, place, context);
  }
  if (!stats.isFile()) {
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `output ${JSON.stringify(output.path)} is a socket, FIFO or device, which cannot be stored`,
    );
  }
  if (output.kind === 'directory') throw conflict(output, 'a file');
  return fileFound(output, place, stats, context);
}

async function fileFound(
  { path: requestedPath }: RequestedOutput,
  place: string,
  stats: BigIntStats,
  { digestFunction, limits, left, properties, signal }: Context,
): Promise<Found> {
  left.bytes -= Number(stats.size);
  if (left.bytes < 0) {
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `output ${JSON.stringify(requestedPath)} brings more than ${limits.bytesMax} bytes, the limit here`,
    );
  }
  const digest = await digestOfFile(place, digestFunction, signal, 'in-place');
  const file = {
    path: requestedPath,
    digest: digest.toMessage(),
    isExecutable: (stats.mode & 0o100n) !== 0n,
    contents: Buffer.of(),
    nodeProperties: nodePropertiesOf(stats, properties),
  };
  const blobs = [{ digest, open: () => fileChunks(place, 'in-place') }];
  return { outputs: { outputFiles: [file] }, blobs };
}

async function directoryFound(
  { path: requestedPath }: RequestedOutput,
  place: string,
  { digestFunction, limits, left, admit, properties, format, signal }: Context,
): Promise<Found> {
  const options = {
    ...limits,
    specialFiles: 'skip',
    nodeProperties: properties,
    opening: 'in-place',
    admit,
  } as const;
  const scanned = await scanFolder(place, digestFunction, options, signal, left);
  const tree = treeOf(scanned.directories);
  const treeDigest = Digest.ofBytes(digestFunction, tree);
  // Whatever else a newer client may ask for is answered with the tree alone (ACT-26).
  const { DIRECTORY_ONLY, TREE_AND_DIRECTORY } = Command_OutputDirectoryFormat;
  const separately = format === DIRECTORY_ONLY || format === TREE_AND_DIRECTORY;
  const directory = {
    path: requestedPath,
    // Also when only the directories are asked for: several clients read nothing else (RES-14).
    treeDigest: treeDigest.toMessage(),
    isTopologicallySorted: true,
    rootDirectoryDigest: separately ? scanned.root.toMessage() : undefined,
  };
  const blobs = [
    ...scanned.files.map(({ digest, path: file }) => ({
      digest,
      open: () => fileChunks(file, 'in-place'),
    })),
    { digest: treeDigest, open: () => chunksOf(tree) },
    ...(separately ? scanned.directories : []).map(({ digest, bytes }) => ({
      digest,
      open: () => chunksOf(bytes),
    })),
  ];
  return { outputs: { outputDirectories: [directory] }, blobs };
}

async function symlinkFound(
  output: RequestedOutput,
  place: string,
  stats: BigIntStats,
  { properties }: Context,
): Promise<Found> {
  const what = `the target of output ${JSON.stringify(output.path)}`;
  const symlink: OutputSymlink = {
    path: output.path,
    target: textOf(await readlink(place, { encoding: 'buffer' }), what),
    nodeProperties: nodePropertiesOf(stats, properties),
  };
  const target = await stat(place).catch(undefinedIfAbsent);
  const isDirectory = target?.isDirectory() === true;
  if (output.kind === 'directory' && !isDirectory) throw conflict(output, 'a link to no directory');
  // RES-11: a link that leads nowhere is reported.
  if (output.kind === 'file' && target && !target.isFile()) {
    throw conflict(output, 'a link to no regular file');
  }
  return {
    outputs: {
      // RES-07, RES-08: some clients read only the older fields, some only the new one.
      outputSymlinks: output.kind === 'any' ? [symlink] : [],
      [isDirectory ? 'outputDirectorySymlinks' : 'outputFileSymlinks']: [symlink],
    },
    blobs: [],
  };
}

/** Refuses what is mounted in the input root, and files that only the worker's rights could read. */
function admitting(root: BigIntStats | undefined, owner: Owner): Context['admit'] {
  return (place, stats) => {
    if (root && stats.dev !== root.dev) {
      throw new StatusError(Code.INVALID_ARGUMENT, `${place} is on another file system`);
    }
    if (!owner || !stats.isFile() || stats.uid === BigInt(owner.uid)) return;
    const isOfGroup = stats.gid === BigInt(owner.gid);
    if ((stats.mode & (isOfGroup ? 0o044n : 0o004n)) !== 0n) return;
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `${place} belongs to user ${stats.uid}, and the command itself cannot read it`,
    );
  };
}

/** A Tree as RES-15 promises it: its root, then its children, and nothing else. */
function treeOf(directories: readonly DirectoryBlob[]): Uint8Array {
  const rootTag = 0x0a;
  const childTag = 0x12;
  const writer = new BinaryWriter();
  for (const [index, { bytes }] of directories.entries()) {
    writer.uint32(index === 0 ? rootTag : childTag).bytes(bytes);
  }
  return writer.finish();
}

function conflict(output: RequestedOutput, what: string): StatusError {
  const field = output.kind === 'file' ? 'output_files' : 'output_directories';
  return new StatusError(
    Code.FAILED_PRECONDITION,
    `${JSON.stringify(output.path)} of ${field} is ${what}`,
  );
}
