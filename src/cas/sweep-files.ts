import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '../base/clock.ts';
import { adoptBlob } from './adopt-blob.ts';
import type { LocalDisk } from './local-disk.ts';
import { parseFileName, type StoredBlob } from './stored-blob.ts';

/** The pause after each folder, so that the sweep takes little of the disk's time. */
const pauseMs = 5;

export interface SweptFiles {
  readonly removedFiles: number;
  readonly adoptedBlobs: number;
}

/**
 * Deletes incoming files of earlier processes. Blob files without a row, which a crash left behind or which
 * are all when the index was lost, get one if they are good, and are deleted otherwise. Files that are not
 * called like a blob are left alone; one that cannot be read or deleted is told of in the log, and holds up
 * no other.
 */
export async function sweepFiles(
  disk: LocalDisk,
  clock: Clock,
  signal: AbortSignal,
): Promise<SweptFiles> {
  const { files, index, pins, log } = disk;
  const isInUse = (blob: StoredBlob) => pins.count(blob.path) > 0 || index.has(blob);
  let [removedFiles, adoptedBlobs] = [0, 0];
  const attempt = async (file: string, work: () => Promise<void>) => {
    try {
      await work();
    } catch (thrown) {
      signal.throwIfAborted();
      log.warn('a file could not be swept', { path: file, error: String(thrown) });
    }
  };
  for (const name of await readdir(files.incomingFolder)) {
    signal.throwIfAborted();
    if (files.isIncomingOfThisProcess(name)) continue;
    const file = path.join(files.incomingFolder, name);
    await attempt(file, async () => {
      await rm(file, { recursive: true, force: true });
      removedFiles++;
    });
  }
  for await (const blob of namedFiles(files.blobsFolder, clock, signal)) {
    if (isInUse(blob)) continue;
    await attempt(files.pathOf(blob), async () => {
      if (await adoptBlob(disk, blob, clock, signal)) adoptedBlobs++;
      // Looked at and marked for removal without a wait in between: an upload either has its pin
      // by now, or waits for the removal.
      if (isInUse(blob)) return;
      await files.remove(blob);
      removedFiles++;
    });
  }
  return { removedFiles, adoptedBlobs };
}

/** What is called like a blob and lies where that would. */
async function* namedFiles(
  blobsFolder: string,
  clock: Clock,
  signal: AbortSignal,
): AsyncGenerator<StoredBlob> {
  for (const namespace of await foldersIn(blobsFolder)) {
    for (const functionName of await foldersIn(path.join(blobsFolder, namespace))) {
      const folder = path.join(blobsFolder, namespace, functionName);
      for (const prefix of await foldersIn(folder)) {
        for (const name of await readdir(path.join(folder, prefix))) {
          const blob = parseFileName(namespace, functionName, name);
          if (blob) yield blob;
        }
        await clock.sleep(pauseMs, signal);
      }
    }
  }
}

async function foldersIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}
