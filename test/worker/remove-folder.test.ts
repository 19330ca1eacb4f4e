import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { removeFolder } from '../../src/worker/remove-folder.ts';
import { tempDir } from '../support/temp-dir.ts';

test('a folder that is not there is as good as removed', async (t) => {
  await removeFolder(path.join(tempDir(t), 'none'));
});

test('WK-04, N9: removes folders without rights, names that are not UTF-8, and follows no link', async (t) => {
  const parent = tempDir(t);
  const folder = path.join(parent, 'action');
  mkdirSync(path.join(parent, 'kept'));
  writeFileSync(path.join(parent, 'kept', 'file'), 'x', { mode: 0o444 });
  mkdirSync(path.join(folder, 'shut', 'inner'), { recursive: true });
  writeFileSync(Buffer.concat([Buffer.from(`${folder}/shut/`), Buffer.of(0xff)]), '');
  mkdirSync(Buffer.concat([Buffer.from(`${folder}/shut/inner/`), Buffer.of(0xfe)]));
  symlinkSync(path.join(parent, 'kept'), path.join(folder, 'link'));
  spawnSync('chmod', ['000', path.join(folder, 'shut', 'inner'), path.join(folder, 'shut')]);
  await removeFolder(folder);
  assert.deepEqual(readdirSync(parent), ['kept']);
  assert.equal(statSync(path.join(parent, 'kept', 'file')).mode & 0o777, 0o444);
});

test('N9: a name that is not UTF-8 does not pass for a link with the name it would be shown as', async (t) => {
  const parent = tempDir(t);
  const folder = path.join(parent, 'action');
  mkdirSync(path.join(parent, 'kept'));
  writeFileSync(path.join(parent, 'kept', 'file'), 'x');
  mkdirSync(folder);
  mkdirSync(Buffer.concat([Buffer.from(`${folder}/`), Buffer.of(0xff)]));
  symlinkSync(path.join(parent, 'kept'), path.join(folder, '\u{fffd}'));
  await removeFolder(folder);
  assert.deepEqual(readdirSync(parent), ['kept']);
  assert.deepEqual(readdirSync(path.join(parent, 'kept')), ['file']);
});

test('a file and a link in place of the folder are removed themselves', async (t) => {
  const parent = tempDir(t);
  mkdirSync(path.join(parent, 'kept'));
  writeFileSync(path.join(parent, 'file'), '');
  symlinkSync('kept', path.join(parent, 'link'));
  await removeFolder(path.join(parent, 'file'));
  await removeFolder(path.join(parent, 'link'));
  assert.deepEqual(readdirSync(parent), ['kept']);
});

test('WK-04, N9: removes a tree whose paths are longer than the system takes', async (t) => {
  const parent = tempDir(t);
  const folder = path.join(parent, 'action');
  mkdirSync(folder);
  const name = 'x'.repeat(100);
  const script = `i=0; while [ $i -lt 200 ]; do mkdir ${name} && cd ${name} && echo > f; i=$((i+1)); done`;
  assert.equal(spawnSync('sh', ['-c', script], { cwd: folder }).status, 0);
  await removeFolder(folder);
  assert.ok(!existsSync(folder));
  assert.deepEqual(readdirSync(parent), []);
});

test('WK-04: removes a folder of more entries than are read at once', async (t) => {
  const parent = tempDir(t);
  const folder = path.join(parent, 'many');
  mkdirSync(path.join(folder, 'in\nner'), { recursive: true });
  for (let file = 0; file < 1_100; file++) {
    writeFileSync(path.join(folder, 'in\nner', `f${file}`), '');
  }
  await removeFolder(folder);
  assert.deepEqual(readdirSync(parent), []);
});
