import { isSea } from 'node:sea';
import { fileURLToPath } from 'node:url';

/**
 * How this program starts itself as a launcher of commands, or to watch over containers: as an
 * executable, or from its sources.
 */
export function launcherCommand(
  role: 'launcher' | 'container-watchdog' = 'launcher',
): readonly [string, ...string[]] {
  if (isSea()) return [process.execPath, role];
  const main = fileURLToPath(new URL('../main.ts', import.meta.url));
  return [process.execPath, main, role];
}
