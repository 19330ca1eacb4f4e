import { accessSync, constants, existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { Code, StatusError } from '../base/status.ts';

/** Where programs are looked up, and what a command sees, when its environment has no PATH (ACT-10). */
export const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * The file that argv[0] names: absolute, with a slash relative to the working directory, or a bare
 * name looked up in PATH (ACT-09). Fails with INVALID_ARGUMENT when no such file can be executed.
 * `placeOf` tells where this machine has what the command sees at a path, if it sees anything there.
 */
export function findExecutable(
  name: string,
  searchPath: string,
  workingDirectory: string,
  placeOf: (seen: string) => string | undefined = (seen) => seen,
): string {
  const candidates = name.includes('/')
    ? [path.resolve(workingDirectory, name)]
    : searchPath.split(':').map((folder) => path.resolve(workingDirectory, folder, name));
  const flaws = candidates.map((file) => flawOf(file, placeOf(file)));
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

function flawOf(file: string, place: string | undefined): string | undefined {
  if (place === undefined) {
    return existsSync(file) ? `${file} is not visible in the sandbox` : notFound;
  }
  try {
    if (statSync(place).isDirectory()) return `${file} is a directory`;
  } catch {
    return notFound;
  }
  try {
    accessSync(place, constants.X_OK);
    return undefined;
  } catch {
    return `${file} is not executable`;
  }
}
