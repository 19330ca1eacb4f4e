import { isSea } from 'node:sea';
import { fileURLToPath } from 'node:url';

/** How this program starts itself as a launcher of commands: as an executable, or from its sources. */
export function launcherCommand(): readonly [string, ...string[]] {
  if (isSea()) return [process.execPath, 'launcher'];
  const main = fileURLToPath(new URL('../main.ts', import.meta.url));
  return [process.execPath, main, 'launcher'];
}
