import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { PreconditionFailure } from '../../src/proto/google/rpc/error_details.ts';
import { missingBlobs } from '../../src/tree/missing-blobs.ts';
import { blobOf } from '../support/blob-of.ts';

const violationsOf = (contents: readonly string[]) => {
  const error = missingBlobs(contents.map((content) => blobOf(content).digest));
  assert.equal(error.code, Code.FAILED_PRECONDITION);
  assert.equal(error.details.length, 1);
  assert.equal(error.details[0]?.typeUrl, 'type.googleapis.com/google.rpc.PreconditionFailure');
  return PreconditionFailure.decode(error.details[0]?.value ?? Buffer.of()).violations;
};

test('EXE-51, EXE-52: one detail, and in it one MISSING violation for each blob', () => {
  assert.deepEqual(
    violationsOf(['a', 'b', 'a']).map(({ type, subject }) => [type, subject]),
    ['a', 'b'].map((content) => ['MISSING', `blobs/${blobOf(content).digest.hash}/1`]),
  );
});

test('EXE-53: at most a thousand violations', () => {
  assert.equal(violationsOf(Array.from({ length: 1_500 }, (_, n) => `${n}`)).length, 1_000);
});
