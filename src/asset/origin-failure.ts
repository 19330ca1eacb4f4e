import { Code } from '../base/status.ts';

/**
 * What went wrong at an origin, or that it may not be asked: told in the response, while the call itself
 * is OK (AST-08). Trouble of this server is a StatusError.
 */
export class OriginFailure extends Error {
  override readonly name = 'OriginFailure';
  readonly code: Code;

  constructor(code: Code, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** A URL for messages and logs, without what may be secret in it: user, password and query. */
export function shown(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`.slice(0, SHOWN_CHARACTERS_MAX);
}

/** Longer paths are cut: scheme and host stand in front. */
const SHOWN_CHARACTERS_MAX = 300;

/** A host that does not answer may do so later; one that no DNS knows does not exist. */
export function connectionFailure(url: URL, thrown: unknown): OriginFailure {
  const { code, message } = thrown as NodeJS.ErrnoException;
  const unknownHost = code === 'ENOTFOUND' || code === 'ENODATA';
  return new OriginFailure(
    unknownHost ? Code.NOT_FOUND : Code.UNAVAILABLE,
    `${shown(url)} cannot be fetched: ${unknownHost ? 'its host is not known' : message}`,
    { cause: thrown },
  );
}
