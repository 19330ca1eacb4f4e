import assert from 'node:assert/strict';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import Database from 'better-sqlite3';
import { SqliteActionCache } from '../../src/action-cache/sqlite-action-cache.ts';
import { Code } from '../../src/base/status.ts';
import { actionCacheStorageContract, resultOf } from '../contract/action-cache.ts';
import { blobOf } from '../support/blob-of.ts';
import { damageTable } from '../support/damage-table.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { never } from '../support/never.ts';
import { tempDir } from '../support/temp-dir.ts';

function open(t: TestContext, file: string, maxSizeBytes = 1_000_000, clock = new FakeClock()) {
  const storage = new SqliteActionCache(file, { maxSizeBytes }, clock);
  let closed = false;
  const close = async () => {
    if (!closed) await storage.close();
    closed = true;
  };
  t.after(close);
  return { storage, cache: storage.namespace('main'), close };
}

const newFile = (t: TestContext) => path.join(tempDir(t), 'actions.db');
const actionOf = (name: string) => blobOf(name).digest;

actionCacheStorageContract('SqliteActionCache', async (t, maxSizeBytes) => {
  const clock = new FakeClock();
  return open(t, newFile(t), maxSizeBytes, clock).storage;
});

test('keeps results when it is closed and opened again', async (t) => {
  const file = newFile(t);
  const first = open(t, file);
  await first.cache.update(actionOf('a'), resultOf('w'), never);
  await first.close();
  const second = open(t, file);
  assert.equal((await second.cache.find(actionOf('a'), never))?.executionMetadata?.worker, 'w');
});

test('AC-24: a result that was used lately stays when room is made, also after a restart', async (t) => {
  const file = newFile(t);
  const clock = new FakeClock();
  const first = open(t, file, 1_000_000, clock);
  for (const name of ['old but used', 'old', 'new']) {
    await first.cache.update(actionOf(name), resultOf('w'), never);
    clock.advance(3_600_000);
  }
  assert.ok(await first.cache.find(actionOf('old but used'), never));
  await first.close();
  const second = open(t, file, 950, clock);
  await second.cache.update(actionOf('newest'), resultOf('w'), never);
  assert.equal(await second.cache.find(actionOf('old'), never), undefined);
  assert.ok(await second.cache.find(actionOf('old but used'), never));
});

test('RAC-11: a result that is damaged on disk is a miss, and its row goes', async (t) => {
  const file = newFile(t);
  const { cache } = open(t, file);
  await cache.update(actionOf('a'), resultOf('w'), never);
  const other = new Database(file);
  t.after(() => other.close());
  other.prepare("update entry set result = x'ffff'").run();
  assert.equal(await cache.find(actionOf('a'), never), undefined);
  assert.equal(other.prepare('select count(*) from entry').pluck().get(), 0);
});

test('a storage that is damaged says so, with its file and what to do', async (t) => {
  const file = newFile(t);
  const first = open(t, file);
  await first.cache.update(actionOf('a'), resultOf('w'), never);
  await first.close();
  damageTable(file, 'entry');
  const { cache } = open(t, file);
  await assert.rejects(cache.update(actionOf('a'), resultOf('w'), never), {
    code: Code.DATA_LOSS,
    message: new RegExp(`^${file} is damaged .*move it away`),
  });
});

test('AC-26: a storage that fails is UNAVAILABLE, not a miss', async (t) => {
  const { cache, close } = open(t, newFile(t));
  await close();
  const unavailable = { code: Code.UNAVAILABLE };
  await assert.rejects(cache.find(actionOf('a'), never), unavailable);
  await assert.rejects(cache.update(actionOf('a'), resultOf('w'), never), unavailable);
});
