// Times putting an input root of 20,000 files on the disk, and taking it away again, with directories that
// are kept between actions and without.
//
//   node scripts/bench/input-roots.ts [--rounds 5] [--files 20000] [--folder /tmp]
//
// Prints medians in milliseconds. Blobs come from memory. With hard links, folders are given to the user of
// a slot if this is root, as the worker does.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { systemClock } from '../../src/base/clock.ts';
import { newId } from '../../src/base/id.ts';
import { silentLog } from '../../src/base/log.ts';
import type { Digest } from '../../src/digest/digest.ts';
import { DirectoryCache } from '../../src/tree/directory-cache.ts';
import { fetchInputRoot } from '../../src/tree/fetch-input-root.ts';
import type { FolderUse } from '../../src/tree/input-folders.ts';
import { defaultTreeLimits } from '../../src/tree/walk-directories.ts';
import { FileCache } from '../../src/worker/file-cache.ts';
import { KeptFolders } from '../../src/worker/kept-folders.ts';
import { removeFolder } from '../../src/worker/remove-folder.ts';
import { dir, putTree } from '../../test/support/input-tree.ts';
import { PlainBlobStore } from '../../test/support/memory-blob-store.ts';

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    files: { type: 'string', default: '20000' },
    folder: { type: 'string', default: tmpdir() },
  },
});
const rounds = Number(options.rounds);
const filesPerFolder = 50;
const foldersPerFolder = 20;
const never = new AbortController().signal;
const slotUser = process.getuid?.() === 0 ? { uid: 64_000, gid: 64_000 } : undefined;

/** Files of about 2 KiB, 50 to a folder, 20 folders to each folder above; one file has another `text`. */
function treeOf(files: number, text: string) {
  const folder = (first: number) =>
    dir(
      Object.fromEntries(
        Array.from({ length: filesPerFolder }, (_, n) => {
          const content = first + n === files / 2 ? text : `file ${first + n}\n`.repeat(180);
          return [`file_${n}.h`, content];
        }),
      ),
    );
  const above = (first: number) =>
    dir(
      Object.fromEntries(
        Array.from({ length: foldersPerFolder }, (_, n) => [
          `package_${n}`,
          folder(first + n * filesPerFolder),
        ]),
      ),
    );
  const step = filesPerFolder * foldersPerFolder;
  const tops = Array.from(
    { length: files / step },
    (_, n) => [`part_${n}`, above(n * step)] as const,
  );
  return dir({ ...Object.fromEntries(tops), bin: dir({}) });
}

async function round(
  kind: FolderUse,
  keeps: boolean,
  store: PlainBlobStore,
  roots: readonly Digest[],
): Promise<number[]> {
  const folder = await mkdtemp(path.join(options.folder, 'expbuild-inputs-'));
  try {
    const cache = { bytesMax: 2 ** 40, newId, log: silentLog };
    const files = await FileCache.open(path.join(folder, 'cache'), cache);
    const limits = {
      entriesMax: 400_000,
      bytesMax: 2 ** 40,
      clock: systemClock,
      newId,
      log: silentLog,
    };
    const folders = keeps ? await KeptFolders.open(path.join(folder, 'kept'), limits) : undefined;
    const directories = new DirectoryCache(2 ** 26);
    const fetching = { files, folders, directories, limits: defaultTreeLimits, ...kind };
    const taken: number[] = [];
    for (const [index, root] of roots.entries()) {
      const place = path.join(folder, `action-${index}`);
      const startedAt = performance.now();
      const written = await fetchInputRoot(root, place, store, fetching, never);
      const fetchedAt = performance.now();
      if (written) await folders?.keep(written, place, kind);
      await removeFolder(place);
      taken.push(fetchedAt - startedAt, performance.now() - fetchedAt);
    }
    return taken;
  } finally {
    await rm(folder, { recursive: true });
  }
}

const store = new PlainBlobStore();
const first = await putTree(store, treeOf(Number(options.files), 'as it was'));
const changed = await putTree(store, treeOf(Number(options.files), 'another text'));
const kinds = [
  ['hard links', { owner: slotUser, hardLinks: true }],
  ['copies', { owner: undefined, hardLinks: false }],
] as const;
console.log('                     first  gone   same  gone   one changed  gone   (ms)');
for (const [name, kind] of kinds) {
  for (const keeps of [false, true]) {
    const all: number[][] = [];
    // The first does not count. Three trees: from nothing, the same again, with one file changed.
    for (let n = 0; n <= rounds; n++)
      all.push(await round(kind, keeps, store, [first, first, changed]));
    const median = (column: number) =>
      all
        .slice(1)
        .map((row) => row[column] ?? 0)
        .toSorted((a, b) => a - b)[Math.floor(rounds / 2)] ?? 0;
    const [a, b, c, d, e, f] = [0, 1, 2, 3, 4, 5].map((column) =>
      median(column).toFixed(0).padStart(5),
    );
    console.log(
      `${`${name}${keeps ? ', kept' : ''}`.padEnd(20)} ${a} ${b}  ${c} ${d}        ${e} ${f}`,
    );
  }
}
