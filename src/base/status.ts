/** The status codes of gRPC and google.rpc.Code, by name (ERR-06). */
export const Code = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;
export type Code = (typeof Code)[keyof typeof Code];

/** A message packed as google.protobuf.Any: what a status carries beside its text. */
export interface StatusDetail {
  readonly typeUrl: string;
  readonly value: Uint8Array;
}

export interface StatusErrorOptions extends ErrorOptions {
  readonly details?: readonly StatusDetail[];
}

/** The error that crosses a room's door: a code, what happened, and to what. */
export class StatusError extends Error {
  override readonly name = 'StatusError';
  readonly code: Code;
  readonly details: readonly StatusDetail[];

  constructor(code: Code, message: string, options: StatusErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? [];
  }

  /** Any thrown value as a StatusError; a cause without a code of its own is INTERNAL. */
  static from(thrown: unknown): StatusError {
    if (thrown instanceof StatusError) return thrown;
    if (!(thrown instanceof Error)) return new StatusError(Code.INTERNAL, String(thrown));
    if (thrown.name === 'AbortError') {
      return new StatusError(Code.CANCELLED, thrown.message, { cause: thrown });
    }
    if (thrown.name === 'TimeoutError') {
      return new StatusError(Code.DEADLINE_EXCEEDED, thrown.message, { cause: thrown });
    }
    const code = codeOfSystemError(thrown) ?? Code.INTERNAL;
    return new StatusError(code, thrown.message, { cause: thrown });
  }

  /** Says where it happened without changing what happened. */
  static during(context: string, thrown: unknown): StatusError {
    const status = StatusError.from(thrown);
    return new StatusError(status.code, `${context}: ${status.message}`, {
      cause: thrown,
      details: status.details,
    });
  }
}

/** A disk, inode or quota that ran out may have room later: clients retry RESOURCE_EXHAUSTED. */
function codeOfSystemError(error: Error): Code | undefined {
  const { code } = error as NodeJS.ErrnoException;
  if (
    code === 'ENOSPC' ||
    code === 'EDQUOT' ||
    code === 'SQLITE_FULL' ||
    code === 'EMFILE' ||
    code === 'ENFILE'
  ) {
    return Code.RESOURCE_EXHAUSTED;
  }
  return undefined;
}
