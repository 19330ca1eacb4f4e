import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { hashPath } from '../../src/client/hash-path.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import { blobOf } from '../support/blob-of.ts';
import { never } from '../support/never.ts';
import { tempDir } from '../support/temp-dir.ts';

test('a link that is named is followed; one inside of a folder is kept', async (t) => {
  const folder = tempDir(t);
  const at = (name: string) => path.join(folder, name);
  writeFileSync(at('file'), 'hello');
  symlinkSync('file', at('link'));
  const named = await hashPath(at('link'), sha256, never);
  assert.equal(named.kind, 'file');
  assert.ok(named.digest.equals(blobOf('hello').digest));
  mkdirSync(at('folder'));
  symlinkSync('../file', at('folder/link'));
  symlinkSync('folder', at('way'));
  const inside = await hashPath(at('way'), sha256, never);
  assert.equal(inside.kind, 'directory');
  assert.equal(inside.sources.length, 1, 'the Directory message alone');
});

test('nothing, and what no blob can hold, are told by path', async (t) => {
  const folder = tempDir(t);
  const at = (name: string) => path.join(folder, name);
  await assert.rejects(hashPath(at('absent'), sha256, never), { code: Code.NOT_FOUND });
  writeFileSync(at('file'), '');
  await assert.rejects(hashPath(at('file/x'), sha256, never), { code: Code.NOT_FOUND });
  execFileSync('mkfifo', [at('fifo')]);
  await assert.rejects(hashPath(at('fifo'), sha256, never), {
    code: Code.INVALID_ARGUMENT,
    message: /fifo is not a regular file/,
  });
});
