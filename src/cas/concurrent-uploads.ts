/** The uploads under way, by blob, so that the first to complete a blob ends the others (BS-39). */
export class ConcurrentUploads {
  readonly #uploads = new Map<string, Set<AbortController>>();

  begin(key: string): Upload {
    const completed = new AbortController();
    const uploads = this.#uploads.get(key) ?? new Set();
    this.#uploads.set(key, uploads.add(completed));
    return {
      completed: completed.signal,
      complete: () => {
        for (const upload of uploads) if (upload !== completed) upload.abort();
      },
      end: () => {
        uploads.delete(completed);
        if (uploads.size === 0) this.#uploads.delete(key);
      },
    };
  }
}

interface Upload {
  /** Aborted once another upload of the blob is complete: what comes then is not needed. */
  readonly completed: AbortSignal;
  /** Says that the blob is there. */
  complete(): void;
  /** Call it however the upload ends. */
  end(): void;
}
