import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { Code as CodeOfTheApi } from '../../src/proto/google/rpc/code.ts';

test('ERR-06: the codes are those of google.rpc.Code, which are those of gRPC', () => {
  for (const [name, value] of Object.entries(Code)) {
    assert.equal(CodeOfTheApi[name as keyof typeof Code], value, name);
  }
  assert.equal(Object.keys(Code).length, 17);
});
