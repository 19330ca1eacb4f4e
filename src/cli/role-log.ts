import type { Clock } from '../base/clock.ts';
import { createLog, type Log } from '../base/log.ts';
import type { LoggingConfig } from '../config/logging.ts';
import type { Terminal } from './terminal.ts';

/** The log of a server or worker, beside the terminal's answer. */
export function roleLog({ level, format }: LoggingConfig, terminal: Terminal, clock: Clock): Log {
  return createLog({
    level,
    format: format === 'auto' ? (terminal.isWatched ? 'text' : 'json') : format,
    write: (line) => terminal.note(line.trimEnd()),
    now: () => clock.now(),
  });
}
