import { chmod, chown, mkdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { Digest } from '../digest/digest.ts';
import type { Owner } from '../executor/executor.ts';
import type { Command } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { parseAmount } from '../scheduler/amounts.ts';
import { fetchInputRoot, type FetchOptions } from '../tree/fetch-input-root.ts';
import { findAction, findCommand } from '../tree/find-action.ts';
import { findFolder, makeFolder } from '../tree/inside-root.ts';
import { missingBlobs } from '../tree/missing-blobs.ts';
import { resolveInRoot } from '../tree/output-path.ts';
import { requestedOutputs, requestedProperties } from '../tree/requested-outputs.ts';
import type { WrittenFolder } from '../tree/written-folder.ts';

/** An action whose inputs are on the disk. */
export interface PreparedAction {
  readonly command: Command;
  readonly argv: readonly [string, ...string[]];
  readonly inputRoot: string;
  /** What was written there, where that can be kept (see `fetchInputRoot`). */
  readonly inputs: WrittenFolder | undefined;
  readonly workingDirectory: string;
  /** A place for temporary files, private to the action (WRK-19). */
  readonly temporary: string;
  /** Its platform property `network` is `on` (WRK-20). */
  readonly network: boolean;
  /** Its platform property `memory`, in bytes. */
  readonly memoryBytesMax: number | undefined;
  /** Its platform property `cpu`, if that is less than the machine has. */
  readonly cpusMax: number | undefined;
  /** Those of the action count, and without them its command's (ACT-03, ACT-04). */
  readonly properties: ReadonlyMap<string, string>;
}

/** Nothing starts with less: such a number was meant in another unit. */
const memoryBytesMin = 16 * 1024 * 1024;

/** The kernel shares out no less. */
const cpusMin = 0.01;

/** Larger messages are refused before they fill the memory; a Command of 10 MiB is legal (ACT-28). */
const messageSizeBytesMax = 64 * 1024 * 1024;

/**
 * Puts all that an action needs into `folder`, which must not exist. Fails with FAILED_PRECONDITION when
 * blobs are missing, and with INVALID_ARGUMENT when the action cannot be run anywhere.
 */
export async function prepareAction(
  digest: Digest,
  folder: string,
  blobs: BlobStore,
  options: FetchOptions,
  signal: AbortSignal,
): Promise<PreparedAction> {
  const found = await findAction(digest, blobs, messageSizeBytesMax, signal);
  if (!found) throw missingBlobs([digest]);
  const command = await findCommand(found.command, blobs, messageSizeBytesMax, signal);
  if (!command) throw missingBlobs([found.command]);
  const [first, ...rest] = command.arguments;
  if (first === undefined) throw refused(`the command of action ${digest} has no arguments`);
  // What could not be collected is refused before anything is fetched.
  requestedProperties(command);
  const outputs = requestedOutputs(command);
  await makeFolderOf(options.owner, folder);
  const inputRoot = path.join(folder, 'root');
  const inputs = await fetchInputRoot(found.inputRoot, inputRoot, blobs, options, signal);
  const workingDirectory = await findWorkingDirectory(inputRoot, command.workingDirectory);
  const parents = new Set(outputs.map(({ fromRoot }) => path.posix.dirname(fromRoot)));
  for (const parent of parents) {
    if (parent !== '.') await makeFolder(inputRoot, parent, options.owner);
  }
  const temporary = path.join(folder, 'tmp');
  await makePrivate(temporary, options.owner);
  // ACT-01: the Command's platform is for clients that know no other.
  const { properties = [] } = found.action.platform ?? command.platform ?? {};
  const network = properties.some(({ name, value }) => name === 'network' && value === 'on');
  const amountOf = (asked: string) =>
    parseAmount(properties.find(({ name }) => name === asked)?.value ?? '') ?? 0;
  const [memory, cpus] = [amountOf('memory'), amountOf('cpu')];
  return {
    command,
    argv: [first, ...rest],
    inputRoot,
    inputs,
    workingDirectory,
    temporary,
    network,
    properties: new Map(properties.map(({ name, value }) => [name, value])),
    memoryBytesMax: memory < memoryBytesMin ? undefined : Math.floor(memory),
    cpusMax: cpus < cpusMin || cpus >= availableParallelism() ? undefined : cpus,
  };
}

/** It is not made: an action that runs where its inputs are not is a mistake (ACT-23, ACT-24). */
async function findWorkingDirectory(inputRoot: string, name: string): Promise<string> {
  const fromRoot = resolveInRoot('', name);
  const found = fromRoot === undefined ? undefined : findFolder(inputRoot, fromRoot);
  const folder = await found?.catch((error: unknown) => {
    // A link of the inputs leads out: another attempt ends the same (WK-22).
    if (error instanceof StatusError) throw refused(`working directory: ${error.message}`);
    throw error;
  });
  if (folder !== undefined) return folder;
  throw refused(`working directory ${JSON.stringify(name)} is no directory of the input root`);
}

/** Its command goes through it to what is its own; those of other users do not. */
async function makeFolderOf(owner: Owner | undefined, folder: string): Promise<void> {
  await mkdir(folder, { mode: 0o700 });
  if (!owner) return;
  await chown(folder, -1, owner.gid);
  await chmod(folder, 0o710);
}

async function makePrivate(folder: string, owner: Owner | undefined): Promise<void> {
  await mkdir(folder, { mode: 0o700 });
  if (owner) await chown(folder, owner.uid, owner.gid);
}

function refused(why: string): StatusError {
  return new StatusError(Code.INVALID_ARGUMENT, why);
}
