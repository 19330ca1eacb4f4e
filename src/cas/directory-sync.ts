import { closeSync, fsync, openSync } from 'node:fs';
import { promisify } from 'node:util';

const sync = promisify(fsync);

interface Syncs {
  /** Has begun: it may have missed what changed since. */
  running: Promise<void>;
  /** Has not begun: whoever changes the directory now can wait for it. */
  next: Promise<void> | undefined;
}

/** Makes the entries of directories durable; callers of one directory share an fsync. */
export class DirectorySync {
  readonly #directories = new Map<string, Syncs>();

  /** Resolves once every change made to `directory` before the call is on the disk. */
  sync(directory: string): Promise<void> {
    const syncs = this.#directories.get(directory);
    if (!syncs) return this.#start(directory);
    syncs.next ??= syncs.running.then(
      () => this.#start(directory),
      () => this.#start(directory),
    );
    return syncs.next;
  }

  #start(directory: string): Promise<void> {
    const syncs: Syncs = { running: syncOnce(directory), next: undefined };
    this.#directories.set(directory, syncs);
    const ended = () => {
      if (!syncs.next) this.#directories.delete(directory);
    };
    syncs.running.then(ended, ended);
    return syncs.running;
  }
}

async function syncOnce(directory: string): Promise<void> {
  const fd = openSync(directory, 'r');
  try {
    await sync(fd);
  } finally {
    closeSync(fd);
  }
}
