import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chunksOf, collect } from '../../src/base/chunks.ts';
import { heapBytesMax, HeldMemory } from '../../src/base/memory.ts';
import { Code } from '../../src/base/status.ts';
import { compress, decompress, supportedCodecs } from '../../src/rpc/compression.ts';

const bytes = Buffer.alloc(8 * 2 ** 20, 'some bytes');

for (const codec of supportedCodecs) {
  test(`what ${codec.name} takes to pack a blob is counted, and given back`, async (t) => {
    const others = [new HeldMemory(), new HeldMemory()];
    t.after(() => others.forEach((one) => one.close()));
    const halfBytes = Math.floor(heapBytesMax / 6) - 2 ** 17;
    for (const one of others) one.add(halfBytes);
    const pack = () => collect(compress(codec, chunksOf(bytes), bytes.length));
    await assert.rejects(pack(), { code: Code.UNAVAILABLE, message: /try again/ });
    others[0]?.release();
    const packed = await pack();
    others[0]?.add(halfBytes);
    others[0]?.release();
    const again = await collect(decompress(codec, chunksOf(packed), bytes.length));
    assert.ok(bytes.equals(again));
  });
}
