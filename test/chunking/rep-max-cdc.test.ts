import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gearTable } from '../../src/chunking/gear-table.ts';
import { defaultRepMaxCdcOptions, repMaxCdc } from '../../src/chunking/rep-max-cdc.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { lcgBytes } from './lcg.ts';
import { chunkLengths } from './pieces.ts';

const options = { minBytes: 4096, horizonBytes: 32768 };
const published = repMaxCdc(options);

test('CDC-35, CDC-36: cuts the published data as published', async () => {
  assert.deepEqual(
    await chunkLengths(published, lcgBytes(2 ** 18)),
    [
      4371, 4245, 5759, 5407, 7664, 5414, 6404, 4741, 6017, 4588, 6851, 7641, 6225, 7239, 4720,
      4219, 4565, 6454, 4556, 5656, 6220, 5011, 5019, 4406, 4117, 4118, 5164, 4335, 5229, 7222,
      4214, 4963, 4323, 4161, 4348, 8184, 5662, 5490, 5105, 4927, 4791, 4307, 6087, 4136, 5207,
      4228, 4597, 7598, 6239,
    ],
  );
});

for (const [size, lengths] of [
  [0, []],
  [1, [1]],
  [8191, [8191]],
  [8192, [4096, 4096]],
  [8193, [4096, 4097]],
] as const) {
  test(`CDC-36: cuts ${size} bytes into ${lengths.length} chunks`, async () => {
    assert.deepEqual(await chunkLengths(published, lcgBytes(size)), lengths);
  });
}

test('CDC-36: equal bytes are cut at the least size', async () => {
  const lengths = await chunkLengths(published, Buffer.alloc(100_000));
  assert.deepEqual(lengths, [...Array.from({ length: 23 }, () => 4096), 5792]);
});

test('CDC-38: without a horizon all chunks but the last are equal', async () => {
  const lengths = await chunkLengths(
    repMaxCdc({ minBytes: 8192, horizonBytes: 0 }),
    lcgBytes(109_466),
  );
  assert.deepEqual(lengths, [...Array.from({ length: 12 }, () => 8192), 11162]);
});

for (const pieceBytes of [1, 4095, 2 ** 20]) {
  test(`CDC-39: cuts alike when the bytes come in pieces of ${pieceBytes}`, async () => {
    const bytes = lcgBytes(150_000);
    assert.deepEqual(
      await chunkLengths(published, bytes, pieceBytes),
      await chunkLengths(published, bytes),
    );
  });
}

test('CDC-37, CDC-40: cuts as the definition does, whatever the data', async (t) => {
  const seed = Math.trunc(process.hrtime()[1]);
  t.diagnostic(`seed ${seed}`);
  const random = seededRandom(seed);
  const whole = (below: number) => Math.floor(random() * below);
  for (let round = 0; round < 150; round++) {
    const minBytes = 64 + whole(3000);
    const horizonBytes = whole(8 * minBytes);
    const period = 1 + whole(round % 3 === 0 ? 5 : 5000);
    const values = round % 2 === 0 ? 256 : 2;
    const pattern = Uint8Array.from({ length: period }, () => whole(values));
    const noise = round % 5 === 0 ? 0.3 : 0;
    const bytes = Uint8Array.from({ length: whole(60_000) }, (_, at) =>
      random() < noise ? whole(values) : (pattern[at % period] ?? 0),
    );
    const lengths = await chunkLengths(
      repMaxCdc({ minBytes, horizonBytes }),
      bytes,
      1 + whole(9999),
    );
    assert.deepEqual(lengths, lengthsByDefinition(bytes, minBytes, horizonBytes), `round ${round}`);
    const isInRange = (length: number) => length >= minBytes && length < 2 * minBytes;
    assert.ok(lengths.every(isInRange) || bytes.length < minBytes);
  }
});

test('CDC-41, CAP-19: what is announced is what Bazel takes', () => {
  const { minBytes, horizonBytes } = defaultRepMaxCdcOptions;
  assert.ok(minBytes >= 1024 && minBytes <= 2 ** 20 && horizonBytes <= 8 * 2 ** 20);
});

function lengthsByDefinition(bytes: Uint8Array, minBytes: number, horizonBytes: number): number[] {
  const lengths: number[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = lengthByDefinition(
      bytes.subarray(at, at + 2 * minBytes + horizonBytes),
      minBytes,
    );
    lengths.push(length);
    at += length;
  }
  return lengths;
}

/** The rule as CDC-36 has it, word for word. */
function lengthByDefinition(bytes: Uint8Array, minBytes: number): number {
  if (bytes.length < 2 * minBytes) return bytes.length;
  for (let limit = bytes.length - minBytes; ;) {
    let hash = 0n;
    for (let at = minBytes - 64; at < minBytes; at++) hash = rolled(hash, bytes[at] ?? 0);
    let best = hash;
    let position = minBytes;
    for (let at = minBytes; at < limit; at++) {
      hash = rolled(hash, bytes[at] ?? 0);
      if (hash <= best) continue;
      best = hash;
      position = at + 1;
    }
    if (position < 2 * minBytes) return position;
    limit = position - minBytes;
  }
}

const gear = Array.from(
  gearTable.high,
  (high, byte) => (BigInt(high >>> 0) << 32n) | BigInt((gearTable.low[byte] ?? 0) >>> 0),
);

function rolled(hash: bigint, byte: number): bigint {
  return BigInt.asUintN(64, (hash << 1n) + (gear[byte] ?? 0n));
}
