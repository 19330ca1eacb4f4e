import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DigestFunction } from '../../src/digest/digest-function.ts';
import {
  allDigestFunctions,
  blake3,
  gitSha1,
  md5,
  sha1,
  sha256,
  sha256Tree,
  sha384,
  sha512,
  vso,
} from '../../src/digest/digest-functions.ts';
import { seededRandom } from '../support/seeded-random.ts';

/** Bytes 0 to 250 again and again, as the published vectors of BLAKE3 and SHA256TREE use them. */
const counted = (length: number) => Uint8Array.from({ length }, (_, index) => index % 251);

const emptyHashes: readonly (readonly [DigestFunction, string])[] = [
  [sha256, 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
  [sha256Tree, 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
  [sha1, 'da39a3ee5e6b4b0d3255bfef95601890afd80709'],
  [
    sha384,
    '38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b',
  ],
  [
    sha512,
    'cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce' +
      '47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e',
  ],
  [blake3, 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262'],
  [gitSha1, 'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391'],
  [vso, '1e57cf2792a900d06c1cdfb3c453f35bc86f72788aa9724c96c929d1cc6b456a00'],
  [md5, 'd41d8cd98f00b204e9800998ecf8427e'],
];

for (const [digestFunction, hash] of emptyHashes) {
  test(`DIG-11: the empty blob under ${digestFunction.name}`, () => {
    assert.equal(digestFunction.hashOf(new Uint8Array()), hash);
    assert.equal(digestFunction.createHasher(0).digest(), hash);
  });
}

const treeHashes: readonly (readonly [number, string])[] = [
  [1025, '36c0998b21839ef74300b9de47d96d1f62323dc81f2b4231e98ce70cd6ffe750'],
  [2048, 'b584996386f01793751c5cf0c39561f51b7e9924b818943b3cb2f6928cea0fa9'],
  [2049, '7318d2029b0392edf4cf109edb5a086b4bdadbb7950f710a1483eb881d9e5d44'],
  [8192, 'fcfdde6fe59178e17708c5ba647919c3b141a44c9d1970782e597e1465266932'],
  [31744, '2cdf7662636c173d4b236f6ea03bf84c65e7f6487b53b2a61c420e26cf8a98c7'],
  [102400, '0668d69e5331840d2f1823d717b7b3f5d1fdc8a09504cddb692b87ff83d50e5f'],
];

for (const [length, hash] of treeHashes) {
  test(`DIG-13: SHA256TREE of ${length} bytes`, () => {
    assert.equal(sha256Tree.hashOf(counted(length)), hash);
  });
}

test('DIG-13: SHA256TREE of at most 1024 bytes is SHA-256', () => {
  for (const length of [1, 63, 64, 1023, 1024]) {
    assert.equal(sha256Tree.hashOf(counted(length)), sha256.hashOf(counted(length)));
  }
});

test('DIG-14: GITSHA1 is what `git hash-object` prints', () => {
  const bytes = Buffer.from('hello\n');
  assert.equal(gitSha1.hashOf(bytes), 'ce013625030ba8dba906f756967f9e9ca394464a');
});

const PAGE = 2 ** 16;
const BLOCK = 2 ** 21;
const vsoHashes: readonly (readonly [number, string])[] = [
  [1, '3da32150b5e69b54e7ad1765d9573bc5e6e05d3b6529556c1b4a436a76a511f400'],
  [PAGE - 1, '4ae1ad6462d75d117a5dafcf98167981371a4b21e1cee49d0b982de2ce01032300'],
  [PAGE, '85840e1cb7cbfd78b464921c54c96f68c19066f20860efa8cce671b40ba5162300'],
  [PAGE + 1, 'd92a37c547f9d5b6b7b791a24f587da8189cca14ebc8511d2482e7448763e2bd00'],
  [BLOCK - 1, '1c3c73f7e829e84a5ba05631195105fb49e033fa23bda6d379b3e46b5d73ef3700'],
  [BLOCK, '6dae3ed3e623aed293297c289c3d20a53083529138b7631e99920ef0d93af3cd00'],
  [BLOCK + 1, '1f9f3c008ea37ecb65bc5fb14a420cebb3ca72a9601ec056709a6b431f91807100'],
  [2 * BLOCK - 1, 'df0e0db15e866592dbfa9bca74e6d547d67789f7eb088839fc1a5cefa862353700'],
  [2 * BLOCK, '5e3a80b2acb2284cd21a08979c49cbb80874e1377940699b07a8abee9175113200'],
];

for (const [length, hash] of vsoHashes) {
  test(`DIG-15: VSO of ${length} bytes is what BuildXL publishes`, () => {
    const bytes = Uint8Array.from({ length }, (_, index) => index);
    assert.equal(vso.hashOf(bytes), hash);
    const hasher = vso.createHasher(length);
    for (let from = 0; from < length; from += 100_003) {
      hasher.update(bytes.subarray(from, from + 100_003));
    }
    assert.equal(hasher.digest(), hash);
  });
}

test('MD5 is what `md5sum` prints', () => {
  assert.equal(md5.hashOf(Buffer.from('abc')), '900150983cd24fb0d6963f7d28e17f72');
});

const blake3Hashes: readonly (readonly [number, string])[] = [
  [1, '2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213'],
  [1024, '42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7'],
  [1025, 'd00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444'],
  [102400, 'bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085'],
];

for (const [length, hash] of blake3Hashes) {
  test(`DIG-17: BLAKE3 of ${length} bytes`, () => {
    assert.equal(blake3.hashOf(counted(length)), hash);
  });
}

for (const digestFunction of allDigestFunctions) {
  test(`${digestFunction.name} does not depend on how the bytes are cut into chunks`, () => {
    const seed = 7;
    const random = seededRandom(seed);
    for (let round = 0; round < 40; round++) {
      const bytes = counted(Math.floor(random() * 9000));
      const hasher = digestFunction.createHasher(bytes.length);
      for (let from = 0; from < bytes.length;) {
        const to = from + Math.floor(random() * 2500);
        hasher.update(bytes.subarray(from, to));
        from = to;
      }
      assert.equal(hasher.digest(), digestFunction.hashOf(bytes), `seed ${seed}, round ${round}`);
    }
  });

  test(`${digestFunction.name} gives lower-case hex of its length`, () => {
    const hash = digestFunction.hashOf(Buffer.from('x'));
    assert.match(hash, /^[0-9a-f]+$/);
    assert.equal(hash.length, digestFunction.hexLength);
  });
}
