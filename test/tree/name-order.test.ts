import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareNames } from '../../src/tree/name-order.ts';
import { seededRandom } from '../support/seeded-random.ts';

test('DIR-04: U+FF61 sorts before U+1F600, unlike in UTF-16', () => {
  assert.ok(compareNames('\u{ff61}', '\u{1f600}') < 0);
  assert.deepEqual(['b', 'ab', 'a', 'B', ''].toSorted(compareNames), ['', 'B', 'a', 'ab', 'b']);
});

test('DIR-04: sorts as the UTF-8 bytes do', (t) => {
  const seed = Number(process.hrtime.bigint() % 1_000_000n);
  t.diagnostic(`seed ${seed}`);
  const random = seededRandom(seed);
  const alphabet = [
    0x61, 0x62, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff,
  ];
  const letter = () => alphabet[Math.floor(random() * alphabet.length)] ?? 0;
  const name = () => String.fromCodePoint(...Array.from({ length: random() * 4 }, letter));
  for (let round = 0; round < 5000; round++) {
    const [a, b] = [name(), name()];
    const expected = Buffer.compare(Buffer.from(a), Buffer.from(b));
    assert.equal(Math.sign(compareNames(a, b)), expected, JSON.stringify([a, b]));
  }
});
