import { constants } from 'node:fs';
import { copyFile, link, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';

/** How files of the input cache get into input roots, and why in no faster way. */
export interface InputMethod {
  readonly method: 'hard links' | 'reflinks' | 'copies';
  readonly why: string;
}

/**
 * Tries, by a file of its own, how files in `from` can be had in `to`. A hard link is one file under two names:
 * only where commands cannot change files of the worker. A reflink shares what is stored until it is written to.
 */
export async function findInputMethod(
  from: string,
  to: string,
  protectsInputs: boolean,
): Promise<InputMethod> {
  const original = path.join(from, 'probe');
  const copy = path.join(to, 'probe');
  await rm(copy, { force: true });
  await writeFile(original, 'probe');
  try {
    const links = await failure(link(original, copy));
    if (protectsInputs && links === undefined) {
      return { method: 'hard links', why: 'commands run as another user' };
    }
    const why = protectsInputs
      ? `the file system refuses hard links (${links})`
      : 'commands run as the user of the worker';
    await rm(copy, { force: true });
    const reflinks = await failure(copyFile(original, copy, constants.COPYFILE_FICLONE_FORCE));
    if (reflinks === undefined) return { method: 'reflinks', why };
    return { method: 'copies', why: `${why}, and the file system has no reflinks (${reflinks})` };
  } finally {
    await rm(copy, { force: true });
    await rm(original, { force: true });
  }
}

async function failure(attempt: Promise<void>): Promise<string | undefined> {
  try {
    await attempt;
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}
