import assert from 'node:assert/strict';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { type Chunks, chunksOf } from '../../src/base/chunks.ts';
import { newId } from '../../src/base/id.ts';
import { createLog } from '../../src/base/log.ts';
import { Code } from '../../src/base/status.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import type { Digest } from '../../src/digest/digest.ts';
import { inputTime } from '../../src/base/input-time.ts';
import { FileCache } from '../../src/worker/file-cache.ts';
import { blobOf } from '../support/blob-of.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { never } from '../support/never.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Counts reads, and holds them back while its gate is shut. */
class GatedBlobStore extends PlainBlobStore {
  readonly reads: string[] = [];
  readonly aborted: string[] = [];
  readonly started = Promise.withResolvers<void>();
  gate = Promise.resolve();

  override async *read(digest: Digest, offset: number, signal?: AbortSignal): Chunks {
    this.reads.push(digest.hash);
    signal?.addEventListener('abort', () => this.aborted.push(digest.hash));
    this.started.resolve();
    await this.gate;
    signal?.throwIfAborted();
    yield* super.read(digest, offset);
  }
}

const hashes = (digests: readonly Digest[]) => digests.map(({ hash }) => hash).toSorted();

async function bench(t: TestContext, bytesMax = 1_000_000, filesMax?: number) {
  const folder = path.join(tempDir(t), 'files');
  const lines: string[] = [];
  const log = createLog({
    level: 'warn',
    format: 'text',
    write: (line) => lines.push(line),
    now: () => 0,
  });
  const open = () => FileCache.open(folder, { bytesMax, filesMax, newId, log });
  const store = new GatedBlobStore();
  const file = async (content: string, isExecutable = false) => ({
    digest: await store.put(content, sha256),
    isExecutable,
  });
  return { folder, open, store, file, lines, cache: await open() };
}

/** Changes a file that nobody may write but root, whoever runs the test. */
function changeAnyway(place: string, change: (place: string) => void): void {
  chmodSync(place, 0o644);
  change(place);
  chmodSync(place, 0o444);
}

describe('a file cache', () => {
  it('WRK-04: gives files that nobody may write, and executables of their own', async (t) => {
    const { cache, store, file } = await bench(t);
    const [plain, program] = [await file('a'), await file('a', true)];
    const held = await cache.hold([plain, program], store, never);
    const [one, two] = [held.pathOf(plain), held.pathOf(program)];
    assert.equal(readFileSync(one, 'utf8') + readFileSync(two, 'utf8'), 'aa');
    assert.deepEqual([statSync(one).mode & 0o777, statSync(two).mode & 0o777], [0o444, 0o555]);
    assert.notEqual(statSync(one).ino, statSync(two).ino);
    assert.equal(statSync(one).mtime.toISOString(), '2000-01-01T00:00:00.000Z');
    held.release();
  });

  it('DIR-17: fetches a blob once, also when several want it at the same time', async (t) => {
    const { cache, store, file } = await bench(t);
    const wanted = [await file('a'), await file('a'), await file('b')];
    const holds = await Promise.all([
      cache.hold(wanted, store, never),
      cache.hold(wanted, store, never),
    ]);
    await cache.hold(wanted, store, never);
    assert.equal(store.reads.length, 2);
    for (const held of holds) held.release();
  });

  it('keeps a download going for who still wants it when another gives up', async (t) => {
    const { cache, store, file } = await bench(t);
    const wanted = [await file('a')];
    const gate = Promise.withResolvers<void>();
    store.gate = gate.promise;
    const stop = new AbortController();
    const first = cache.hold(wanted, store, stop.signal);
    const second = cache.hold(wanted, store, never);
    await store.started.promise;
    stop.abort();
    await assert.rejects(first, { name: 'AbortError' });
    gate.resolve();
    assert.equal(readFileSync((await second).pathOf(wanted[0] as never), 'utf8'), 'a');
    assert.equal(store.reads.length, 1);
  });

  it('stops a download that nobody wants any more, and starts it again', async (t) => {
    const { cache, store, file } = await bench(t);
    const wanted = [await file('a')];
    const gate = Promise.withResolvers<void>();
    store.gate = gate.promise;
    const stop = new AbortController();
    const first = cache.hold(wanted, store, stop.signal);
    await store.started.promise;
    stop.abort();
    await assert.rejects(first, { name: 'AbortError' });
    assert.equal(store.aborted.length, 1);
    const second = cache.hold(wanted, store, never);
    gate.resolve();
    (await second).release();
    assert.equal(store.reads.length, 2);
  });

  it('tells every blob that the store lacks', async (t) => {
    const { cache, store, file } = await bench(t);
    const lost = ['x', 'y'].map((content) => ({
      digest: blobOf(content).digest,
      isExecutable: false,
    }));
    const held = await cache.hold([...lost, await file('a')], store, never);
    assert.deepEqual(hashes(held.missing), hashes(lost.map(({ digest }) => digest)));
    held.release();
    await store.put('x', sha256);
    assert.deepEqual((await cache.hold(lost, store, never)).missing.length, 1);
  });

  it('WRK-05: keeps nothing of a blob that arrives with other bytes', async (t) => {
    const { cache, store, folder } = await bench(t);
    const { digest } = blobOf('right');
    store.blobs.set(digest.key, Buffer.from('wrong'));
    const wanted = [{ digest, isExecutable: false }];
    await assert.rejects(cache.hold(wanted, store, never), { code: Code.INTERNAL });
    assert.equal(cache.diskBytes, 0);
    assert.deepEqual(readdirSync(path.join(folder, 'tmp')), []);
    await store.write(digest, chunksOf(Buffer.from('right')));
    assert.deepEqual((await cache.hold(wanted, store, never)).missing, []);
  });

  it('keeps to its size in whole blocks: what was used last stays, and what is in use', async (t) => {
    const { cache, store, file } = await bench(t, 3 * 4096);
    const [a, b, c, d] = [
      await file('aaaa'),
      await file('bbbb'),
      await file('cccc'),
      await file('d'),
    ];
    const heldA = await cache.hold([a], store, never);
    for (const one of [b, c, b, d]) (await cache.hold([one], store, never)).release();
    assert.equal(cache.diskBytes, 3 * 4096);
    assert.ok(existsSync(heldA.pathOf(a)) && existsSync(heldA.pathOf(b)));
    assert.ok(!existsSync(heldA.pathOf(c)));
    heldA.release();
    assert.equal(store.reads.length, 4);
  });

  it('keeps to its number of files, whatever their sizes', async (t) => {
    const { cache, store, file } = await bench(t, 1_000_000, 2);
    const files = [await file('a'), await file('b'), await file('c')];
    const held = await cache.hold(files, store, never);
    const places = files.map((one) => held.pathOf(one));
    assert.ok(places.every((place) => existsSync(place)));
    held.release();
    assert.deepEqual(
      places.map((place) => existsSync(place)),
      [false, true, true],
    );
  });

  it('CC-20: survives a restart, and trusts no file that was changed meanwhile', async (t) => {
    const { cache, open, store, file, folder } = await bench(t);
    const [good, bad, open0] = [await file('good'), await file('bad'), await file('mode')];
    const held = await cache.hold([good, bad, open0], store, never);
    chmodSync(held.pathOf(bad), 0o644);
    writeFileSync(held.pathOf(bad), 'BAD');
    chmodSync(held.pathOf(bad), 0o444);
    chmodSync(held.pathOf(open0), 0o666);
    writeFileSync(path.join(folder, 'tmp', 'half'), 'h');
    const again = await open();
    assert.equal(again.diskBytes, 3 * 4096);
    const [before] = [store.reads.length];
    const heldAgain = await again.hold([good, bad, open0], store, never);
    assert.deepEqual(
      store.reads.slice(before).toSorted(),
      [bad.digest.hash, open0.digest.hash].toSorted(),
    );
    assert.equal(readFileSync(heldAgain.pathOf(bad), 'utf8'), 'bad');
    assert.ok(!existsSync(path.join(folder, 'tmp', 'half')));
  });

  it('CC-20: what a crash left half-filled, or nothing made here, is thrown away with a warning', async (t) => {
    const { cache, open, store, file, folder, lines } = await bench(t);
    const [short, empty, other] = [await file('short'), await file('empty'), await file('other')];
    const held = await cache.hold([short, empty, other], store, never);
    changeAnyway(held.pathOf(short), (place) => truncateSync(place, 2));
    changeAnyway(held.pathOf(empty), (place) => truncateSync(place, 0));
    rmSync(held.pathOf(other));
    mkdirSync(path.join(held.pathOf(other), 'inside'), { recursive: true });
    mkdirSync(path.join(folder, '00', 'strange'));
    const again = await open();
    assert.ok(!existsSync(path.join(folder, '00', 'strange')));
    const heldAgain = await again.hold([short, empty, other], store, never);
    const contents = [short, empty, other].map((one) =>
      readFileSync(heldAgain.pathOf(one), 'utf8'),
    );
    assert.deepEqual(contents, ['short', 'empty', 'other']);
    assert.equal(lines.length, 3);
    assert.match(lines.join(), new RegExp(`WARN.*input cache.*digest=${short.digest}`));
    assert.match(lines.join(), new RegExp(`path=${heldAgain.pathOf(short)}`));
  });

  const later = new Date('2001-01-01');
  for (const [how, change] of [
    ['written to', (place: string) => changeAnyway(place, () => appendFileSync(place, 'x'))],
    ['cut', (place: string) => changeAnyway(place, () => truncateSync(place, 1))],
    ['of another mode', (place: string) => chmodSync(place, 0o644)],
    ['of another time', (place: string) => utimesSync(place, later, later)],
    ['removed', (place: string) => rmSync(place)],
    [
      'replaced by a file that looks the same',
      (place: string) => {
        writeFileSync(`${place}~`, 'bad', { mode: 0o444 });
        utimesSync(`${place}~`, inputTime, inputTime);
        renameSync(`${place}~`, place);
      },
    ],
  ] as const) {
    for (const isLinked of [true, false]) {
      it(`WK-06: a file that is ${how} is thrown away with a warning${isLinked ? ', linked' : ''}`, async (t) => {
        const { cache, store, file, lines, folder } = await bench(t);
        const input = await file('abc');
        const held = await cache.hold([input], store, never);
        if (isLinked) await held.link(input, path.join(folder, 'link'));
        held.release();
        change(held.pathOf(input));
        const again = await cache.hold([input], store, never);
        assert.equal(readFileSync(again.pathOf(input), 'utf8'), 'abc');
        assert.equal(statSync(again.pathOf(input)).mode & 0o777, 0o444);
        assert.equal(lines.length, 1);
        assert.match(lines[0] ?? '', new RegExp(`WARN.*${input.digest}.*${again.pathOf(input)}`));
        (await cache.hold([input], store, never)).release();
        assert.equal(lines.length, 1);
      });
    }
  }

  it('WK-06: a file that was never linked is not trusted when its bytes change and its time does not', async (t) => {
    const { cache, store, file, lines } = await bench(t);
    const input = await file('abc');
    const held = await cache.hold([input], store, never);
    changeAnyway(held.pathOf(input), (place) => writeFileSync(place, 'ABC'));
    utimesSync(held.pathOf(input), inputTime, inputTime);
    const again = await cache.hold([input], store, never);
    assert.equal(readFileSync(again.pathOf(input), 'utf8'), 'abc');
    assert.equal(lines.length, 1);
  });
});
