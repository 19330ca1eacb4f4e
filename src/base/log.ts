import { printable } from './printable.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
/** What every line has by itself, no field may be called. */
type LineParts = { readonly at?: never; readonly level?: never; readonly message?: never };
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>> & LineParts;

/** One line per event: a sentence, and fields for machines. Bound fields stand on every line. */
export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same log with `fields` on each of its lines. */
  with(fields: LogFields): Log;
}

export interface LogOptions {
  /** Events below it are dropped. */
  readonly level: LogLevel;
  /** `text` for a person at a terminal, `json` for machines: one object per line. */
  readonly format: 'text' | 'json';
  /** Takes one finished line, its newline included. */
  readonly write: (line: string) => void;
  readonly now: () => number;
}

const levels: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

export function createLog(options: LogOptions, bound: LogFields = {}): Log {
  const emit = (level: LogLevel, message: string, fields: LogFields = {}) => {
    if (levels.indexOf(level) < levels.indexOf(options.level)) return;
    const at = new Date(options.now()).toISOString();
    options.write(render(options.format, at, level, message, { ...bound, ...fields }));
  };
  return {
    debug: (message, fields) => emit('debug', message, fields),
    info: (message, fields) => emit('info', message, fields),
    warn: (message, fields) => emit('warn', message, fields),
    error: (message, fields) => emit('error', message, fields),
    with: (fields) => createLog(options, { ...bound, ...fields }),
  };
}

/** Ids and names of tools have less; a client may send a thousand times as much. */
const FIELD_CHARACTERS_MAX = 200;

/** Text of a client as a field: nothing when it is empty, and not all of it when it is long (MD-05). */
export function fieldOf(text: string | undefined): string | undefined {
  return text ? text.slice(0, FIELD_CHARACTERS_MAX).toWellFormed() : undefined;
}

/** A log that keeps nothing. */
export const silentLog: Log = createLog({
  level: 'error',
  format: 'json',
  write: () => {},
  now: () => 0,
});

function render(
  format: LogOptions['format'],
  at: string,
  level: LogLevel,
  message: string,
  fields: LogFields,
): string {
  if (format === 'json') return `${JSON.stringify({ at, level, message, ...fields })}\n`;
  const words = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${quoted(String(value))}`);
  return `${[at.slice(11, 23), level.toUpperCase().padEnd(5), printable(message), ...words].join(' ')}\n`;
}

function quoted(text: string): string {
  return /^[\w./:@,+-]+$/.test(text) ? text : JSON.stringify(printable(text));
}
