import { chmod, mkdir, readdir } from 'node:fs/promises';
import path from 'node:path';
import type { Log } from '../base/log.ts';
import { Code, StatusError } from '../base/status.ts';
import { removeFolder } from './remove-folder.ts';

/**
 * Makes the folder of actions, and empties it of what those of an earlier process left. Nothing of them runs any
 * more: their launchers ended it (WRK-02). Fails with FAILED_PRECONDITION when something cannot be removed.
 */
export async function sweepActions(folder: string, log: Log): Promise<void> {
  await mkdir(folder, { recursive: true });
  // Commands of another user pass through it, and cannot list it.
  await chmod(folder, 0o711);
  const left = await readdir(folder);
  for (const name of left) await removeLeft(path.join(folder, name));
  if (left.length > 0) log.info('removed what earlier actions left', { folders: left.length });
}

async function removeLeft(folder: string): Promise<void> {
  try {
    await removeFolder(folder);
  } catch (error) {
    throw new StatusError(
      Code.FAILED_PRECONDITION,
      `cannot remove ${folder}, which an earlier action left: ${StatusError.from(error).message}. Unmount ` +
        'or remove it by hand, then start the worker again',
      { cause: error },
    );
  }
}
