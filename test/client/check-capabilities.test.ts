import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkCapabilities, knowsOutputPaths } from '../../src/client/check-capabilities.ts';
import { blake3, sha256 } from '../../src/digest/digest-functions.ts';
import {
  DigestFunction_Value,
  ServerCapabilities,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';

const good = {
  lowApiVersion: { major: 2 },
  highApiVersion: { major: 2, minor: 11 },
  cacheCapabilities: {
    digestFunctions: [DigestFunction_Value.SHA256, DigestFunction_Value.BLAKE3],
  },
  executionCapabilities: { execEnabled: true, digestFunction: DigestFunction_Value.SHA256 },
};
const needs = { digestFunction: sha256, execution: true };

test('CLI-01: a server that fits is accepted', () => {
  checkCapabilities(ServerCapabilities.fromPartial(good), needs);
});

for (const [what, server, wanted, message] of [
  ['only version 3', { lowApiVersion: { major: 3 }, highApiVersion: { major: 3 } }, {}, /3\.0/],
  ['only version 1', { lowApiVersion: { major: 1 }, highApiVersion: { major: 1 } }, {}, /1\.0/],
  ['another digest function', { cacheCapabilities: { digestFunctions: [2] } }, {}, /SHA256.*SHA1/],
  ['no execution', { executionCapabilities: undefined }, {}, /cache only/],
  ['no actions with BLAKE3', {}, { digestFunction: blake3 }, /BLAKE3 but with SHA256/],
] as const) {
  test(`CLI-01: a server with ${what} is refused with that reason`, () => {
    const capabilities = ServerCapabilities.fromPartial({ ...good, ...server } as typeof good);
    assert.throws(() => checkCapabilities(capabilities, { ...needs, ...wanted }), { message });
  });
}

test('a cache is enough for who runs no actions', () => {
  const cache = ServerCapabilities.fromPartial({ ...good, executionCapabilities: undefined });
  checkCapabilities(cache, { ...needs, execution: false });
});

const knows = (major: number, minor: number) =>
  knowsOutputPaths(ServerCapabilities.fromPartial({ highApiVersion: { major, minor } }));

test('CLI-06: output_paths came with version 2.1', () => {
  assert.deepEqual([knows(2, 0), knows(2, 1), knows(3, 0)], [false, true, true]);
});
