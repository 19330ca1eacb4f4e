import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { dlopenBytes, loadNativeAddon } from '../../src/base/native-addon.ts';
import { tempDir } from '../support/temp-dir.ts';

/** An addon that npm has put here for this platform. */
function addonBytes(t: TestContext): Buffer | undefined {
  const name = `@napi-rs/blake-hash-${process.platform}-${process.arch}-gnu`;
  try {
    return readFileSync(createRequire(import.meta.url).resolve(name));
  } catch {
    t.skip(`${name} is not installed`);
    return undefined;
  }
}

test('runs from the sources load the package', () => {
  assert.ok('blake3' in (loadNativeAddon('blake3.node', '@napi-rs/blake-hash') as object));
});

test('an addon is kept in a folder of this user alone, and found there again', (t) => {
  const bytes = addonBytes(t);
  if (!bytes) return;
  const folder = path.join(tempDir(t), 'native');
  assert.ok('blake3' in dlopenBytes('blake3.node', bytes, folder));
  assert.equal(statSync(folder).mode & 0o777, 0o700);
  const [file = '', ...others] = readdirSync(folder);
  assert.deepEqual(others, []);
  const before = statSync(path.join(folder, file)).ino;
  assert.ok('blake3' in dlopenBytes('blake3.node', bytes, folder));
  assert.equal(statSync(path.join(folder, file)).ino, before);
});

test('a kept addon that is not whole is written again', (t) => {
  const bytes = addonBytes(t);
  if (!bytes) return;
  const folder = path.join(tempDir(t), 'native');
  dlopenBytes('blake3.node', bytes, folder);
  const [kept = ''] = readdirSync(folder);
  // Under another name: cutting a file that this process has mapped would end the process.
  const broken = path.join(folder, kept.replace('blake3', 'later'));
  writeFileSync(broken, bytes.subarray(0, 100));
  assert.ok('blake3' in dlopenBytes('later.node', bytes, folder));
  assert.ok(readFileSync(broken).equals(bytes));
});

test('an addon is loaded where it cannot be kept, and nothing is left there', (t) => {
  const bytes = addonBytes(t);
  if (!bytes) return;
  const folder = path.join(tempDir(t), 'native');
  dlopenBytes('blake3.node', bytes, folder);
  const [kept = ''] = readdirSync(folder);
  const other = kept.replace('blake3', 'other');
  mkdirSync(path.join(folder, other));
  assert.ok('blake3' in dlopenBytes('other.node', bytes, folder));
  assert.deepEqual(readdirSync(folder).toSorted(), [kept, other].toSorted());
});

test('an addon is loaded even where no folder can be made', (t) => {
  const bytes = addonBytes(t);
  if (!bytes) return;
  const notAFolder = path.join(tempDir(t), 'file');
  writeFileSync(notAFolder, '');
  assert.ok('blake3' in dlopenBytes('blake3.node', bytes, path.join(notAFolder, 'native')));
});
