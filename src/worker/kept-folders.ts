import { lstatSync, renameSync, utimesSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../base/clock.ts';
import type { NewId } from '../base/id.ts';
import type { Log } from '../base/log.ts';
import type { Digest } from '../digest/digest.ts';
import type { FolderUse, InputFolders, TakenFolder } from '../tree/input-folders.ts';
import { changeIn, findChange, stampOf, type WrittenFolder } from '../tree/written-folder.ts';
import { removeFolder, takeOver } from './remove-folder.ts';

export interface KeptFoldersOptions {
  /** Files, directories and symlinks that are kept; some 100 bytes of memory each. */
  readonly entriesMax: number;
  /** Bytes of their files, as if none were shared with the file cache. */
  readonly bytesMax: number;
  readonly clock: Clock;
  readonly newId: NewId;
  readonly log: Log;
}

/** What one action left in one piece, which falls apart as parts of it are taken. */
interface Tree {
  readonly path: string;
  /** That can be taken. */
  readonly listed: Set<Kept>;
  /** How many parts are being looked at, to be taken. */
  taking: number;
  entries: number;
  bytes: number;
}

interface Kept {
  readonly key: string;
  readonly path: string;
  readonly written: WrittenFolder;
  readonly tree: Tree;
  readonly above: Kept | undefined;
  readonly below: Kept[];
}

/** Fewer are made as fast as they are moved. */
const entriesMin = 4;
/** The slowest clock that is worth waiting for ticks each 10 ms. */
const ticksMax = 30;
/** Some milliseconds, between which others have their turn. */
const looksAtOnce = 256;

/**
 * Directories of input roots that actions left just as they were, for those that come next: renaming one
 * takes the place of making all that is in it. A directory counts as unchanged when no stamp in it is other
 * than when it was written: the kernel sets it at each change, and no command can. What is not so goes
 * with its action. Only whole directories are kept, and only for commands of the same user.
 */
export class KeptFolders implements InputFolders {
  readonly #folder: string;
  readonly #options: KeptFoldersOptions;
  readonly #byKey = new Map<string, Set<Kept>>();
  /** The oldest first. */
  readonly #trees = new Set<Tree>();
  #entries = 0;
  #bytes = 0;

  private constructor(folder: string, options: KeptFoldersOptions) {
    this.#folder = folder;
    this.#options = options;
  }

  /** Removes what an earlier process kept: nobody watched over it. `folder` is on the disk of the actions. */
  static async open(folder: string, options: KeptFoldersOptions): Promise<KeptFolders> {
    await removeFolder(folder);
    await mkdir(folder, { mode: 0o700 });
    const kept = new KeptFolders(folder, options);
    await writeFile(kept.#tick, '');
    return kept;
  }

  /** How many files, directories and symlinks there are. */
  get entries(): number {
    return this.#entries;
  }

  async take(digest: Digest, use: FolderUse): Promise<TakenFolder | undefined> {
    const kept = this.#byKey.get(keyOf(digest, use))?.values().next().value;
    if (!kept) return undefined;
    const { written, tree } = kept;
    // Before anybody else can.
    for (let above: Kept | undefined = kept; above; above = above.above) this.#unlist(above);
    for (const below of allBelow(kept)) this.#unlist(below);
    this.#count(tree, -written.entries, -written.bytes);
    tree.taking++;
    const change = await findChange(kept.path, written).finally(() => {
      tree.taking--;
    });
    // It may have made room for others meanwhile.
    if (!this.#trees.has(tree)) return undefined;
    if (change !== undefined) {
      const fields = { digest: String(digest), path: change };
      this.#options.log.warn('inputs that were kept were changed and are thrown away', fields);
      return undefined;
    }
    const place = this.#newPlace();
    // At once: the tree cannot go on the way.
    renameSync(kept.path, place);
    written.stamp = stampOf(place);
    return { path: place, written };
  }

  putBack({ path: place, written }: TakenFolder, use: FolderUse): void {
    const tree: Tree = { path: place, listed: new Set(), taking: 0, entries: 0, bytes: 0 };
    this.#trees.add(tree);
    this.#count(tree, written.entries, written.bytes);
    const all: Kept[] = [];
    const open = [{ at: place, folder: written, above: undefined as Kept | undefined }];
    for (let next = open.pop(); next; next = open.pop()) {
      const { at, folder, above } = next;
      const key = keyOf(folder.digest, use);
      const kept: Kept = { key, path: at, written: folder, tree, above, below: [] };
      above?.below.push(kept);
      all.push(kept);
      for (const [index, below] of folder.folders.entries()) {
        if (below.entries < entriesMin) continue;
        const name = folder.parsed.directories[index]?.name ?? '';
        open.push({ at: `${at}/${name}`, folder: below, above: kept });
      }
    }
    for (const kept of all) this.#list(kept);
  }

  async ticked(latestMs: number, signal: AbortSignal): Promise<boolean> {
    for (let tick = 0; tick < ticksMax; tick++) {
      utimesSync(this.#tick, 0, 0);
      if (lstatSync(this.#tick).ctimeMs > latestMs) return true;
      await this.#options.clock.sleep(1, signal);
    }
    return false;
  }

  /**
   * Keeps what is unchanged of an input root at `place` once nothing can change it any more, and removes what
   * makes too much with it; the rest of the input root stays where it is.
   */
  async keep(written: WrittenFolder, place: string, use: FolderUse): Promise<void> {
    for (const piece of await unchangedPieces(written, place)) {
      const { entries, bytes } = piece.written;
      const { entriesMax, bytesMax } = this.#options;
      if (entries < entriesMin || entries > entriesMax || bytes > bytesMax) continue;
      const kept = this.#newPlace();
      try {
        renameSync(piece.path, kept);
      } catch {
        // Its own mode is in the way.
        continue;
      }
      piece.written.stamp = stampOf(kept);
      this.putBack({ path: kept, written: piece.written }, use);
    }
    for (const tree of this.#trees) {
      const isFull =
        this.#entries > this.#options.entriesMax || this.#bytes > this.#options.bytesMax;
      if (isFull || (tree.listed.size === 0 && tree.taking === 0)) await this.#remove(tree);
    }
  }

  async #remove(tree: Tree): Promise<void> {
    this.#count(tree, -tree.entries, -tree.bytes);
    this.#trees.delete(tree);
    for (const kept of tree.listed) this.#unlist(kept);
    await removeFolder(tree.path);
  }

  #list(kept: Kept): void {
    kept.tree.listed.add(kept);
    const same = this.#byKey.get(kept.key);
    if (same) same.add(kept);
    else this.#byKey.set(kept.key, new Set([kept]));
  }

  #unlist(kept: Kept): void {
    kept.tree.listed.delete(kept);
    const same = this.#byKey.get(kept.key);
    same?.delete(kept);
    if (same?.size === 0) this.#byKey.delete(kept.key);
  }

  #count(tree: Tree, entries: number, bytes: number): void {
    tree.entries += entries;
    tree.bytes += bytes;
    this.#entries += entries;
    this.#bytes += bytes;
  }

  get #tick(): string {
    return path.join(this.#folder, 'tick');
  }

  #newPlace(): string {
    return path.join(this.#folder, this.#options.newId());
  }
}

interface Looked extends TakenFolder {
  readonly above: Looked | undefined;
}

/** The largest directories that are whole, as far as their stamps tell. What is above them is nobody's to change any more. */
async function unchangedPieces(root: WrittenFolder, place: string): Promise<TakenFolder[]> {
  const all: Looked[] = [{ path: place, written: root, above: undefined }];
  for (const above of all) {
    const { path: at, written } = above;
    for (const [index, below] of written.folders.entries()) {
      const name = written.parsed.directories[index]?.name ?? '';
      all.push({ path: `${at}/${name}`, written: below, above });
    }
  }
  const whole = new Set<WrittenFolder>();
  let looks = 0;
  for (const { path: at, written } of all.toReversed()) {
    if (hasOwnProperties(written)) continue;
    if (!written.folders.every((below) => whole.has(below))) continue;
    // Shared files are looked at before they are used again.
    if (changeIn(at, written, 'trust') === undefined) whole.add(written);
    looks += 1 + written.changesAtMs.length;
    if (looks < looksAtOnce) continue;
    looks = 0;
    await setImmediate();
  }
  return isolated(all, whole);
}

/**
 * What has a mode of its own may not let its entries go. A file that has is its command's, which may have given
 * one of another user what it takes to write to it later.
 */
function hasOwnProperties({ parsed }: WrittenFolder): boolean {
  return [parsed, ...parsed.files].some(({ properties }) => properties !== undefined);
}

/**
 * Those that are whole and in nothing whole. Commands of other users may have got the rights to move what is in the
 * folders above: from now on they cannot, and what they moved before is left out.
 */
function isolated(all: readonly Looked[], whole: ReadonlySet<WrittenFolder>): TakenFolder[] {
  const found: TakenFolder[] = [];
  const safe = new Set<Looked | undefined>([undefined]);
  for (const one of all) {
    if (!safe.has(one.above)) continue;
    const { dev, ino } = one.written.stamp;
    const now = lstatSync(one.path, { throwIfNoEntry: false });
    if (now?.dev !== dev || now.ino !== ino) continue;
    if (whole.has(one.written)) found.push(one);
    else if (isTakenOver(one.path)) safe.add(one);
  }
  return found;
}

function isTakenOver(folder: string): boolean {
  if (process.getuid?.() !== 0) return true;
  try {
    takeOver(folder);
    return true;
  } catch {
    return false;
  }
}

function keyOf(digest: Digest, { owner, hardLinks }: FolderUse): string {
  return `${digest.key} ${owner?.uid ?? ''} ${owner?.gid ?? ''} ${hardLinks ? 'links' : 'copies'}`;
}

function* allBelow(kept: Kept): Generator<Kept> {
  const open = [...kept.below];
  for (let next = open.pop(); next; next = open.pop()) {
    yield next;
    open.push(...next.below);
  }
}
