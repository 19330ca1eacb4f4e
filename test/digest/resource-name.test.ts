import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { AnnouncedDigestFunctions } from '../../src/digest/announced-digest-functions.ts';
import { allDigestFunctions, blake3, sha256 } from '../../src/digest/digest-functions.ts';
import { Digest } from '../../src/digest/digest.ts';
import {
  type Compressor,
  digestOfName,
  formatReadName,
  formatWriteName,
  parseReadName,
  parseWriteName,
} from '../../src/digest/resource-name.ts';
import { seededRandom } from '../support/seeded-random.ts';

const announced = new AnnouncedDigestFunctions(allDigestFunctions);
const h = 'ab'.repeat(32);
const h40 = 'ab'.repeat(20);
const u = 'f2c9d1b4-5a77-4b7c-9d3e-0a1b2c3d4e5f';

/** name, instance, compressor, digest as text */
type Good = readonly [string, string, Compressor, string];

const reads: readonly Good[] = [
  [`blobs/${h}/0`, '', 'identity', `SHA256/${h}/0`],
  [`blobs/${h}/9007199254740991`, '', 'identity', `SHA256/${h}/9007199254740991`],
  [`main/blobs/${h}/12`, 'main', 'identity', `SHA256/${h}/12`],
  [`a/b/c/blobs/${h}/12`, 'a/b/c', 'identity', `SHA256/${h}/12`],
  [`blobs/${h40}/12`, '', 'identity', `SHA1/${h40}/12`],
  [`blobs/blake3/${h}/12`, '', 'identity', `BLAKE3/${h}/12`],
  [`blobs/sha256tree/${h}/12`, '', 'identity', `SHA256TREE/${h}/12`],
  [`blobs/gitsha1/${h40}/12`, '', 'identity', `GITSHA1/${h40}/12`],
  [`blobs/${h}00/12`, '', 'identity', `VSO/${h}00/12`],
  [`blobs/${h.slice(32)}/12`, '', 'identity', `MD5/${h.slice(32)}/12`],
  [`blake3/blobs/${h}/12`, 'blake3', 'identity', `SHA256/${h}/12`],
  [`compressed-blobs/zstd/${h}/12`, '', 'zstd', `SHA256/${h}/12`],
  [`x/compressed-blobs/deflate/${h}/12`, 'x', 'deflate', `SHA256/${h}/12`],
  [`x/y/compressed-blobs/brotli/blake3/${h}/1`, 'x/y', 'brotli', `BLAKE3/${h}/1`],
  [`/blobs/${h}/12`, '', 'identity', `SHA256/${h}/12`],
  [`//a//b/blobs///${h}/12/`, 'a/b', 'identity', `SHA256/${h}/12`],
];

const writes: readonly Good[] = [
  [`uploads/${u}/blobs/${h}/12`, '', 'identity', `SHA256/${h}/12`],
  [`a/b/uploads/${u}/blobs/${h}/12`, 'a/b', 'identity', `SHA256/${h}/12`],
  [`uploads/${u}/blobs/blake3/${h}/12`, '', 'identity', `BLAKE3/${h}/12`],
  [`uploads/${u}/compressed-blobs/zstd/${h}/12`, '', 'zstd', `SHA256/${h}/12`],
  [`uploads/${u}/compressed-blobs/zstd/blake3/${h}/12/x`, '', 'zstd', `BLAKE3/${h}/12`],
  [`uploads/${u}/blobs/${h}/12/foo/blobs/x`, '', 'identity', `SHA256/${h}/12`],
  [`uploads/${u}/blobs/${h}/12/uploads/y`, '', 'identity', `SHA256/${h}/12`],
  [`/uploads/${u}/blobs/${h}/12`, '', 'identity', `SHA256/${h}/12`],
];

const badReads: readonly string[] = [
  '',
  '/',
  'blobs',
  `blobs/${h}`,
  `${h}/12`,
  `blobs/${h}/`,
  `blobs/${h}/-1`,
  `blobs/${h}/+1`,
  `blobs/${h}/012`,
  `blobs/${h}/1e3`,
  `blobs/${h}/0x1`,
  `blobs/${h}/ 1`,
  `blobs/${h}/9007199254740992`,
  `blobs/${h}/99999999999999999999`,
  `blobs/${h.toUpperCase()}/12`,
  `blobs/${h.slice(1)}/12`,
  `blobs/${'g'.repeat(64)}/12`,
  `blobs/${h}/12/metadata`,
  `blobs/blake3/${h40}/12`,
  `blobs/sha256/${h}/12`,
  `blobs/BLAKE3/${h}/12`,
  `blobs/murmur3/${h}/12`,
  `blobs/vso/${h}00/12`,
  `blobs/md5/${h.slice(32)}/12`,
  `compressed-blobs/${h}/12`,
  `compressed-blobs/identity/${h}/12`,
  `compressed-blobs/ZSTD/${h}/12`,
  `uploads/${u}/blobs/${h}/12`,
  `x/operations/blobs/${h}/12`,
  `x${'/x'.repeat(20_000)}/blobs/${h}/12`,
];

const badWrites: readonly string[] = [
  '',
  'uploads',
  `uploads/${u}`,
  `blobs/${h}/12`,
  `compressed-blobs/zstd/${h}/12`,
  `uploads/blobs/${h}/12`,
  `uploads/${u}/x/blobs/${h}/12`,
  `uploads/${u}/blobs/${h}`,
  `uploads/${u}/blobs/${h}/x`,
  `uploads/${u}/blobs/sha256/${h}/12`,
  `uploads/${u}/compressed-blobs/identity/${h}/12`,
  `blobs/uploads/${u}/blobs/${h}/12`,
];

for (const [name, instanceName, compressor, key] of reads) {
  test(`BS-01: reads ${name}`, () => {
    const parsed = parseReadName(name);
    assert.equal(parsed.instanceName, instanceName);
    assert.equal(parsed.compressor, compressor);
    assert.equal(digestOfName(parsed, announced).key, key);
  });
}

for (const [name, instanceName, compressor, key] of writes) {
  test(`BS-01: writes ${name}`, () => {
    const parsed = parseWriteName(name);
    assert.equal(parsed.instanceName, instanceName);
    assert.equal(parsed.compressor, compressor);
    assert.equal(parsed.uploadId, u);
    assert.equal(digestOfName(parsed, announced).key, key);
  });
}

for (const name of badReads) {
  test(`BS-01: refuses to read ${name.slice(0, 120)}`, () => {
    assert.throws(() => digestOfName(parseReadName(name), announced), {
      code: Code.INVALID_ARGUMENT,
    });
  });
}

for (const name of badWrites) {
  test(`BS-01: refuses to write ${name}`, () => {
    assert.throws(() => digestOfName(parseWriteName(name), announced), {
      code: Code.INVALID_ARGUMENT,
    });
  });
}

test('BS-04: without a function in the name it is told by the length of the hash, from what is announced', () => {
  const told = Array.from({ length: 64 }, (_, i) => (i + 1) * 2).flatMap((length) => {
    const name = parseReadName(`blobs/${'a'.repeat(length)}/1`);
    try {
      return [`${length} ${digestOfName(name, announced).function.name}`];
    } catch {
      return [];
    }
  });
  const expected = ['32 MD5', '40 SHA1', '64 SHA256', '66 VSO', '96 SHA384', '128 SHA512'];
  assert.deepEqual(told, expected);
  // BLAKE3 has as many digits, and is never inferred where SHA256 is there.
  const both = new AnnouncedDigestFunctions([blake3, sha256]);
  assert.equal(digestOfName(parseReadName(`blobs/${h}/1`), both).function, sha256);
});

test('BS-04: a digest function that the instance does not announce is refused', () => {
  const only = new AnnouncedDigestFunctions([sha256]);
  for (const name of [`blobs/blake3/${h}/1`, `blobs/${h40}/1`]) {
    assert.throws(() => digestOfName(parseReadName(name), only), { code: Code.INVALID_ARGUMENT });
  }
});

test('what is formatted is parsed back', () => {
  for (const digestFunction of announced.functions) {
    const digest = Digest.ofBytes(digestFunction, Buffer.from('x'));
    for (const instanceName of ['', 'a', 'a/b']) {
      for (const compressor of ['identity', 'zstd'] as const) {
        const read = parseReadName(formatReadName(instanceName, digest, compressor));
        assert.deepEqual([read.instanceName, read.compressor], [instanceName, compressor]);
        assert.ok(digestOfName(read, announced).equals(digest));
        const write = parseWriteName(formatWriteName(instanceName, u, digest, compressor));
        assert.equal(write.uploadId, u);
        assert.deepEqual([write.instanceName, write.compressor], [instanceName, compressor]);
        assert.ok(digestOfName(write, announced).equals(digest));
      }
    }
  }
});

test('HI-19: nonsense is refused as INVALID_ARGUMENT, or parsed', () => {
  const seed = 3;
  const random = seededRandom(seed);
  const words = ['', 'blobs', 'uploads', 'compressed-blobs', 'zstd', 'blake3', h, h40, '12', 'é'];
  for (let round = 0; round < 5000; round++) {
    const count = Math.floor(random() * 9);
    const name = Array.from({ length: count }, () => words[Math.floor(random() * words.length)]);
    for (const parse of [parseReadName, parseWriteName]) {
      try {
        digestOfName(parse(name.join('/')), announced);
      } catch (thrown) {
        assert.equal((thrown as { code?: number }).code, Code.INVALID_ARGUMENT, `seed ${seed}`);
      }
    }
  }
});
