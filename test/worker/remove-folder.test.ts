import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
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

test('WK-04: as root, follows no link that another user puts in the place of a folder meanwhile', async (t) => {
  if (process.getuid?.() !== 0) return t.skip('needs root to be another user');
  const parent = tempDir(t);
  const kept = path.join(parent, 'kept');
  mkdirSync(kept, { mode: 0o700 });
  writeFileSync(path.join(kept, 'file'), 'x');
  const open = path.join(parent, 'action', 'open');
  mkdirSync(open, { recursive: true });
  writeFileSync(path.join(open, 'first'), '');
  for (let index = 0; index < 300; index++) mkdirSync(path.join(open, `x${index}`));
  chmodSync(open, 0o777);
  chownSync(open, 59_001, 59_001);
  // It is in the folder already, and waits for what is removed before other folders.
  const swap = `until [ ! -e first ]; do :; done
    i=299; while [ $i -ge 0 ]; do mv x$i z$i && ln -s '${kept}' x$i || exit; i=$((i-1)); done`;
  const swapping = spawn('/bin/sh', ['-c', `echo ready; ${swap}`], {
    cwd: open,
    uid: 59_002,
    gid: 59_002,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await once(swapping.stdout, 'data');
  swapping.stdout.resume();
  const ended = once(swapping, 'exit');
  await removeFolder(path.join(parent, 'action'));
  await ended;
  assert.deepEqual(readdirSync(parent), ['kept']);
  assert.deepEqual(readdirSync(kept), ['file']);
  return undefined;
});
