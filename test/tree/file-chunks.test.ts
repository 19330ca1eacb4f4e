import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { collect } from '../../src/base/chunks.ts';
import { fileChunks } from '../../src/tree/file-chunks.ts';
import { randomBytes } from '../support/seeded-random.ts';
import { tempDir } from '../support/temp-dir.ts';

test('a file can be read from any offset, and again', async (t) => {
  const file = path.join(tempDir(t), 'file');
  const bytes = Buffer.from(randomBytes(700_000, 1));
  await writeFile(file, bytes);
  const chunks = fileChunks(file);
  for (const offset of [0, 1, 300_000, 699_999, 700_000, 0]) {
    assert.ok(bytes.subarray(offset).equals(await collect(chunks.from(offset))), `${offset}`);
  }
  assert.ok(bytes.equals(await collect(chunks)));
});
