import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { ReadRequest, ReadResponse } from '../../src/proto/google/bytestream/bytestream.ts';
import type { ApiClient } from '../support/api-client.ts';
import { type Blob, blobOf } from '../support/blob-of.ts';
import { randomBytes } from '../support/seeded-random.ts';
import type { TestClient } from '../support/test-client.ts';
import { startHostile } from './rig.ts';

const MIB = 2 ** 20;

const held = blobOf(randomBytes(8 * MIB, 1));
const size = held.bytes.length;

function read(wire: TestClient, at: number, readLimit = 0): AsyncGenerator<ReadResponse> {
  const request = { resourceName: `main/blobs/${held.digest}`, readOffset: at, readLimit };
  const path = '/google.bytestream.ByteStream/Read';
  return wire.serverStream(path, ReadRequest, ReadResponse, ReadRequest.fromPartial(request));
}

async function rest(responses: AsyncIterable<ReadResponse>): Promise<Buffer> {
  return Buffer.concat((await Array.fromAsync(responses)).map(({ data }) => data));
}

/** More than the store has room for. */
async function fill(client: ApiClient, seed: number): Promise<Blob[]> {
  const blobs = Array.from({ length: 20 }, (_, n) => blobOf(Buffer.alloc(MIB, `${seed + n};`)));
  for (const blob of blobs) await client.put(blob);
  return blobs;
}

test('CI-17, CAS-61: a blob stays whole while it is read, whatever else has to go for new ones', async (t) => {
  const { client, wire, isMissing } = await startHostile(t, 'max_size = "16MiB"');
  const before = Array.from({ length: 4 }, (_, n) => blobOf(Buffer.alloc(MIB, `${n};`)));
  await client.write(`uploads/u/blobs/${held.digest}`, held.bytes);
  for (const blob of before) await client.put(blob);
  const reads = [0, 1, size / 2].map((at) => ({ at, responses: read(wire, at) }));
  const begun = await Promise.all(
    reads.map(async ({ at, responses }) => {
      const { value } = await responses.next();
      return { at, responses, first: (value as ReadResponse).data };
    }),
  );

  // It was used before all of these, and is still there.
  const others = await fill(client, 200);
  for (const blob of before) assert.ok(await isMissing(blob));
  assert.ok(await isMissing(others[0] as Blob));
  const filling = fill(client, 300);
  for (const [at, limit, bytes] of [
    [size, 0, 0],
    [size, 1, 0],
    [size - 1, 0, 1],
    [size - 1, 1, 1],
    [size - 1, 100, 1],
    [size - 10, 1, 1],
    [size - MIB - 1, 2 * MIB, MIB + 1],
  ] as const) {
    const expected = held.bytes.subarray(at, at + bytes);
    assert.ok((await rest(read(wire, at, limit))).equals(expected), `${limit} from ${at}`);
  }
  for (const at of [size + 1, -1]) {
    await assert.rejects(rest(read(wire, at, 1)), { code: Code.OUT_OF_RANGE });
  }
  await filling;

  for (const { at, first, responses } of begun) {
    const all = Buffer.concat([first, await rest(responses)]);
    assert.ok(all.equals(held.bytes.subarray(at)), `from ${at}`);
  }
  await fill(client, 400);
  assert.ok(await isMissing(held), 'it was kept for its readers alone');
  await assert.rejects(rest(read(wire, 0)), { code: Code.NOT_FOUND });
});
