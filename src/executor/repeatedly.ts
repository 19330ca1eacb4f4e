import { slept, systemClock } from '../base/clock.ts';

/** The kernel ends what got SIGKILL at once, unless it waits for a broken disk. */
export const killWaitMs = 5_000;

/** Tries until it works, for as long as the kernel may take; false when it did not. */
export async function repeatedly(attempt: () => boolean): Promise<boolean> {
  const endAt = performance.now() + killWaitMs;
  for (let ms = 1; !attempt(); ms = Math.min(2 * ms, 100)) {
    if (performance.now() > endAt) return false;
    await passed(ms, new AbortController().signal);
  }
  return true;
}

/** Waits; false when `signal` aborts first. */
export function passed(ms: number, signal: AbortSignal): Promise<boolean> {
  return slept(ms, systemClock, signal);
}
