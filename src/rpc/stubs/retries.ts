import type { Clock } from '../../base/clock.ts';
import type { Random } from '../../base/random.ts';
import { Code, StatusError } from '../../base/status.ts';
import { RetryInfo } from '../../proto/google/rpc/error_details.ts';

export interface RetryOptions {
  /** How often something is tried in a row without any progress. */
  readonly attemptsMax: number;
  /** The bound of the first pause; it doubles with each attempt. */
  readonly firstDelayMs: number;
  readonly delayMsMax: number;
  /** A server that asks for a longer pause than this is told to the caller instead. */
  readonly askedDelayMsMax: number;
}

/** As Bazel does it: 5 attempts, 100 ms to 5 s (ERR-01). */
export const defaultRetryOptions: RetryOptions = {
  attemptsMax: 5,
  firstDelayMs: 100,
  delayMsMax: 5000,
  askedDelayMsMax: 60_000,
};

export interface RetryPolicy extends RetryOptions {
  readonly clock: Clock;
  readonly random: Random;
}

/** The pauses between the attempts at one thing. */
export class Backoff {
  readonly #policy: RetryPolicy;
  #attempts = 1;

  constructor(policy: RetryPolicy) {
    this.#policy = policy;
  }

  /**
   * Waits until the next attempt is due, a random part of the bound so that clients do not come back all
   * at once, and at least as long as the server asks (CLI-12). Throws the error again when it was the
   * last attempt.
   */
  async pause(error: StatusError, signal: AbortSignal): Promise<void> {
    const { attemptsMax, firstDelayMs, delayMsMax, askedDelayMsMax, random, clock } = this.#policy;
    const askedMs = askedDelayMsOf(error) ?? 0;
    if (signal.aborted || this.#attempts >= attemptsMax || askedMs > askedDelayMsMax) throw error;
    const boundMs = Math.min(delayMsMax, firstDelayMs * 2 ** (this.#attempts - 1));
    this.#attempts += 1;
    await clock.sleep(askedMs + random() * boundMs, signal);
  }

  /** Something was achieved: what fails next counts from the start. */
  reset(): void {
    this.#attempts = 1;
  }
}

/** Calls `attempt` until it succeeds, fails for good, or has failed too often. */
export async function withRetries<T>(
  policy: RetryPolicy,
  attempt: () => Promise<T>,
  signal: AbortSignal,
  mayRetry: (error: StatusError) => boolean = isTransient,
): Promise<T> {
  const backoff = new Backoff(policy);
  for (;;) {
    try {
      return await attempt();
    } catch (thrown) {
      const error = StatusError.from(thrown);
      if (!mayRetry(error)) throw error;
      await backoff.pause(error, signal);
    }
  }
}

/** Whether the same call may do better later: UNAVAILABLE, or the server says when (GEN-06, ERR-01). */
export function isTransient(error: StatusError): boolean {
  return error.code === Code.UNAVAILABLE || askedDelayMsOf(error) !== undefined;
}

/**
 * Whether a stream that stays open for as long as an action runs broke on the way, rather than failed: a
 * reset by a proxy comes as INTERNAL, UNKNOWN or CANCELLED.
 */
export function isBreak(error: StatusError): boolean {
  const { INTERNAL, UNKNOWN, CANCELLED } = Code;
  return isTransient(error) || [INTERNAL, UNKNOWN, CANCELLED].some((code) => code === error.code);
}

function askedDelayMsOf(error: StatusError): number | undefined {
  const detail = error.details.find(({ typeUrl }) => typeUrl.endsWith('/google.rpc.RetryInfo'));
  if (!detail) return undefined;
  try {
    const { retryDelay } = RetryInfo.decode(detail.value);
    return retryDelay && Math.max(0, retryDelay.seconds * 1000 + retryDelay.nanos / 1e6);
  } catch {
    return undefined; // Advice that cannot be read is no advice.
  }
}
