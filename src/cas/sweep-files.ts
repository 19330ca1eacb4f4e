import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '../base/clock.ts';
import type { BlobFiles } from './blob-files.ts';
import type { BlobIndex } from './blob-index.ts';
import type { Pins } from './pins.ts';
import { parseFileName } from './stored-blob.ts';

/** The pause after each folder, so that the sweep takes little of the disk's time. */
const pauseMs = 5;

/**
 * Deletes what a crash left behind: incoming files of earlier processes, and blob files without a row.
 * Gives their number. Files that are not called like a blob are left alone.
 */
export async function sweepFiles(
  files: BlobFiles,
  index: BlobIndex,
  pins: Pins,
  clock: Clock,
  signal: AbortSignal,
): Promise<number> {
  let removed = 0;
  for (const name of await readdir(files.incomingFolder)) {
    signal.throwIfAborted();
    if (files.isIncomingOfThisProcess(name)) continue;
    await rm(path.join(files.incomingFolder, name), { recursive: true, force: true });
    removed++;
  }
  for (const namespace of await foldersIn(files.blobsFolder)) {
    for (const functionName of await foldersIn(path.join(files.blobsFolder, namespace))) {
      const folder = path.join(files.blobsFolder, namespace, functionName);
      for (const prefix of await foldersIn(folder)) {
        for (const name of await readdir(path.join(folder, prefix))) {
          const blob = parseFileName(namespace, functionName, name);
          // Looked at and marked for removal without a wait in between: an upload either has its pin
          // by now, or waits for the removal.
          if (!blob || pins.count(blob.path) > 0 || index.has(blob)) continue;
          await files.remove(blob);
          removed++;
        }
        await clock.sleep(pauseMs, signal);
      }
    }
  }
  return removed;
}

async function foldersIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}
