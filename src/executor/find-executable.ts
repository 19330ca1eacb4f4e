import { accessSync, constants, statSync } from 'node:fs';
import path from 'node:path';
import { Code, StatusError } from '../base/status.ts';

/** Where programs are looked up, and what a command sees, when its environment has no PATH (ACT-10). */
export const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * The file that argv[0] names: absolute, with a slash relative to the working directory, or a bare
 * name looked up in PATH (ACT-09). Fails with INVALID_ARGUMENT when no such file can be executed.
 */
export function findExecutable(name: string, searchPath: string, workingDirectory: string): string {
  const candidates = name.includes('/')
    ? [path.resolve(workingDirectory, name)]
    : searchPath.split(':').map((folder) => path.resolve(workingDirectory, folder, name));
  const flaws = candidates.map(flawOf);
  const found = candidates[flaws.indexOf(undefined)];
  if (found !== undefined && name !== '') return found;
  const flaw = flaws.find((other) => other !== notFound) ?? notFound;
  const where = name.includes('/') ? '' : ` in PATH ${searchPath}`;
  throw new StatusError(
    Code.INVALID_ARGUMENT,
    `cannot run ${JSON.stringify(name)}${where}: ${flaw}`,
  );
}

const notFound = 'there is no such file';

function flawOf(file: string): string | undefined {
  try {
    if (statSync(file).isDirectory()) return `${file} is a directory`;
  } catch {
    return notFound;
  }
  try {
    accessSync(file, constants.X_OK);
    return undefined;
  } catch {
    return `${file} is not executable`;
  }
}
