import { createLog, type Log } from '../../src/base/log.ts';

/** A log of every level, and what is written to it. */
export function keepLines(): { readonly log: Log; readonly lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  const log = createLog({
    level: 'debug',
    format: 'json',
    write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>),
    now: () => 0,
  });
  return { log, lines };
}
