import { createHash, hash } from 'node:crypto';
import { DigestFunction_Value } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { blake3HashOf, createBlake3Hasher } from './blake3.ts';
import type { DigestFunction } from './digest-function.ts';
import { createGitSha1Hasher } from './git-sha1.ts';
import { Sha256TreeHasher } from './sha256-tree.ts';
import { VsoHasher } from './vso.ts';

export const sha256: DigestFunction = {
  name: 'SHA256',
  value: DigestFunction_Value.SHA256,
  hexLength: 64,
  segment: undefined,
  ...fromNode('sha256'),
};

export const sha384: DigestFunction = {
  name: 'SHA384',
  value: DigestFunction_Value.SHA384,
  hexLength: 96,
  segment: undefined,
  ...fromNode('sha384'),
};

export const sha512: DigestFunction = {
  name: 'SHA512',
  value: DigestFunction_Value.SHA512,
  hexLength: 128,
  segment: undefined,
  ...fromNode('sha512'),
};

export const sha1: DigestFunction = {
  name: 'SHA1',
  value: DigestFunction_Value.SHA1,
  hexLength: 40,
  segment: undefined,
  ...fromNode('sha1'),
};

/** Plain, unkeyed BLAKE3 of 256 bits (DIG-17). */
export const blake3: DigestFunction = {
  name: 'BLAKE3',
  value: DigestFunction_Value.BLAKE3,
  hexLength: 64,
  segment: 'blake3',
  createHasher: createBlake3Hasher,
  hashOf: blake3HashOf,
};

export const sha256Tree: DigestFunction = {
  name: 'SHA256TREE',
  value: DigestFunction_Value.SHA256TREE,
  hexLength: 64,
  segment: 'sha256tree',
  ...fromHasher(() => new Sha256TreeHasher()),
};

export const gitSha1: DigestFunction = {
  name: 'GITSHA1',
  value: DigestFunction_Value.GITSHA1,
  hexLength: 40,
  segment: 'gitsha1',
  ...fromHasher(createGitSha1Hasher),
};

export const vso: DigestFunction = {
  name: 'VSO',
  value: DigestFunction_Value.VSO,
  hexLength: 66,
  segment: undefined,
  ...fromHasher(() => new VsoHasher()),
};

/** For stores that have nothing else: whoever may upload can make two blobs of one name. */
export const md5: DigestFunction = {
  name: 'MD5',
  value: DigestFunction_Value.MD5,
  hexLength: 32,
  segment: undefined,
  ...fromNode('md5'),
};

/**
 * Every digest function that this program can compute: all of the API but MURMUR3, whose seed and byte
 * order it leaves open, and which would make 32 characters ambiguous (DIG-06, DIG-16).
 */
export const allDigestFunctions: readonly DigestFunction[] = [
  sha256,
  sha384,
  sha512,
  sha1,
  blake3,
  sha256Tree,
  gitSha1,
  vso,
  md5,
];

type Computation = Pick<DigestFunction, 'createHasher' | 'hashOf'>;

function fromNode(algorithm: string): Computation {
  return {
    createHasher: () => {
      const hasher = createHash(algorithm);
      return {
        update: (chunk) => void hasher.update(chunk),
        digest: () => hasher.digest('hex'),
      };
    },
    hashOf: (bytes) => hash(algorithm, bytes, 'hex'),
  };
}

function fromHasher(createHasher: DigestFunction['createHasher']): Computation {
  return {
    createHasher,
    hashOf: (bytes) => {
      const hasher = createHasher(bytes.length);
      hasher.update(bytes);
      return hasher.digest();
    },
  };
}
