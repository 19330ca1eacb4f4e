import type { Clock } from './clock.ts';

/**
 * Does `work`, whose signal aborts when `signal` does, and with the reason `late()` when `ms` milliseconds have
 * passed. It settles when `work` does, which has to heed its signal.
 */
export async function withDeadline<T>(
  ms: number,
  late: () => Error,
  work: (signal: AbortSignal) => Promise<T>,
  clock: Clock,
  signal: AbortSignal,
): Promise<T> {
  const expired = new AbortController();
  const settled = new AbortController();
  clock.sleep(ms, settled.signal).then(
    () => expired.abort(late()),
    () => {},
  );
  try {
    return await work(AbortSignal.any([signal, expired.signal]));
  } finally {
    settled.abort();
  }
}
