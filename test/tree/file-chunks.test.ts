import assert from 'node:assert/strict';
import { appendFile, writeFile } from 'node:fs/promises';
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

test('a small file takes little memory, and one that has grown is read to its end', async (t) => {
  const file = path.join(tempDir(t), 'file');
  await writeFile(file, 'small');
  const chunks = fileChunks(file)[Symbol.asyncIterator]();
  const first = (await chunks.next()).value as Uint8Array;
  assert.equal(Buffer.from(first).toString(), 'small');
  assert.ok(first.buffer.byteLength <= 4096, `${first.buffer.byteLength}`);
  await appendFile(file, Buffer.alloc(10_000));
  let grownBytes = 0;
  for (let next = await chunks.next(); !next.done; next = await chunks.next()) {
    grownBytes += next.value.length;
  }
  assert.equal(grownBytes, 10_000);
});
