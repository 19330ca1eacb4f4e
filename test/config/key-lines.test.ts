import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from 'smol-toml';
import { KeyLines } from '../../src/config/key-lines.ts';
import { seededRandom } from '../support/seeded-random.ts';

const toml = `a = 1
"quoted.key" = 2 # [not.a.table]
long = """
[no.table]
b = 3
"""
many = [
  "]",  # b = 3
  'x = 3',
]
inline = { x = 1, y = [1] }

[table]
b = 4
'c.d'.e = 5

[ table . "inner" ]
f = 6
[[rows]]
g = 7
`;

for (const [path, line] of [
  [['a'], 1],
  [['quoted.key'], 2],
  [['b'], undefined],
  [['many'], 7],
  [['inline', 'y'], 11],
  [['table'], 13],
  [['table', 'b'], 14],
  [['table', 'c.d', 'e'], 15],
  [['table', 'inner', 'f'], 18],
  [['rows', 'g'], 20],
  [['table', 'absent'], 13],
] as const) {
  test(`${path.join(' > ')} stands on line ${line}`, () => {
    assert.doesNotThrow(() => parse(toml));
    assert.equal(new KeyLines(toml).lineOf(path), line);
  });
}

test('text that is no TOML is read without an error, and no line is found beyond its end', (t) => {
  const seed = 7;
  t.diagnostic(`seed ${seed}`);
  const random = seededRandom(seed);
  const letters = `a."'[]{}=#\\ \n`;
  for (let round = 0; round < 300; round++) {
    const text = Array.from({ length: 80 }, () => letters[Math.floor(random() * letters.length)]);
    const line = new KeyLines(text.join('')).lineOf(['a']);
    assert.ok(line === undefined || line <= text.join('').split('\n').length);
  }
});
