import type { Clock } from '../base/clock.ts';
import { Code, StatusError } from '../base/status.ts';
import { Failure, NotApplicable, textOf } from './expect.ts';
import type { Wire } from './wire.ts';

/** What a probe found. */
export type Outcome =
  | { readonly kind: 'pass' }
  | { readonly kind: 'fail'; readonly expected: string; readonly seen: string }
  | { readonly kind: 'not applicable'; readonly why: string }
  /** The time was over before its turn, or before its end: nothing is known of the server. */
  | { readonly kind: 'not run' };

export interface ProbeLimits {
  /** How long the server may be silent while it is asked; a slow network is no fault of a server. */
  readonly silenceMs: number;
  /** When the whole run is over. */
  readonly endAt: number;
}

/** A probe makes some dozens of calls one after the other; a server that drips answers ends here. */
const PROBE_MS_MAX = 120_000;

/** ERR-01: UNAVAILABLE, which broken connections come as too, says that a client should try again. */
const ATTEMPTS_MAX = 2;

/** Runs one probe; `run` does what it does once more when the server was unavailable for a moment. */
export async function runProbe(
  run: (attempt: number, wire: Wire, signal: AbortSignal) => Promise<void>,
  wire: Wire,
  limits: ProbeLimits,
  clock: Clock,
  signal: AbortSignal,
): Promise<Outcome> {
  for (let attempt = 1; ; attempt++) {
    if (clock.now() >= limits.endAt) return { kind: 'not run' };
    const thrown = await errorOf((...heard) => run(attempt, ...heard), wire, limits, clock, signal);
    if (thrown === undefined) return { kind: 'pass' };
    if (thrown === CUT_SHORT) return { kind: 'not run' };
    if (attempt === ATTEMPTS_MAX || !isUnavailable(thrown)) return outcomeOfError(thrown);
  }
}

const CUT_SHORT = Symbol('the run is over');

/** What an attempt fails with; undefined when it does not. */
async function errorOf(
  run: (wire: Wire, signal: AbortSignal) => Promise<void>,
  wire: Wire,
  { silenceMs, endAt }: ProbeLimits,
  clock: Clock,
  signal: AbortSignal,
): Promise<unknown> {
  signal.throwIfAborted();
  const startedAt = clock.now();
  let heardAt = startedAt;
  const ended = new AbortController();
  const over = new AbortController();
  const watch = async () => {
    const watched = AbortSignal.any([signal, ended.signal]);
    for (;;) {
      const dueAt = Math.min(heardAt + silenceMs, startedAt + PROBE_MS_MAX, endAt);
      const leftMs = dueAt - clock.now();
      if (leftMs <= 0) break;
      await clock.sleep(leftMs, watched);
    }
    const now = clock.now();
    const sinceMs = now >= heardAt + silenceMs ? silenceMs : PROBE_MS_MAX;
    over.abort(
      now >= endAt ? CUT_SHORT : new Failure('an answer', `none within ${sinceMs / 1000} s`),
    );
  };
  const watching = watch().catch(() => {});
  const heard = hearing(wire, () => (heardAt = clock.now()));
  try {
    await run(heard, AbortSignal.any([signal, over.signal]));
    return undefined;
  } catch (thrown) {
    signal.throwIfAborted();
    const { aborted, reason } = over.signal;
    if (reason === CUT_SHORT) return reason;
    return aborted && !(thrown instanceof NotApplicable) ? reason : thrown;
  } finally {
    ended.abort();
    await watching;
  }
}

/** The same calls; each message of them, either way, is heard. */
function hearing(wire: Wire, hear: () => void): Wire {
  const each = async function* (messages: AsyncIterable<Uint8Array>) {
    hear();
    for await (const message of messages) {
      hear();
      yield message;
    }
    hear();
  };
  return (path, requests, options) => each(wire(path, each(requests), options));
}

function isUnavailable(thrown: unknown): boolean {
  const status = thrown instanceof Failure ? thrown.cause : thrown;
  return status instanceof StatusError && status.code === Code.UNAVAILABLE;
}

function outcomeOfError(thrown: unknown): Outcome {
  if (thrown instanceof NotApplicable) return { kind: 'not applicable', why: thrown.message };
  if (thrown instanceof Failure) {
    return { kind: 'fail', expected: thrown.expected, seen: thrown.seen };
  }
  if (!(thrown instanceof StatusError)) {
    // What a probe made of an answer that no server gave so far.
    return { kind: 'fail', expected: 'an answer that can be understood', seen: String(thrown) };
  }
  return { kind: 'fail', expected: 'a call that succeeds', seen: textOf(thrown) };
}
