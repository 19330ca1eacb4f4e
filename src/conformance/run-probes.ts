import type { Clock } from '../base/clock.ts';
import { StatusError } from '../base/status.ts';
import { Api } from './api.ts';
import { Failure, NotApplicable, textOf } from './expect.ts';
import type { Area, Probe, Tested } from './probe.ts';
import { RandomBlobs } from './random-blobs.ts';
import { fetchCapabilities } from './tested-of.ts';
import type { Wire } from './wire.ts';

/** What a probe found. */
export type Outcome =
  | { readonly kind: 'pass' }
  | { readonly kind: 'fail'; readonly expected: string; readonly seen: string }
  | { readonly kind: 'not applicable'; readonly why: string }
  /** The time was over before its turn. */
  | { readonly kind: 'not run' };

export interface Finding {
  readonly area: string;
  readonly probe: Probe;
  readonly outcome: Outcome;
}

export interface RunOptions {
  readonly tested: Tested;
  readonly wire: Wire;
  readonly seed: number;
  readonly clock: Clock;
  /** The whole run; what is left then is reported as not run. */
  readonly timeoutMs: number;
}

/** A call in sight of the server takes milliseconds; this is for one that is busy, or far away. */
const PROBE_DEADLINE_MS = 20_000;

/**
 * Runs the probes of the areas one after the other, so that what a server does can be told apart. Fails
 * when the server is gone: with what it says when it is asked for its capabilities.
 */
export async function* runProbes(
  areas: readonly Area[],
  options: RunOptions,
  signal: AbortSignal,
): AsyncGenerator<Finding> {
  const { tested, wire, seed, clock, timeoutMs } = options;
  const endAt = clock.now() + timeoutMs;
  for (const area of areas) {
    for (const probe of area.probes) {
      const random = new RandomBlobs(`${seed}/${area.name}/${probe.title}`);
      const { deadlineMs = PROBE_DEADLINE_MS } = area;
      const leftMs = Math.min(endAt - clock.now(), deadlineMs);
      const why = [...area.needs, ...(probe.needs ?? [])].map((need) => need(tested)).find(Boolean);
      let outcome: Outcome;
      if (why !== undefined) outcome = { kind: 'not applicable', why };
      else if (leftMs <= 0) outcome = { kind: 'not run' };
      else {
        const run = (probing: AbortSignal) => probe.run(new Api(tested, wire, random, probing));
        outcome = await outcomeOf(run, leftMs, clock, signal);
        if (outcome.kind === 'fail') await fetchCapabilities(wire, tested.instanceName, signal);
      }
      yield { area: area.name, probe, outcome };
    }
  }
}

async function outcomeOf(
  run: (signal: AbortSignal) => Promise<void>,
  deadlineMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<Outcome> {
  signal.throwIfAborted();
  const ended = new AbortController();
  const over = new AbortController();
  const waiting = clock
    .sleep(deadlineMs, AbortSignal.any([signal, ended.signal]))
    .then(() => over.abort(new Failure('an answer', `none within ${deadlineMs / 1000} s`)))
    .catch(() => {});
  try {
    await run(AbortSignal.any([signal, over.signal]));
    return { kind: 'pass' };
  } catch (thrown) {
    signal.throwIfAborted();
    return outcomeOfError(over.signal.aborted ? over.signal.reason : thrown);
  } finally {
    ended.abort();
    await waiting;
  }
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
