import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chunksOf } from '../../src/base/chunks.ts';
import { Code, StatusError } from '../../src/base/status.ts';
import type { Digest } from '../../src/digest/digest.ts';
import { uploadPatiently } from '../../src/worker/upload-patiently.ts';
import { blobOf } from '../support/blob-of.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { never } from '../support/never.ts';

const { bytes, digest } = blobOf('output');
const sources = [{ digest, open: () => chunksOf(bytes) }];

/** Has no room for the first writes. */
class FullStore extends PlainBlobStore {
  refusals: number;
  readonly #code: Code;
  attempts = 0;

  constructor(refusals: number, code: Code = Code.RESOURCE_EXHAUSTED) {
    super();
    this.refusals = refusals;
    this.#code = code;
  }

  override async write(...[wanted, chunks]: Parameters<PlainBlobStore['write']>): Promise<void> {
    this.attempts += 1;
    if (this.attempts <= this.refusals) throw new StatusError(this.#code, `${wanted} does not fit`);
    await super.write(wanted, chunks);
  }
}

async function upload(store: FullStore, pauses: number): Promise<readonly Digest[]> {
  const clock = new FakeClock();
  const uploading = uploadPatiently(store, sources, clock, never);
  uploading.catch(() => {});
  for (let pause = 0; pause < pauses; pause += 1) {
    await clock.asleep(1);
    clock.advance(16_000);
  }
  await uploading;
  return store.findMissing([digest]);
}

test('ERR-02: a store that is full for a while gets the outputs once it has room', async () => {
  const store = new FullStore(3);
  assert.deepEqual(await upload(store, 3), []);
  assert.equal(store.attempts, 4);
});

test('ERR-02: a store that stays full ends the action, and says so, for another run would fill no less', async () => {
  const store = new FullStore(Infinity);
  await assert.rejects(upload(store, 5), {
    code: Code.FAILED_PRECONDITION,
    message: /cannot be stored, as the server has no room for it: .* does not fit$/,
  });
  assert.equal(store.attempts, 6);
});

test('what else fails is told at once', async () => {
  const store = new FullStore(1, Code.UNAVAILABLE);
  await assert.rejects(upload(store, 0), { code: Code.UNAVAILABLE });
  assert.equal(store.attempts, 1);
});
