import type { Chunks } from '../base/chunks.ts';

/**
 * `chunks` until one of the signals aborts, which fails the wait for the next chunk with its reason
 * even when the source never answers. A source left early is told so.
 */
export async function* untilAborted(chunks: Chunks, ...signals: readonly AbortSignal[]): Chunks {
  const iterator = chunks[Symbol.asyncIterator]();
  // Not Promise.race: it would keep every chunk for as long as the signal lives.
  let rejectPending: ((reason: unknown) => void) | undefined;
  let ended = false;
  const onAbort = (event: Event) => rejectPending?.((event.target as AbortSignal).reason);
  for (const signal of signals) signal.addEventListener('abort', onAbort);
  try {
    for (;;) {
      for (const signal of signals) signal.throwIfAborted();
      const next = await new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
        rejectPending = reject;
        iterator.next().then(resolve, reject);
      });
      rejectPending = undefined;
      if (next.done) {
        ended = true;
        return;
      }
      yield next.value;
    }
  } finally {
    for (const signal of signals) signal.removeEventListener('abort', onAbort);
    // Not awaited: a source that hangs in next() would hang here too.
    if (!ended) iterator.return?.().catch(() => {});
  }
}
