import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Digest } from '../../src/digest/digest.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import { transferEach } from '../../src/tree/transfer-each.ts';
import { never } from '../support/never.ts';

/** How many of 1000 blobs of a size are under way together. */
async function mostAtOnce(sizeBytes: number): Promise<number> {
  const items = Array.from({ length: 1000 }, (_, i) => ({
    digest: Digest.of(sha256, i.toString(16).padStart(64, '0'), sizeBytes),
  }));
  let underWay = 0;
  let most = 0;
  let done = 0;
  await transferEach(
    items,
    async () => {
      most = Math.max(most, ++underWay);
      await setImmediate();
      underWay--;
      done++;
    },
    never,
  );
  assert.equal(done, items.length);
  return most;
}

for (const [what, sizeBytes, expected] of [
  ['hundreds of small blobs', 4096, 256],
  ['fewer of those in between', 256 * 1024, 64],
  ['some large blobs', 2 ** 20, 16],
  ['as many huge ones, which pass in pieces', 2 ** 33, 16],
] as const) {
  test(`moves ${what} at once`, async () => {
    assert.equal(await mostAtOnce(sizeBytes), expected);
  });
}
