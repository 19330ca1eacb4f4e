import type { Clock } from '../base/clock.ts';
import { LruCache } from '../base/lru-cache.ts';
import { quoted } from '../base/quoted.ts';
import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { Digest } from '../digest/digest.ts';
import { DirectoryCache } from '../tree/directory-cache.ts';
import type { Extent } from '../tree/expanded-tree.ts';
import { resolveInRoot } from '../tree/output-path.ts';
import { findDirectory, type WalkedTree, walkDirectories } from '../tree/walk-directories.ts';
import type { ExecutionOptions } from './execution-options.ts';

/** A directory all of whose inputs were there, and how long that is taken to hold. */
interface Trusted {
  readonly extent: Extent;
  readonly untilAt: number;
}

/** An entry with its key and its place in the map. */
const TRUSTED_ENTRY_BYTES = 400;
/** A hundred thousand directories; more are looked at again. */
const TRUSTED_SIZE_BYTES = 40_000_000;

/** Looks at the input trees of actions before they are queued. */
export class InputCheck {
  readonly #options: ExecutionOptions;
  readonly #clock: Clock;
  readonly #directories: DirectoryCache;
  readonly #trusted = new LruCache<Trusted>(TRUSTED_SIZE_BYTES);

  constructor(options: ExecutionOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
    this.#directories = new DirectoryCache(options.directoryCacheSizeBytes);
  }

  /**
   * The blobs of an instance's input tree that are missing, all of them that can be known (EXE-53); those
   * that are there count as used. Parts of the tree that were whole a moment ago are not asked for
   * again. Fails with INVALID_ARGUMENT when the tree is malformed, too large, or has symlinks that are
   * not allowed (DIR-14).
   */
  async findMissing(
    root: Digest,
    instanceName: string,
    blobs: BlobStore,
    signal: AbortSignal,
  ): Promise<readonly Digest[]> {
    const now = this.#clock.now();
    let untilAt = now + this.#options.inputsTrustedMs;
    const keyOf = (directoryKey: string) => `${instanceName}\0${directoryKey}`;
    const findKnown = (digest: Digest) => {
      const trusted = this.#trusted.find(keyOf(digest.key));
      if (!trusted || trusted.untilAt <= now) return undefined;
      // What holds a part may be trusted no longer than the part.
      untilAt = Math.min(untilAt, trusted.untilAt);
      return trusted.extent;
    };
    const walk = { limits: this.#options.treeLimits, cache: this.#directories, findKnown };
    const tree = await walkDirectories(root, blobs, walk, signal);
    if (this.#options.absoluteSymlinks === 'disallowed') refuseAbsoluteSymlinks(tree);
    const found = tree.directories.values().map(({ digest }) => digest);
    const missing = await blobs.findMissing([...found, ...tree.files.values()], signal);
    if (missing.length > 0 || tree.missing.length > 0) return [...tree.missing, ...missing];
    for (const key of tree.directories.keys()) {
      const extent = tree.extents.get(key);
      if (extent) this.#trusted.set(keyOf(key), { extent, untilAt }, TRUSTED_ENTRY_BYTES);
    }
    return [];
  }

  /**
   * Fails with INVALID_ARGUMENT unless the input tree, whose blobs are all there, has a directory at
   * `path` (ACT-23). Symlinks are refused with everything else that is no directory (ACT-24).
   */
  async requireDirectory(
    root: Digest,
    path: string,
    blobs: BlobStore,
    signal: AbortSignal,
  ): Promise<void> {
    let at: Digest | undefined = root;
    for (const segment of (resolveInRoot('', path) ?? '..').split('/')) {
      if (segment === '' || !at) continue;
      const parsed: WalkedDirectory =
        this.#directories.find(at) ?? (await findDirectory(at, blobs, signal))?.parsed;
      at = parsed?.directories.find(({ name }) => name === segment)?.digest;
    }
    if (at) return;
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `the working directory ${quoted(path)} is no directory of the input root ${root}`,
    );
  }
}

type WalkedDirectory = ReturnType<DirectoryCache['find']>;

function refuseAbsoluteSymlinks({ directories }: WalkedTree): void {
  for (const { digest, parsed } of directories.values()) {
    const absolute = parsed.symlinks.find(({ target }) => target.startsWith('/'));
    if (!absolute) continue;
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `symlink ${quoted(absolute.name)} in directory ${digest} has an absolute target, which is not ` +
        'allowed here',
    );
  }
}
