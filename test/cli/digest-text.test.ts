import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDigestText } from '../../src/cli/digest-text.ts';
import { UsageError } from '../../src/cli/exit-codes.ts';
import { blake3, sha256 } from '../../src/digest/digest-functions.ts';

const hash = 'a'.repeat(64);

for (const [text, key] of [
  [`${hash}/5`, `SHA256/${hash}/5`],
  [`${hash}:5`, `SHA256/${hash}/5`],
  [`blobs/${hash}/5`, `SHA256/${hash}/5`],
  [`blake3/${hash}/5`, `BLAKE3/${hash}/5`],
  [`blobs/blake3/${hash}/5`, `BLAKE3/${hash}/5`],
] as const) {
  test(`${text.replace(hash, '…')} is a digest`, () => {
    assert.equal(parseDigestText(text, sha256).key, key);
  });
}

for (const text of [
  '',
  hash,
  `${hash}/`,
  `${hash.slice(1)}/5`,
  `md5/${hash}/5`,
  `${hash}/-1`,
  'x/1',
]) {
  test(`${JSON.stringify(text.replace(hash, '…'))} is wrong usage`, () => {
    assert.throws(() => parseDigestText(text, blake3), UsageError);
  });
}
