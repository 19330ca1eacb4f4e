export interface WireOptions {
  readonly signal: AbortSignal;
  /** Told to the server; the call fails with DEADLINE_EXCEEDED when it is over. */
  readonly deadlineMs?: number;
  /** Text, or bytes under a name that ends in `-bin`. */
  readonly headers?: Readonly<Record<string, string | Buffer>>;
}

/**
 * One call of any kind, as bytes: every request as a message of its own, and the messages of the answer
 * as they come. Nothing is repeated, checked or added. Fails with a StatusError unless the status is OK.
 */
export type Wire = (
  path: string,
  requests: AsyncIterable<Uint8Array>,
  options: WireOptions,
) => AsyncIterable<Uint8Array>;
