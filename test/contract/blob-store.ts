import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { type Chunks, chunksOf, collect } from '../../src/base/chunks.ts';
import { Code } from '../../src/base/status.ts';
import type { BlobStore } from '../../src/cas/blob-store.ts';
import type { DigestFunction } from '../../src/digest/digest-function.ts';
import { sha1, sha256 } from '../../src/digest/digest-functions.ts';
import { Digest } from '../../src/digest/digest.ts';
import { blobOf } from '../support/blob-of.ts';
import { never } from '../support/never.ts';
import { randomBytes } from '../support/seeded-random.ts';
import { endless, hanging, piecesOf } from '../support/sources.ts';

const hello = blobOf('hello');

/**
 * What every BlobStore promises, whatever it is made of. `make` gives an empty store with room for
 * 64 MiB, of which the functions SHA256 and SHA1 are used.
 */
export function blobStoreContract(
  name: string,
  make: (t: TestContext) => BlobStore | Promise<BlobStore>,
  options: ContractOptions = { endsEarly: true },
): void {
  describe(`${name} as a BlobStore`, () => {
    describe('writing', () => writing(make));
    describe('finding', () => finding(make));
    describe('reading', () => reading(make));
    describe('streams and aborts', () => streams(make));
    if (options.endsEarly) describe('early ends', () => earlyEnds(make));
  });
}

export interface ContractOptions {
  /** Whether a write also ends when the blob turns out to be there while the source is silent. */
  readonly endsEarly: boolean;
}

type Make = Parameters<typeof blobStoreContract>[1];

function writing(make: Make): void {
  for (const [flaw, text] of [
    ['other bytes', 'hellO'],
    ['too few bytes', 'hell'],
    ['no bytes', ''],
    ['too many bytes', 'hello!'],
  ] as const) {
    it(`DIG-20: keeps nothing of an upload with ${flaw}`, async (t) => {
      const store = await make(t);
      await assert.rejects(store.write(hello.digest, chunksOf(Buffer.from(text)), never), {
        code: Code.INVALID_ARGUMENT,
      });
      assert.deepEqual(await store.findMissing([hello.digest], never), [hello.digest]);
      await assert.rejects(readAll(store, hello.digest), { code: Code.NOT_FOUND });
    });
  }

  it('CI-02, BS-36: refuses an endless upload as soon as there are too many bytes', async (t) => {
    const store = await make(t);
    const { digest } = blobOf(Buffer.alloc(2500));
    await assert.rejects(store.write(digest, endless(), never), { code: Code.INVALID_ARGUMENT });
  });

  it('takes a blob whose refused upload came before', async (t) => {
    const store = await make(t);
    await assert.rejects(store.write(hello.digest, chunksOf(Buffer.from('hullo')), never));
    await store.write(hello.digest, chunksOf(hello.bytes), never);
    assert.equal(String(await readAll(store, hello.digest)), 'hello');
  });

  it('takes a blob that is there already, once more', async (t) => {
    const store = await make(t);
    await store.write(hello.digest, chunksOf(hello.bytes), never);
    await store.write(hello.digest, chunksOf(hello.bytes), never);
    assert.equal(String(await readAll(store, hello.digest)), 'hello');
  });

  it('takes chunks of any size, empty ones too', async (t) => {
    const store = await make(t);
    const pieces = piecesOf('', 'he', '', '', 'l', 'lo', '');
    await store.write(hello.digest, pieces, never);
    assert.equal(String(await readAll(store, hello.digest)), 'hello');
  });

  it('CAS-63: lets many writers of one blob succeed together', async (t) => {
    const store = await make(t);
    const blob = blobOf(randomBytes(3_000_000, 1));
    const slow = () => inChunks(blob.bytes, 100_000, setImmediate);
    await Promise.all(Array.from({ length: 20 }, () => store.write(blob.digest, slow(), never)));
    assert.deepEqual(await store.findMissing([blob.digest], never), []);
    assert.ok(blob.digest.equals(await digestOfRead(store, blob.digest)));
  });

  it('CI-12: sorts good from bad among concurrent uploads of one blob', async (t) => {
    const store = await make(t);
    const blob = blobOf(randomBytes(500_000, 2));
    const bad = Buffer.from(blob.bytes);
    bad[400_000] = (bad[400_000] ?? 0) ^ 1;
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, (_, n) =>
        store.write(blob.digest, inChunks(n % 2 === 0 ? blob.bytes : bad, 65_536), never),
      ),
    );
    // A bad one may end early with success: the blob is there then, as it should be.
    assert.ok(results.every(({ status }, n) => n % 2 === 1 || status === 'fulfilled'));
    assert.ok(blob.digest.equals(await digestOfRead(store, blob.digest)));
  });

  it('CAS-07: shows a blob to every call after its write', async (t) => {
    const store = await make(t);
    for (let n = 0; n < 100; n++) {
      const blob = blobOf(`blob ${n}`);
      await store.write(blob.digest, chunksOf(blob.bytes), never);
      assert.deepEqual(await store.findMissing([blob.digest], never), []);
    }
  });
}

function finding(make: Make): void {
  it('CAS-05: finds nothing missing among no digests', async (t) => {
    const store = await make(t);
    assert.deepEqual(await store.findMissing([], never), []);
  });

  it('CAS-01: lists those that are absent, each once, and no other', async (t) => {
    const store = await make(t);
    const present = [blobOf('a'), blobOf('b')];
    const absent = [blobOf('c'), blobOf('d'), blobOf('e')];
    for (const { digest, bytes } of present) await store.write(digest, chunksOf(bytes), never);
    const asked = [...absent, ...present, ...absent, ...present].map(({ digest }) => digest);
    const missing = await store.findMissing(asked, never);
    assert.deepEqual(
      missing.map(String).toSorted(),
      absent.map((b) => String(b.digest)).toSorted(),
    );
  });

  it('CAS-08: lists the wrong-size digest of a stored hash as missing', async (t) => {
    const store = await make(t);
    await store.write(hello.digest, chunksOf(hello.bytes), never);
    for (const sizeBytes of [4, 6]) {
      const wrong = Digest.of(sha256, hello.digest.hash, sizeBytes);
      assert.deepEqual(await store.findMissing([wrong, hello.digest], never), [wrong]);
      await assert.rejects(readAll(store, wrong), { code: Code.NOT_FOUND });
    }
  });

  it('CI-15, DIG-10: tells the same bytes under two digest functions apart', async (t) => {
    const store = await make(t);
    const other = Digest.ofBytes(sha1, hello.bytes);
    await store.write(hello.digest, chunksOf(hello.bytes), never);
    assert.deepEqual(await store.findMissing([hello.digest, other], never), [other]);
    await store.write(other, chunksOf(hello.bytes), never);
    assert.equal(String(await readAll(store, other)), 'hello');
  });

  for (const digestFunction of [sha256, sha1] as readonly DigestFunction[]) {
    it(`DIG-11: always has the empty blob of ${digestFunction.name}`, async (t) => {
      const store = await make(t);
      const empty = Digest.ofBytes(digestFunction, new Uint8Array());
      assert.deepEqual(await store.findMissing([empty], never), []);
      assert.equal((await readAll(store, empty)).length, 0);
      await store.write(empty, chunksOf(new Uint8Array()), never);
      assert.deepEqual(await store.findMissing([empty], never), []);
      await assert.rejects(readAll(store, empty, 1), { code: Code.OUT_OF_RANGE });
    });
  }

  it('CAS-06: answers for thousands of digests at once', async (t) => {
    const store = await make(t);
    const blobs = Array.from({ length: 5000 }, (_, n) => blobOf(`many ${n}`));
    const stored = blobs.filter((_, n) => n % 100 === 0);
    for (const { digest, bytes } of stored) await store.write(digest, chunksOf(bytes), never);
    const missing = await store.findMissing(
      blobs.map(({ digest }) => digest),
      never,
    );
    assert.equal(missing.length, 4950);
  });
}

function reading(make: Make): void {
  it('BS-11: fails with NOT_FOUND for a blob that is absent', async (t) => {
    const store = await make(t);
    await assert.rejects(readAll(store, hello.digest), { code: Code.NOT_FOUND });
    await assert.rejects(readAll(store, hello.digest, 5), { code: Code.NOT_FOUND });
  });

  for (const [offset, rest] of [
    [0, 'hello'],
    [2, 'llo'],
    [4, 'o'],
    [5, ''],
  ] as const) {
    it(`BS-12: reads ${JSON.stringify(rest)} from offset ${offset}`, async (t) => {
      const store = await make(t);
      await store.write(hello.digest, chunksOf(hello.bytes), never);
      assert.equal(String(await readAll(store, hello.digest, offset)), rest);
    });
  }

  for (const offset of [-1, 6]) {
    it(`BS-12: fails with OUT_OF_RANGE at offset ${offset} of 5 bytes`, async (t) => {
      const store = await make(t);
      await store.write(hello.digest, chunksOf(hello.bytes), never);
      await assert.rejects(readAll(store, hello.digest, offset), { code: Code.OUT_OF_RANGE });
    });
  }

  it('reads from any offset of a blob of many chunks', async (t) => {
    const store = await make(t);
    const blob = blobOf(randomBytes(2_500_000, 3));
    await store.write(blob.digest, inChunks(blob.bytes, 300_000), never);
    for (const offset of [1, 65_536, 2 ** 20, 2 ** 20 + 1, 2_499_999]) {
      const rest = await readAll(store, blob.digest, offset);
      assert.ok(Buffer.from(blob.bytes).subarray(offset).equals(rest), `offset ${offset}`);
    }
  });
}

function streams(make: Make): void {
  it('CAS-64: passes a blob of 8 MiB through in pieces', async (t) => {
    const store = await make(t);
    const blob = blobOf(randomBytes(8 * 2 ** 20, 4));
    await store.write(blob.digest, inChunks(blob.bytes, 100_000), never);
    let chunks = 0;
    for await (const chunk of store.read(blob.digest, 0, never)) {
      chunks++;
      assert.ok(chunk.length <= 4 * 2 ** 20);
    }
    assert.ok(chunks > 1);
    assert.ok(blob.digest.equals(await digestOfRead(store, blob.digest)));
  });

  it('keeps nothing of an upload whose source breaks', async (t) => {
    const store = await make(t);
    const blob = blobOf(randomBytes(300_000, 5));
    async function* broken(): Chunks {
      yield blob.bytes.subarray(0, 200_000);
      throw new Error('the source broke');
    }
    await assert.rejects(store.write(blob.digest, broken(), never));
    assert.deepEqual(await store.findMissing([blob.digest], never), [blob.digest]);
  });

  it('keeps nothing of an upload aborted while it waits for a source that hangs', async (t) => {
    const store = await make(t);
    const blob = blobOf(randomBytes(300_000, 6));
    const aborting = new AbortController();
    async function* stalling(): Chunks {
      yield blob.bytes.subarray(0, 100_000);
      yield blob.bytes.subarray(100_000, 200_000);
      void setImmediate().then(() => aborting.abort());
      await new Promise<never>(() => {});
    }
    await assert.rejects(store.write(blob.digest, stalling(), aborting.signal));
    assert.deepEqual(await store.findMissing([blob.digest], never), [blob.digest]);
  });

  it('starts nothing when it is aborted before', async (t) => {
    const store = await make(t);
    await assert.rejects(store.write(hello.digest, chunksOf(hello.bytes), AbortSignal.abort()));
    assert.deepEqual(await store.findMissing([hello.digest], never), [hello.digest]);
    await assert.rejects(store.findMissing([hello.digest], AbortSignal.abort()));
  });

  it('stops a read that is aborted', async (t) => {
    const store = await make(t);
    const blob = blobOf(randomBytes(16 * 2 ** 20, 7));
    await store.write(blob.digest, chunksOf(blob.bytes), never);
    const aborting = new AbortController();
    let sizeBytes = 0;
    await assert.rejects(async () => {
      for await (const chunk of store.read(blob.digest, 0, aborting.signal)) {
        sizeBytes += chunk.length;
        aborting.abort();
      }
    });
    assert.ok(sizeBytes < blob.digest.sizeBytes);
    assert.ok(blob.digest.equals(await digestOfRead(store, blob.digest)));
  });

  it('lets a reader leave early', async (t) => {
    const store = await make(t);
    const blob = blobOf(randomBytes(5_000_000, 8));
    await store.write(blob.digest, chunksOf(blob.bytes), never);
    for await (const chunk of store.read(blob.digest, 0, never)) {
      assert.ok(chunk.length > 0);
      break;
    }
    assert.ok(blob.digest.equals(await digestOfRead(store, blob.digest)));
  });
}

function earlyEnds(make: Make): void {
  it('BS-39: ends a write early when the blob is there already', async (t) => {
    const store = await make(t);
    await store.write(hello.digest, chunksOf(hello.bytes), never);
    await store.write(hello.digest, hanging(), never);
  });

  it('BS-39: ends a write early when another one completes the blob', async (t) => {
    const store = await make(t);
    const { promise: started, resolve: start } = Promise.withResolvers<void>();
    async function* stalling(): Chunks {
      yield hello.bytes.subarray(0, 1);
      start();
      await new Promise<never>(() => {});
    }
    const waiting = store.write(hello.digest, stalling(), never);
    await started;
    await store.write(hello.digest, chunksOf(hello.bytes), never);
    await waiting;
  });
}

async function readAll(store: BlobStore, digest: Digest, offset = 0): Promise<Buffer> {
  return Buffer.from(await collect(store.read(digest, offset, never)));
}

async function digestOfRead(store: BlobStore, digest: Digest): Promise<Digest> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const chunk of store.read(digest, 0, never)) {
    hash.update(chunk);
    sizeBytes += chunk.length;
  }
  return Digest.of(sha256, hash.digest('hex'), sizeBytes);
}

async function* inChunks(
  bytes: Uint8Array,
  sizeBytes: number,
  pause?: () => Promise<unknown>,
): Chunks {
  for (let at = 0; at < bytes.length; at += sizeBytes) {
    await pause?.();
    yield bytes.subarray(at, at + sizeBytes);
  }
}
