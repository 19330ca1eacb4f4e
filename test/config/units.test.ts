import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDuration, parseSize } from '../../src/config/units.ts';

for (const [text, bytes] of [
  ['10GiB', 10 * 2 ** 30],
  ['512 MiB', 2 ** 29],
  ['1.5kB', 1500],
  ['1GB', 1e9],
  ['0B', 0],
  ['10', undefined],
  ['10 gib', undefined],
  ['0.3B', undefined],
  ['-1B', undefined],
  ['9999999TiB', undefined],
  ['1e3B', undefined],
  ['', undefined],
] as const) {
  test(`the size "${text}" is ${bytes ?? 'refused'}`, () => {
    assert.equal(parseSize(text), bytes);
  });
}

for (const [text, ms] of [
  ['30s', 30_000],
  ['5m', 300_000],
  ['1.5h', 5_400_000],
  ['500ms', 500],
  ['1d', 86_400_000],
  ['30', undefined],
  ['5 minutes', undefined],
  ['0.5ms', undefined],
] as const) {
  test(`the duration "${text}" is ${ms ?? 'refused'}`, () => {
    assert.equal(parseDuration(text), ms);
  });
}
