import { constants } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import type { Chunks } from '../base/chunks.ts';
import type { NewId } from '../base/id.ts';

/**
 * Writes a file that appears whole or not at all, in place of what stood at `target`: a link there is
 * replaced, not followed (CLI-16). The user's umask applies.
 */
export async function downloadFile(
  target: string,
  chunks: Chunks,
  isExecutable: boolean,
  newId: NewId,
): Promise<void> {
  const temporary = temporaryBeside(target, newId);
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const file = await open(temporary, flags, isExecutable ? 0o777 : 0o666);
  try {
    try {
      for await (const chunk of chunks) await file.writeFile(chunk);
    } finally {
      await file.close();
    }
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** A name in the same folder, so that a rename puts it in place at once. */
export function temporaryBeside(target: string, newId: NewId): string {
  return path.join(path.dirname(target), `.expbuild-${newId()}`);
}
