import { createHash } from 'node:crypto';
import { DigestFunction_Value } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { DigestFunction } from './digest-function.ts';

const nodeHash = (algorithm: string) => () => {
  const hash = createHash(algorithm);
  return {
    update: (chunk: Uint8Array) => void hash.update(chunk),
    digest: () => hash.digest('hex'),
  };
};

export const sha256: DigestFunction = {
  name: 'SHA256',
  value: DigestFunction_Value.SHA256,
  hexLength: 64,
  segment: undefined,
  createHasher: nodeHash('sha256'),
};

export const sha384: DigestFunction = {
  name: 'SHA384',
  value: DigestFunction_Value.SHA384,
  hexLength: 96,
  segment: undefined,
  createHasher: nodeHash('sha384'),
};

export const sha512: DigestFunction = {
  name: 'SHA512',
  value: DigestFunction_Value.SHA512,
  hexLength: 128,
  segment: undefined,
  createHasher: nodeHash('sha512'),
};

export const sha1: DigestFunction = {
  name: 'SHA1',
  value: DigestFunction_Value.SHA1,
  hexLength: 40,
  segment: undefined,
  createHasher: nodeHash('sha1'),
};

/** Every digest function this program can compute. */
export const allDigestFunctions: readonly DigestFunction[] = [sha256, sha384, sha512, sha1];
