import { Code, StatusError } from '../base/status.ts';

/** What the name of a log stream says. */
export interface LogName {
  /** Undefined for an id alone. */
  readonly parent: string | undefined;
  readonly id: string;
  /** Of names for writing. */
  readonly token: string | undefined;
}

const keyword = 'logstreams';
/** Names with these are of blobs, whatever else they hold: an instance, or metadata at the end. */
const wordsOfBlobs: ReadonlySet<string> = new Set(['blobs', 'compressed-blobs', 'uploads']);
const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * Parses `[parent/]logstreams/id[/token]`, and the id alone, which is what operations tell: clients read
 * it as it is, or put `[instance/]logstreams/` before it (LOG-11). Undefined when the name is not of a log
 * stream at all. Errors never tell the name, which may hold a token (LOG-09).
 */
export function parseLogName(name: string): LogName | undefined {
  if (uuid.test(name)) return { parent: undefined, id: name, token: undefined };
  const segments = name.split('/').filter((segment) => segment !== '');
  if (segments.some((segment) => wordsOfBlobs.has(segment))) return undefined;
  const at = segments.findIndex((segment) => segment === keyword);
  if (at < 0) return undefined;
  // Of an instance whose name has the word as well, the last one but one or two counts.
  const start = [segments.length - 2, segments.length - 3].find((index) => {
    return segments[index] === keyword;
  });
  const [id, token] = start === undefined ? [] : segments.slice(start + 1);
  if (id === undefined) {
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      'the name of a log stream is [instance/]logstreams/ID, and for writing the token after it',
    );
  }
  return { parent: segments.slice(0, start).join('/'), id, token };
}

/** The name for reading. */
export function formatLogName(parent: string, id: string): string {
  return `${parent === '' ? '' : `${parent}/`}${keyword}/${id}`;
}

/** What operations tell of a stream: the id of its name (LOG-11). */
export function idOfLogName(name: string): string {
  return name.slice(name.lastIndexOf('/') + 1);
}

/** The name to read what an operation of an instance tells: an id, or a whole name (LOG-11, RCL-08). */
export function logNameOf(instanceName: string, told: string): string {
  return told.includes('/') ? told : formatLogName(instanceName, told);
}
