import { realpath } from 'node:fs/promises';
import { Code, StatusError } from '../base/status.ts';
import { chunksOf } from '../base/chunks.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import { Digest } from '../digest/digest.ts';
import {
  Action,
  Command,
  type Platform,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { fileChunks } from '../tree/file-chunks.ts';
import { compareNames } from '../tree/name-order.ts';
import { defaultScanOptions, type ScannedFolder, scanFolder } from '../tree/scan-folder.ts';
import type { BlobSource } from '../tree/upload-files.ts';

/** A command to run remotely, as a person gives it. */
export interface ActionSpec {
  readonly arguments: readonly string[];
  readonly environment: ReadonlyMap<string, string>;
  /** The folder whose contents become the input root; none: the action starts with nothing. */
  readonly inputFolder: string | undefined;
  /** Where the command starts, relative to the input root; '' is the input root. */
  readonly workingDirectory: string;
  /** Relative to the working directory. One that ends in a slash is a directory. */
  readonly outputPaths: readonly string[];
  readonly platform: readonly { readonly name: string; readonly value: string }[];
  /** Undefined leaves it to the server. */
  readonly timeoutMs: number | undefined;
  readonly doNotCache: boolean;
  /** Keeps results apart that would otherwise be the same action's; usually empty. */
  readonly salt: Uint8Array;
}

/** An action with its command and inputs, all of which the server needs before it can run. */
export interface PreparedAction {
  readonly digest: Digest;
  readonly command: Digest;
  readonly inputRoot: Digest;
  /** Every blob of it, the action included. */
  readonly sources: readonly BlobSource[];
  readonly totals: ScannedFolder['totals'];
}

export interface PrepareOptions {
  readonly digestFunction: DigestFunction;
  /** Servers below version 2.1 know only the older lists of output files and directories (CLI-06). */
  readonly knowsOutputPaths: boolean;
}

/** Makes the canonical messages of an action: the same action always has the same digest (CLI-05). */
export async function prepareAction(
  spec: ActionSpec,
  { digestFunction, knowsOutputPaths }: PrepareOptions,
  signal: AbortSignal,
): Promise<PreparedAction> {
  const inputs = await scanInputs(spec.inputFolder, digestFunction, signal);
  const platform = platformOf(spec);
  const command = blobSource(
    Command.encode(commandOf(spec, platform, knowsOutputPaths)).finish(),
    digestFunction,
  );
  const action = blobSource(
    Action.encode(
      Action.fromPartial({
        commandDigest: command.digest.toMessage(),
        inputRootDigest: inputs.root.toMessage(),
        timeout: durationOf(spec.timeoutMs),
        doNotCache: spec.doNotCache,
        salt: spec.salt,
        platform,
      }),
    ).finish(),
    digestFunction,
  );
  const directories = inputs.directories.map(({ digest, bytes }) => ({
    digest,
    open: () => chunksOf(bytes),
  }));
  const files = inputs.files.map(({ digest, path }) => ({ digest, open: () => fileChunks(path) }));
  return {
    digest: action.digest,
    command: command.digest,
    inputRoot: inputs.root,
    sources: [action, command, ...directories, ...files],
    totals: inputs.totals,
  };
}

async function scanInputs(
  folder: string | undefined,
  digestFunction: DigestFunction,
  signal: AbortSignal,
): Promise<Pick<ScannedFolder, 'root' | 'directories' | 'files' | 'totals'>> {
  if (folder !== undefined) {
    // The folder itself may be a link, as that of an upload.
    const target = await realpath(folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error;
      throw new StatusError(Code.NOT_FOUND, `the input folder ${folder} does not exist`);
    });
    return scanFolder(target, digestFunction, defaultScanOptions, signal);
  }
  return {
    root: Digest.ofBytes(digestFunction, new Uint8Array()),
    directories: [],
    files: [],
    totals: { files: 0, directories: 1, symlinks: 0, bytes: 0 },
  };
}

function commandOf(spec: ActionSpec, platform: Platform, knowsOutputPaths: boolean): Command {
  return Command.fromPartial({
    arguments: [...spec.arguments],
    environmentVariables: [...spec.environment]
      .map(([name, value]) => ({ name, value }))
      .toSorted((a, b) => compareNames(a.name, b.name)),
    workingDirectory: spec.workingDirectory,
    platform,
    ...(knowsOutputPaths
      ? { outputPaths: sorted(spec.outputPaths) }
      : {
          outputFiles: sorted(spec.outputPaths.filter((path) => !isDirectory(path))),
          outputDirectories: sorted(spec.outputPaths.filter(isDirectory)),
        }),
  });
}

const isDirectory = (path: string) => path.endsWith('/');

function sorted(paths: readonly string[]): string[] {
  const plain = paths.map((path) => path.replace(/\/+$/, ''));
  return [...new Set(plain)].toSorted(compareNames);
}

function platformOf({ platform }: ActionSpec): Platform {
  return {
    properties: platform
      .map(({ name, value }) => ({ name, value }))
      .toSorted((a, b) => compareNames(a.name, b.name) || compareNames(a.value, b.value)),
  };
}

function durationOf(ms: number | undefined) {
  if (ms === undefined) return undefined;
  return { seconds: Math.floor(ms / 1000), nanos: (ms % 1000) * 1_000_000 };
}

function blobSource(bytes: Uint8Array, digestFunction: DigestFunction): BlobSource {
  return { digest: Digest.ofBytes(digestFunction, bytes), open: () => chunksOf(bytes) };
}
