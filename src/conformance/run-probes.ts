import type { Clock } from '../base/clock.ts';
import { Code, StatusError } from '../base/status.ts';
import { Api } from './api.ts';
import type { Area, Probe, Tested } from './probe.ts';
import { RandomBlobs } from './random-blobs.ts';
import { type Outcome, runProbe } from './run-probe.ts';
import { fetchCapabilities } from './tested-of.ts';
import type { Wire } from './wire.ts';

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
const SILENCE_MS_MAX = 20_000;

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
    const { name, silenceMs = SILENCE_MS_MAX } = area;
    const outcomeOf = (title: string, run: Probe['run']) => {
      const attempt = (nth: number, heard: Wire, probing: AbortSignal) => {
        const random = new RandomBlobs(`${seed}/${name}/${title}${nth > 1 ? `/${nth}` : ''}`);
        return run(new Api(tested, heard, random, probing));
      };
      return runProbe(attempt, wire, { silenceMs, endAt }, clock, signal);
    };
    let ready: Outcome | undefined;
    for (const probe of area.probes) {
      const why = [...area.needs, ...(probe.needs ?? [])].map((need) => need(tested)).find(Boolean);
      let outcome: Outcome;
      if (why !== undefined) outcome = { kind: 'not applicable', why };
      else {
        if (area.prepare) ready ??= await outcomeOf('', area.prepare);
        outcome =
          ready?.kind === 'not applicable' ? ready : await outcomeOf(probe.title, probe.run);
        if (outcome.kind === 'fail') await expectServer(options, signal);
      }
      yield { area: name, probe, outcome };
    }
  }
}

/** A connection that breaks comes back within this many tries, a second apart; a dead server does not. */
const CONNECTS_MAX = 5;

async function expectServer(
  { tested, wire, clock }: RunOptions,
  signal: AbortSignal,
): Promise<void> {
  for (let left = CONNECTS_MAX - 1; ; left--) {
    try {
      await fetchCapabilities(wire, tested.instanceName, signal);
      return;
    } catch (thrown) {
      if (left === 0 || StatusError.from(thrown).code !== Code.UNAVAILABLE) throw thrown;
    }
    await clock.sleep(1000, signal);
  }
}
