/**
 * Calls `work` once for each item, at most `atOnceMax` calls at a time. The first failure, or
 * `signal`, starts no more and aborts the signal that `work` is given; settles when no call is left.
 */
export async function concurrently<T>(
  items: Iterable<T>,
  atOnceMax: number,
  work: (item: T, signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const iterator = items[Symbol.iterator]();
  // Items may be made on the way: one that cannot be is a failure as that of its work.
  const take = (): IteratorResult<T, undefined> => {
    try {
      return iterator.next();
    } catch (thrown) {
      failed.abort(thrown);
      return { done: true, value: undefined };
    }
  };
  const lane = async (first: T) => {
    await work(first, either);
    while (!either.aborted) {
      const next = take();
      if (next.done) return;
      await work(next.value, either);
    }
  };
  const lanes: Promise<void>[] = [];
  while (lanes.length < atOnceMax && !either.aborted) {
    const first = take();
    if (first.done) break;
    lanes.push(lane(first.value).catch((thrown: unknown) => failed.abort(thrown)));
  }
  await Promise.all(lanes);
  failed.signal.throwIfAborted();
  signal.throwIfAborted();
}
