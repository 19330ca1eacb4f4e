import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { collect } from '../../src/base/chunks.ts';
import { Code } from '../../src/base/status.ts';
import { FilesystemBlobs } from '../../src/cas/filesystem-blobs.ts';
import { blobIndexMigrations } from '../../src/cas/sqlite-blob-index.ts';
import { namespaceFolder, storedBlob } from '../../src/cas/stored-blob.ts';
import { openDatabase } from '../../src/sqlite/open-database.ts';
import { type Blob, blobOf } from '../support/blob-of.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { blockBlobs, writeAll } from '../support/filesystem-blobs.ts';
import { inReverse } from '../support/in-reverse.ts';
import { keepLines } from '../support/keep-lines.ts';
import { never } from '../support/never.ts';
import { tempDir } from '../support/temp-dir.ts';

const intervalMs = 600_000;

interface Options {
  readonly root?: string;
  readonly sizeBytesMax?: number;
}

/** A store, and the time in which its blobs are verified. */
async function openStore(context: TestContext, { root, sizeBytesMax = 2 ** 30 }: Options = {}) {
  const t = inReverse(context);
  const folder = root ?? tempDir(t);
  const clock = new FakeClock();
  const { log, lines } = keepLines();
  const options = { root: folder, sizeBytesMax, durability: 'normal' } as const;
  const blobs = await FilesystemBlobs.open(options, clock, log);
  t.after(() => blobs.close());
  const store = blobs.namespace('');
  const fileOf = ({ digest }: Blob) =>
    path.join(folder, 'blobs-v1', storedBlob(namespaceFolder(''), digest).path);
  return {
    root: folder,
    clock,
    lines,
    blobs,
    store,
    fileOf,
    damaged: () => blobs.stats().corruptBlobs,
    /** Flips the last bit on the disk. */
    damage: (blob: Blob) => {
      const file = fileOf(blob);
      chmodSync(file, 0o644);
      const bytes = readFileSync(file);
      bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
      writeFileSync(file, bytes);
    },
    /** Begins to verify; `pass` lets so much time pass while nothing else waits for the clock. */
    verify: (everyMs: number) => {
      const stopping = new AbortController();
      const ended = blobs.verify(everyMs, stopping.signal);
      ended.catch(() => {});
      t.after(() => stopping.abort());
      const asleep = () => Promise.race([clock.asleep(1), ended]);
      return {
        pass: async (ms: number, stepMs = 100) => {
          for (let passedMs = 0; passedMs < ms; passedMs += stepMs) {
            await asleep();
            clock.advance(stepMs);
          }
          await asleep();
        },
        stop: async () => {
          stopping.abort(new Error('the server stops'));
          await assert.rejects(ended, /the server stops/);
        },
      };
    },
  };
}

const digests = (blobs: readonly Blob[]) => blobs.map(({ digest }) => digest);

test('CI-06: reads every blob once in the interval, at an even pace, and finds what nobody reads', async (t) => {
  const { store, blobs, damage, damaged, verify, lines, root } = await openStore(t);
  const all = blockBlobs(50);
  await writeAll(store, all);
  for (const blob of all) damage(blob);
  const { pass } = verify(intervalMs);
  await pass(intervalMs / 2);
  assert.ok(damaged() >= 25 && damaged() <= 30, `${damaged()} of 50 in half of the time`);
  await pass(intervalMs / 2);
  assert.equal(damaged(), 50);
  assert.equal(blobs.stats().blobs, 0);
  assert.deepEqual(await store.findMissing(digests(all), never), digests(all));
  const told = lines.filter(({ level }) => level === 'error');
  const [first] = told;
  assert.equal(told.length, 50);
  assert.equal(told.at(-1)?.damagedBlobs, 50);
  assert.match(String(first?.digest), /^SHA256\/[0-9a-f]{64}\/4096$/);
  assert.ok(String(first?.path).startsWith(`${root}/blobs-v1/`));
  assert.ok(String(first?.movedTo).startsWith(`${root}/quarantine/`));
});

test('CI-06: begins again when it is through, and leaves good blobs alone', async (t) => {
  const { store, damage, damaged, verify, lines } = await openStore(t);
  const all = [...blockBlobs(9), blobOf(Buffer.alloc(3_000_000, 'x')), blobOf('tiny')];
  await writeAll(store, all);
  const { pass } = verify(intervalMs);
  await pass(intervalMs);
  assert.equal(damaged(), 0);
  const [line] = lines;
  assert.deepEqual([line?.message, line?.read, line?.damaged], ['verified all blobs', 11, 0]);
  const [first, ...others] = all as [Blob, ...Blob[]];
  damage(first);
  await pass(intervalMs);
  assert.equal(damaged(), 1);
  assert.deepEqual(await store.findMissing(digests(all), never), [first.digest]);
  for (const { digest, bytes } of others) {
    assert.ok(Buffer.from(bytes).equals(await collect(store.read(digest, 0, never))));
  }
});

for (const [fault, harm] of [
  ['is gone', (file) => rmSync(file)],
  ['is a byte short', (file) => truncateSync(file, 4095)],
  ['is a byte long', (file) => writeFileSync(file, 'x', { flag: 'a' })],
  [
    'is a folder',
    (file) => {
      rmSync(file);
      mkdirSync(file);
    },
  ],
] as readonly (readonly [string, (file: string) => void])[]) {
  test(`CI-06: finds a blob whose file ${fault}`, async (t) => {
    const { store, fileOf, blobs, damaged, verify } = await openStore(t);
    const [blob] = blockBlobs(1) as [Blob];
    await writeAll(store, [blob]);
    chmodSync(fileOf(blob), 0o644);
    harm(fileOf(blob));
    await verify(intervalMs).pass(1000);
    assert.equal(damaged(), 1);
    assert.equal(blobs.stats().blobs, 0);
    assert.ok(!existsSync(fileOf(blob)));
  });
}

test('goes on after a restart where it was', async (t) => {
  const all = blockBlobs(40);
  const first = await openStore(t);
  await writeAll(first.store, all);
  const { pass, stop } = first.verify(intervalMs);
  await pass(intervalMs / 2);
  await stop();
  await first.blobs.close();
  const second = await openStore(t, { root: first.root });
  for (const blob of all) second.damage(blob);
  // Of a pass as long as before, the second half.
  await second.verify(intervalMs).pass(intervalMs / 3);
  const missing = await second.store.findMissing(digests(all), never);
  const byName = digests(all).toSorted((a, b) => (a.hash < b.hash ? -1 : 1));
  assert.ok(missing.length >= 13 && missing.length <= 18, `${missing.length}`);
  assert.ok(!byName.slice(0, 20).some((digest) => missing.includes(digest)));
});

test('reads no more than 16 MiB a second, however short the interval', async (t) => {
  const { store, damage, damaged, clock, verify } = await openStore(t);
  const blob = blobOf(Buffer.alloc(8 * 2 ** 20));
  await writeAll(store, [blob]);
  damage(blob);
  const startAt = clock.now();
  const { pass } = verify(1);
  while (damaged() === 0) await pass(5, 5);
  assert.ok(clock.now() - startAt >= 500, `${clock.now() - startAt} ms`);
});

test('reads no more than 100 blobs a second, however short the interval', async (t) => {
  const { store, damage, damaged, verify } = await openStore(t);
  const all = blockBlobs(30);
  await writeAll(store, all);
  for (const blob of all) damage(blob);
  await verify(1).pass(200, 1);
  assert.ok(damaged() >= 10 && damaged() <= 21, `${damaged()}`);
});

test('waits for the first blobs of a store', async (t) => {
  const { store, damage, damaged, verify } = await openStore(t);
  const { pass } = verify(intervalMs);
  await pass(intervalMs);
  const [blob] = blockBlobs(1) as [Blob];
  await writeAll(store, [blob]);
  damage(blob);
  await pass(intervalMs);
  assert.equal(damaged(), 1);
});

test('is no use of a blob, and keeps none from eviction', async (t) => {
  const sizeBytesMax = 4 * 2 ** 20 + 2 * 4096;
  const { store, verify, fileOf, damaged } = await openStore(t, { sizeBytesMax });
  const oldest = blobOf(Buffer.alloc(4 * 2 ** 20));
  const others = blockBlobs(2);
  await writeAll(store, [oldest, ...others]);
  const { pass } = verify(60_000);
  await pass(120_000);
  await writeAll(store, [blobOf('one more')]);
  assert.deepEqual(await store.findMissing(digests([oldest, ...others]), never), [oldest.digest]);
  assert.ok(!existsSync(fileOf(oldest)));
  await pass(60_000);
  assert.equal(damaged(), 0);
});

test('a blob that was put away and uploaded again while it was verified stays', async (t) => {
  const { store, damage, damaged, verify } = await openStore(t);
  const blob = blobOf(Buffer.alloc(3 * 2 ** 20));
  await writeAll(store, [blob]);
  damage(blob);
  const { pass } = verify(intervalMs);
  // It has read a third and waits.
  await pass(10, 10);
  await assert.rejects(collect(store.read(blob.digest, 0, never)), { code: Code.INTERNAL });
  await writeAll(store, [blob]);
  await pass(1000, 10);
  assert.equal(damaged(), 1);
  assert.ok(Buffer.from(blob.bytes).equals(await collect(store.read(blob.digest, 0, never))));
});

test('a blob that cannot be opened is told of, and does not hold up the others', async (t) => {
  if (process.getuid?.() === 0) return t.skip('root may open everything');
  const { store, fileOf, damage, damaged, lines, verify } = await openStore(t);
  const all = blockBlobs(2).toSorted((a, b) => (a.digest.hash < b.digest.hash ? -1 : 1));
  const [closed, other] = all as [Blob, Blob];
  await writeAll(store, all);
  chmodSync(fileOf(closed), 0);
  damage(other);
  await verify(intervalMs).pass(intervalMs);
  assert.match(JSON.stringify(lines), /could not be verified.*EACCES/);
  assert.equal(damaged(), 1);
  assert.deepEqual(await store.findMissing(digests(all), never), [other.digest]);
});

test('goes on where its place cannot be kept, as on a full disk', async (t) => {
  const { root, store, damage, damaged, lines, verify } = await openStore(t);
  const all = blockBlobs(5);
  await writeAll(store, all);
  const db = openDatabase(path.join(root, 'index.db'), blobIndexMigrations, {
    synchronous: 'NORMAL',
  });
  const { pass } = verify(intervalMs);
  db.exec('drop table verified');
  db.close();
  await pass(intervalMs);
  assert.match(JSON.stringify(lines), /up to where blobs were verified could not be kept/);
  for (const blob of all) damage(blob);
  await pass(intervalMs);
  assert.equal(damaged(), all.length);
});
