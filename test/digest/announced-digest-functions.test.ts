import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import {
  AnnouncedDigestFunctions,
  defaultDigestFunctions,
  parseDigestFunctions,
} from '../../src/digest/announced-digest-functions.ts';
import {
  allDigestFunctions,
  blake3,
  md5,
  sha1,
  sha256,
  sha384,
  sha512,
  vso,
} from '../../src/digest/digest-functions.ts';
import { Digest } from '../../src/digest/digest.ts';
import { DigestFunction_Value } from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';

const { UNKNOWN, MURMUR3, SHA512, BLAKE3, SHA256TREE, VSO } = DigestFunction_Value;
const byDefault = new AnnouncedDigestFunctions(defaultDigestFunctions);
const all = new AnnouncedDigestFunctions(allDigestFunctions);
const invalid = { code: Code.INVALID_ARGUMENT };

test('DIG-04: an unset digest function is told by the length of the hash', () => {
  assert.equal(byDefault.resolve(UNKNOWN, '0'.repeat(64)), sha256);
  assert.equal(all.resolve(UNKNOWN, '0'.repeat(64)), sha256);
  assert.equal(all.resolve(UNKNOWN, '0'.repeat(40)), sha1);
  assert.equal(all.resolve(UNKNOWN, '0'.repeat(96)), sha384);
  assert.equal(all.resolve(UNKNOWN, '0'.repeat(128)), sha512);
  assert.equal(all.resolve(UNKNOWN, '0'.repeat(66)), vso);
  assert.equal(all.resolve(UNKNOWN, '0'.repeat(32)), md5);
});

test('DIG-04: a length that no announced digest function has is refused', () => {
  for (const length of [0, 32, 40, 63, 66, 128]) {
    assert.throws(() => byDefault.resolve(UNKNOWN, '0'.repeat(length)), invalid);
  }
});

test('DIG-05: BLAKE3, SHA256TREE and GITSHA1 are never inferred', () => {
  const others = allDigestFunctions.filter(({ segment }) => segment !== undefined);
  const announced = new AnnouncedDigestFunctions(others);
  assert.throws(() => announced.resolve(UNKNOWN, '0'.repeat(64)), invalid);
  assert.throws(() => announced.resolve(UNKNOWN, '0'.repeat(40)), invalid);
});

test('a request without digests gets the first digest function', () => {
  assert.equal(byDefault.resolve(UNKNOWN, undefined), sha256);
});

test('an explicit digest function is taken, whatever the hash', () => {
  assert.equal(byDefault.resolve(BLAKE3, '0'.repeat(64)), blake3);
});

test('DIG-07: a hash that has not the length of the explicit function is refused', () => {
  const digestFunction = byDefault.resolve(BLAKE3, '0'.repeat(40));
  assert.throws(() => Digest.of(digestFunction, '0'.repeat(40), 1), invalid);
});

test('DIG-08: a digest function that is not announced is refused by name', () => {
  for (const [value, name] of [
    [SHA512, /SHA512.*SHA256, BLAKE3/],
    [SHA256TREE, /SHA256TREE/],
    [VSO, /VSO/],
  ] as const) {
    assert.throws(() => byDefault.resolve(value, undefined), { ...invalid, message: name });
  }
});

test('GEN-17: an unknown number of a digest function is refused', () => {
  for (const value of [99, -1]) {
    assert.throws(() => byDefault.resolve(value as DigestFunction_Value, '0'.repeat(64)), {
      ...invalid,
      message: new RegExp(`number ${value}`),
    });
  }
});

test('DIG-18: UNKNOWN is not among the digest functions', () => {
  assert.ok(allDigestFunctions.every(({ value }) => value !== UNKNOWN));
});

test('DIG-06, DIG-16: MURMUR3 can neither be announced nor asked for', () => {
  assert.throws(() => parseDigestFunctions(['MURMUR3']), invalid);
  assert.throws(() => all.resolve(MURMUR3, '0'.repeat(32)), { ...invalid, message: /MURMUR3/ });
});

test('MD5 and VSO are announced by configuration alone', () => {
  assert.ok(!defaultDigestFunctions.includes(md5) && !defaultDigestFunctions.includes(vso));
  assert.deepEqual(parseDigestFunctions(['md5', 'VSO']).functions, [md5, vso]);
});

test('names of digest functions are read in any case', () => {
  assert.deepEqual(parseDigestFunctions(['SHA256', 'blake3']).functions, [sha256, blake3]);
});

test('unknown, doubled or no names are refused', () => {
  assert.throws(() => parseDigestFunctions(['sha3']), { ...invalid, message: /"sha3".*SHA256/ });
  assert.throws(() => parseDigestFunctions(['UNKNOWN']), invalid);
  assert.throws(() => parseDigestFunctions(['SHA256', 'sha256']), invalid);
  assert.throws(() => parseDigestFunctions([]), invalid);
});
