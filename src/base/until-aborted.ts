import type { Chunks } from './chunks.ts';

/**
 * What `promise` comes to, unless one of the signals aborts first: then it fails with that one's
 * reason. It leaves nothing behind at a signal that lives on, and at the promise no more than until that settles.
 */
export function orAborted<T>(promise: Promise<T>, ...signals: readonly AbortSignal[]): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const onAbort = () => {
      for (const signal of signals) signal.removeEventListener('abort', onAbort);
      const aborted = signals.find((signal) => signal.aborted);
      if (aborted) reject(aborted.reason as Error);
    };
    for (const signal of signals) signal.addEventListener('abort', onAbort);
    promise.then(resolve, reject).finally(onAbort);
    if (signals.some((signal) => signal.aborted)) onAbort();
  });
}

/**
 * `chunks` until one of the signals aborts, which fails the wait for the next chunk with its reason
 * even when the source never answers. A source left early is told so.
 */
export async function* untilAborted(chunks: Chunks, ...signals: readonly AbortSignal[]): Chunks {
  for (const signal of signals) signal.throwIfAborted();
  const iterator = chunks[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await orAborted(iterator.next(), ...signals);
      if (next.done) return;
      yield next.value;
    }
  } finally {
    // Not awaited: a source that hangs in next() would hang here too.
    iterator.return?.().catch(() => {});
  }
}
