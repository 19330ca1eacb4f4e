import { hash } from 'node:crypto';
import { open, readdir, readFile, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Log } from '../base/log.ts';
import { makeFolder } from '../base/make-folder.ts';
import { HeldLease } from '../proto/expbuild/worker/v1/worker.ts';

export interface OutboxOptions {
  /** Belongs to the outbox alone. */
  readonly folder: string;
  readonly log: Log;
  /** Results kept at most; one more is not kept. */
  readonly entriesMax: number;
  /** The same in bytes, all together. */
  readonly bytesMax: number;
}

export const defaultOutboxOptions = {
  // A scheduler lets as many pile up as a worker has slots, of which it allows 4096.
  entriesMax: 4_096,
  // All of them go into one message, of which a server takes 32 MiB.
  bytesMax: 16 * 2 ** 20,
} as const satisfies Partial<OutboxOptions>;

const checksumBytes = 32;

/**
 * Finished leases in files, one each, until the scheduler no longer wants them: a worker that is killed
 * brings them when it is started again (SC-01). A file that is torn or changed is a result lost, which
 * costs another run and never a wrong result.
 */
export class Outbox {
  /** What an earlier process left. */
  readonly left: readonly HeldLease[];
  readonly #options: OutboxOptions;
  readonly #sizes: Map<string, number>;
  #bytes = 0;

  private constructor(
    options: OutboxOptions,
    left: ReadonlyMap<string, { readonly result: HeldLease; readonly sizeBytes: number }>,
  ) {
    this.#options = options;
    this.left = [...left.values()].map(({ result }) => result);
    this.#sizes = new Map([...left].map(([name, { sizeBytes }]) => [name, sizeBytes]));
    for (const sizeBytes of this.#sizes.values()) this.#bytes += sizeBytes;
  }

  /** Removes what cannot be read or is too much, with a warning. */
  static async open(options: OutboxOptions): Promise<Outbox> {
    const { folder, log, entriesMax, bytesMax } = options;
    makeFolder(folder, 0o700);
    const left = new Map<string, { result: HeldLease; sizeBytes: number }>();
    let bytes = 0;
    for (const name of await readdir(folder)) {
      const file = path.join(folder, name);
      try {
        const { size } = await stat(file);
        if (left.size >= entriesMax || bytes + size > bytesMax)
          throw new Error('the outbox is full');
        left.set(name, { result: decoded(await readFile(file)), sizeBytes: size });
        bytes += size;
      } catch (error) {
        log.warn('a result of an earlier start is lost', { file, error: String(error) });
        await rm(file, { recursive: true, force: true });
      }
    }
    if (left.size > 0) log.info('results of an earlier start are there', { results: left.size });
    return new Outbox(options, left);
  }

  /** When it settles, a crash does not lose the result. One that cannot be kept is only warned of. */
  async put(result: HeldLease): Promise<void> {
    const { log, entriesMax, bytesMax } = this.#options;
    const bytes = encoded(result);
    const name = nameOf(result.leaseId);
    if (this.#sizes.size >= entriesMax || this.#bytes + bytes.length > bytesMax) {
      log.warn('the outbox is full: a crash now would lose a result', { lease: result.leaseId });
      return;
    }
    this.#sizes.set(name, bytes.length);
    this.#bytes += bytes.length;
    try {
      await writeThrough(this.#fileOf(name), bytes);
    } catch (error) {
      const fields = { lease: result.leaseId, error: String(error) };
      log.warn('a result cannot be kept: a crash now would lose it', fields);
      await this.remove(result.leaseId);
    }
  }

  /** Whether the next process will have the result. */
  keeps(leaseId: string): boolean {
    return this.#sizes.has(nameOf(leaseId));
  }

  /** Nothing happens when it is not there. */
  async remove(leaseId: string): Promise<void> {
    const name = nameOf(leaseId);
    const sizeBytes = this.#sizes.get(name);
    if (sizeBytes === undefined) return;
    this.#sizes.delete(name);
    this.#bytes -= sizeBytes;
    const file = this.#fileOf(name);
    // What stays is brought once more, and not wanted.
    await rm(file, { force: true }).catch((error: unknown) =>
      this.#options.log.warn('a result cannot be removed', { file, error: String(error) }),
    );
  }

  #fileOf(name: string): string {
    return path.join(this.#options.folder, name);
  }
}

/** Of any text that a scheduler may think of. */
function nameOf(leaseId: string): string {
  return hash('sha256', leaseId);
}

async function writeThrough(file: string, bytes: Uint8Array): Promise<void> {
  const handle = await open(file, 'w', 0o600);
  try {
    await handle.writeFile(bytes);
    // On the file systems of Linux, this settles the name of a new file too.
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function encoded(result: HeldLease): Uint8Array {
  const message = HeldLease.encode(result).finish();
  return Buffer.concat([hash('sha256', message, 'buffer'), message]);
}

function decoded(bytes: Buffer): HeldLease {
  const message = bytes.subarray(checksumBytes);
  if (!hash('sha256', message, 'buffer').equals(bytes.subarray(0, checksumBytes))) {
    throw new Error('the file is torn or was changed');
  }
  return HeldLease.decode(message);
}
