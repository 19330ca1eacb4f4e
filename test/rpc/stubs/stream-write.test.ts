import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { chunksOf } from '../../../src/base/chunks.ts';
import { Code, StatusError } from '../../../src/base/status.ts';
import { streamWrite } from '../../../src/rpc/stubs/stream-write.ts';
import { blobOf } from '../../support/blob-of.ts';
import { never } from '../../support/never.ts';
import { piecesOf } from '../../support/sources.ts';
import { fakeCas, type Quirks } from './fake-cas.ts';

const MIB = 2 ** 20;
const cut = () => new StatusError(Code.UNAVAILABLE, 'cut');
const blob = blobOf(Uint8Array.from({ length: 5 * MIB }, (_, index) => index % 251));

async function rig(t: TestContext, quirks: Quirks = {}) {
  const { channel, ...cas } = await fakeCas(t, quirks);
  const limits = { batchSizeBytesMax: MIB, blobSizeBytesMax: Infinity };
  const codecs = { streams: undefined, batches: undefined };
  const blobs = { channel, instanceName: 'main', limits, codecs, uploadChunking: undefined };
  const write = (chunks = chunksOf(blob.bytes) as AsyncIterable<Uint8Array>) =>
    streamWrite(blobs, blob.digest, chunks, 'upload-1', never);
  return { ...cas, write };
}

/** Breaks the stream once behind each of the offsets. */
function breaksAt(...offsets: number[]): Quirks {
  const afterWritten = (offset: number) => {
    if (offset !== offsets[0]) return;
    offsets.shift();
    throw cut();
  };
  return { afterWritten };
}

/** The writes, each by its first offset and whether it came to its end. */
const begun = (calls: readonly string[]) =>
  calls.filter((call, n) => call === 'query' || n === 0 || calls[n - 1] === 'query');

test('CLI-08: a write that breaks goes on where the server says, as often as it gets further', async (t) => {
  const { write, calls, plain, routes } = await rig(
    t,
    breaksAt(MIB, 2 * MIB, 3 * MIB, 4 * MIB, 5 * MIB),
  );
  await write();
  assert.deepEqual(begun(calls), [
    `write ${MIB} at 0`,
    'query',
    `write ${MIB} at ${MIB}`,
    'query',
    `write ${MIB} at ${2 * MIB}`,
    'query',
    `write ${MIB} at ${3 * MIB}`,
    'query',
    `write ${MIB} at ${4 * MIB}`,
    'query',
    `write 0 at ${5 * MIB}, finished`,
  ]);
  assert.equal(plain.blobs.size, 1);
  assert.equal(new Set(routes).size, 1, 'one resource name, so one upload');
});

for (const name of ['UNIMPLEMENTED', 'NOT_FOUND'] as const) {
  test(`CLI-08: a write begins again when the query fails with ${name}`, async (t) => {
    const { write, calls, plain } = await rig(t, {
      ...breaksAt(3 * MIB),
      beforeQuery: () => {
        throw new StatusError(Code[name], 'no idea');
      },
    });
    await write();
    assert.deepEqual(begun(calls), [`write ${MIB} at 0`, 'query', `write ${MIB} at 0`]);
    assert.equal(plain.blobs.size, 1);
  });
}

test('CLI-08: a write begins again when the server has lost what it had', async (t) => {
  const breaks = breaksAt(3 * MIB);
  const { write, calls, plain, uploads } = await rig(t, {
    ...breaks,
    beforeQuery: () => uploads.clear(),
  });
  await write();
  assert.deepEqual(begun(calls), [`write ${MIB} at 0`, 'query', `write ${MIB} at 0`]);
  assert.equal(plain.blobs.size, 1);
});

test('CLI-08: nothing more is sent when the server has the blob by then', async (t) => {
  const { write, calls, plain } = await rig(t, {
    ...breaksAt(3 * MIB),
    beforeQuery: () => void plain.blobs.set(blob.digest.key, blob.bytes),
  });
  await write();
  assert.deepEqual(begun(calls), [`write ${MIB} at 0`, 'query']);
});

test('a write asks again when the place to go on has moved since it asked', async (t) => {
  let queries = 0;
  const { write, calls, plain, uploads } = await rig(t, {
    ...breaksAt(3 * MIB),
    beforeQuery: () => {
      queries += 1;
      if (queries > 1) return;
      setImmediate(() => {
        for (const [name, bytes] of uploads) uploads.set(name, bytes.subarray(0, 100));
      });
    },
  });
  await write();
  assert.deepEqual(begun(calls), [
    `write ${MIB} at 0`,
    'query',
    `write ${MIB} at ${3 * MIB}`,
    'query',
    `write ${MIB} at 100`,
  ]);
  assert.equal(plain.blobs.size, 1);
});

test('a write that never gets further fails after some attempts', async (t) => {
  const { write, calls } = await rig(t, {
    afterWritten: () => {
      throw cut();
    },
    beforeQuery: () => {
      throw cut();
    },
  });
  await assert.rejects(write(), { code: Code.UNAVAILABLE });
  assert.equal(calls.length, 5);
});

test('BS-41: a write that the server finds wrong is not repeated', async (t) => {
  const { write, calls } = await rig(t, {
    afterWritten: (offset) => {
      if (offset === 5 * MIB) throw new StatusError(Code.INVALID_ARGUMENT, 'another digest');
    },
  });
  await assert.rejects(write(), { code: Code.INVALID_ARGUMENT });
  assert.ok(!calls.includes('query'));
});

test('a source that can be read once only is not sent again', async (t) => {
  const { write, calls } = await rig(t, breaksAt(MIB));
  await assert.rejects(write(piecesOf(blob.bytes)), { code: Code.UNAVAILABLE });
  assert.ok(!calls.includes('query'));
});
