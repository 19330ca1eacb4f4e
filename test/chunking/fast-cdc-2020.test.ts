import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { defaultFastCdc2020Options, fastCdc2020 } from '../../src/chunking/fast-cdc-2020.ts';
import { gearTable } from '../../src/chunking/gear-table.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { lcgBytes } from './lcg.ts';
import { chunkLengths } from './pieces.ts';

const sha256 = (data: Uint8Array | string) => createHash('sha256').update(data).digest('hex');
const lcg = lcgBytes(2 ** 20);

test('the synthetic data is that of the published vectors', () => {
  assert.equal(sha256(lcg), '3dbac2f942957e365de60b4316ada461206b725f9446456bc85be911fb542ce8');
});

test('CDC-28: the gear table is made of 64 equal bytes each', () => {
  const table = Buffer.alloc(2048);
  for (let byte = 0; byte < 256; byte++) {
    table.writeInt32BE(gearTable.high[byte] ?? 0, byte * 8);
    table.writeInt32BE(gearTable.low[byte] ?? 0, byte * 8 + 4);
  }
  assert.equal(table.toString('hex', 0, 8), '3b5d3c7d207e37dc');
  assert.equal(sha256(table), '9df0a720752a7d211fdebaf39bed01610983756fc340a1cfef41052b7356ae73');
});

for (const [seed, lengths] of [
  [
    0,
    [71418, 66157, 135331, 103946, 74709, 70384, 87709, 73619, 68791, 78024, 79850, 99396, 39242],
  ],
  [
    1,
    [
      82649, 111379, 65931, 78992, 70349, 75863, 67664, 77827, 61724, 66788, 39662, 66874, 40935,
      68706, 66812, 6421,
    ],
  ],
] as const) {
  test(`CDC-26 to CDC-31: cuts the published data as published, with seed ${seed}`, async () => {
    assert.deepEqual(await chunkLengths(fastCdc2020({ avgBytes: 65536, seed }), lcg), lengths);
  });
}

test('CDC-26 to CDC-30: cuts the published data as published, with a small average', async () => {
  const lengths = await chunkLengths(fastCdc2020({ avgBytes: 8192, seed: 0 }), lcg);
  assert.equal(lengths.length, 110);
  assert.equal(
    sha256(lengths.join(',')),
    '4e7008c64bf20ff7dcc5ade477624b127e7510f8a5dbf12a4d0c2081e756b614',
  );
});

/** The table as it is published, by the number of bits. */
const publishedMasks =
  '5:1804110 6:1803110 7:18035100 8:1800035300 9:19000353000 10:590003530000 11:d90003530000 ' +
  '12:d90103530000 13:d90303530000 14:d90313530000 15:d90f03530000 16:d90303537000 ' +
  '17:d90703537000 18:d90707537000 19:d91707537000 20:d91747537000 21:d91767537000 ' +
  '22:d93767537000 23:d93777537000 24:d93777577000 25:db3777577000';
const maskOf = new Map(
  publishedMasks.split(' ').map((entry) => {
    const [bits = '', hex = ''] = entry.split(':');
    return [Number(bits), Number.parseInt(hex, 16)];
  }),
);

const isHit = (hash: number, mask = 0) =>
  (Math.floor(hash / 2 ** 24) & Math.floor(mask / 2 ** 24)) === 0 &&
  ((hash % 2 ** 24) & (mask % 2 ** 24)) === 0;

/** Where the rules as they are written cut `data`, with numbers of 48 bits, which hold every mask. */
function cutAsWritten(data: Uint8Array, bits: number): number[] {
  const gear = Array.from({ length: 256 }, (_, byte) => {
    const digest = createHash('md5').update(Buffer.alloc(64, byte)).digest();
    return digest.readUIntBE(2, 6);
  });
  const [minBytes, avgBytes, maxBytes] = [2 ** (bits - 2), 2 ** bits, 2 ** (bits + 2)];
  const lengths: number[] = [];
  for (let start = 0; start < data.length;) {
    const end = Math.min(data.length - start, maxBytes);
    const center = Math.min(end, avgBytes);
    let length = end;
    let hash = 0;
    for (let at = minBytes; at < end - (end % 2) && length === end; at++) {
      hash = (hash * 2 + (gear[data[start + at] ?? 0] ?? 0)) % 2 ** 48;
      const mask = maskOf.get(at < center - (center % 2) ? bits + 2 : bits - 2);
      if (isHit(hash, mask)) length = at;
    }
    lengths.push(length);
    start += length;
  }
  return lengths;
}

test('CDC-29: cuts by the published masks, whatever the average', async () => {
  const random = seededRandom(29);
  const all = Uint8Array.from({ length: 2 ** 21 }, () => random() * 256);
  for (let bits = 10; bits <= 20; bits++) {
    const data = all.subarray(0, Math.max(2 ** 19, 2 ** (bits + 2) + 12_345));
    const lengths = await chunkLengths(fastCdc2020({ avgBytes: 2 ** bits, seed: 0 }), data);
    assert.deepEqual(lengths, cutAsWritten(data, bits), `average ${2 ** bits}`);
  }
});

test('CDC-30: cuts at four times the average where nothing else says so', async () => {
  const lengths = await chunkLengths(
    fastCdc2020({ avgBytes: 4096, seed: 0 }),
    Buffer.alloc(100_000),
  );
  assert.deepEqual(lengths, [...Array.from({ length: 6 }, () => 16384), 1696]);
});

for (const pieceBytes of [1, 4095, 2 ** 20]) {
  test(`CDC-32: cuts alike when the bytes come in pieces of ${pieceBytes}`, async () => {
    const chunking = fastCdc2020({ avgBytes: 8192, seed: 0 });
    const bytes = lcg.subarray(0, 300_000);
    assert.deepEqual(
      await chunkLengths(chunking, bytes, pieceBytes),
      await chunkLengths(chunking, bytes),
    );
  });
}

test('CDC-09: a byte more at the front changes few chunks', async () => {
  const random = seededRandom(9);
  const bytes = Uint8Array.from({ length: 2 ** 20 }, () => random() * 256);
  const chunking = fastCdc2020({ avgBytes: 8192, seed: 0 });
  const before = (await chunkLengths(chunking, bytes)).join();
  const after = await chunkLengths(chunking, Buffer.concat([Buffer.of(1), bytes]));
  assert.ok(before.endsWith(after.slice(8).join()), 'all but the first chunks are as before');
});

test('CDC-27, CAP-18: what is announced is what clients take', () => {
  const { avgBytes, seed } = defaultFastCdc2020Options;
  assert.ok(Number.isInteger(Math.log2(avgBytes)) && avgBytes >= 1024 && avgBytes <= 2 ** 20);
  assert.equal(seed, 0);
});
