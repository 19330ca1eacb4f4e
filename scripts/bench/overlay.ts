// Times what an overlay would cost an action in place of directories that are kept (decisions/0009): mounting
// and unmounting it, and looking at all files through it.
//
//   node scripts/bench/overlay.ts [--rounds 5] [--files 20000] [--folder /tmp]
//
// Needs root. Prints medians in milliseconds.
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs, promisify } from 'node:util';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    files: { type: 'string', default: '20000' },
    folder: { type: 'string', default: tmpdir() },
  },
});
const run = promisify(execFile);
const filesPerFolder = 50;
const folder = await mkdtemp(path.join(values.folder, 'expbuild-overlay-'));
const at = (name: string) => path.join(folder, name);

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

/** As a compiler does that reads its inputs. */
const read = (place: string) =>
  run('sh', ['-c', 'find "$0" -type f -exec cat {} + > /dev/null', place]);

for (let first = 0; first < Number(values.files); first += filesPerFolder) {
  const place = at(`lower/part_${first % 20}/package_${first}`);
  await mkdir(place, { recursive: true });
  for (let n = 0; n < filesPerFolder; n++) {
    await writeFile(path.join(place, `file_${n}.h`), `file ${first + n}\n`.repeat(180));
  }
}
for (const name of ['upper', 'work', 'root']) await mkdir(at(name));
const options = `lowerdir=${at('lower')},upperdir=${at('upper')},workdir=${at('work')}`;
const rows: number[][] = [];
for (let round = 0; round <= Number(values.rounds); round++) {
  const plain = await timed(() => read(at('lower')));
  const mounted = await timed(() =>
    run('mount', ['-t', 'overlay', 'none', '-o', options, at('root')]),
  );
  const through = await timed(() => read(at('root')));
  const moved = await rename(at('root/part_0'), at('root/moved')).then(
    () => 'works',
    (error: unknown) => (error as NodeJS.ErrnoException).code,
  );
  const unmounted = await timed(() => run('umount', [at('root')]));
  if (round === 0) console.log(`rename of a directory below: ${moved}`);
  else rows.push([mounted, unmounted, plain, through]);
  for (const name of ['upper', 'work']) {
    await rm(at(name), { recursive: true });
    await mkdir(at(name));
  }
}
const median = (column: number) =>
  rows.map((row) => row[column] ?? 0).toSorted((a, b) => a - b)[Math.floor(rows.length / 2)] ?? 0;
console.log('mounted  unmounted  read as it is  read through it   (ms)');
console.log([0, 1, 2, 3].map((column) => median(column).toFixed(1).padStart(10)).join(' '));
await rm(folder, { recursive: true });
