import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { collect } from '../../src/base/chunks.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import { Digest } from '../../src/digest/digest.ts';
import { filesIn, openFilesystemBlobs } from '../support/filesystem-blobs.ts';
import { never } from '../support/never.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Lets a process write into `root` until it has acknowledged `count` blobs, then kills it. */
async function writeAndKill(root: string, sizeBytesMax: number, count: number): Promise<Digest[]> {
  const script = new URL('../support/write-until-killed.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [script, root, String(sizeBytesMax)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const acknowledged: Digest[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const [hash = '', size = ''] = line.split('/');
    acknowledged.push(Digest.of(sha256, hash, Number(size)));
    if (acknowledged.length === count) child.kill('SIGKILL');
  }
  await exited;
  assert.equal(child.signalCode, 'SIGKILL');
  return acknowledged;
}

test('CAS-62, CC-01: what was acknowledged is there and right after kill -9, again and again', async (t) => {
  const root = tempDir(t);
  const acknowledged: Digest[] = [];
  for (const count of [1, 30, 90]) {
    acknowledged.push(...(await writeAndKill(root, 2 ** 30, count)));
    const blobs = await openFilesystemBlobs(t, { root });
    const store = blobs.namespace('');
    assert.deepEqual(await store.findMissing(acknowledged, never), []);
    for (const digest of acknowledged) {
      const bytes = await collect(store.read(digest, 0, never));
      assert.ok(Digest.ofBytes(sha256, bytes).equals(digest));
    }
    await blobs.close();
  }
});

test('CAS-62: every blob that is there after kill -9 during evictions is whole', async (t) => {
  const root = tempDir(t);
  const acknowledged = await writeAndKill(root, 2_000_000, 120);
  const blobs = await openFilesystemBlobs(t, { root });
  const store = blobs.namespace('');
  const missing = new Set((await store.findMissing(acknowledged, never)).map(String));
  const present = acknowledged.filter((digest) => !missing.has(String(digest)));
  assert.ok(present.length > 0 && missing.size > 0);
  for (const digest of present) {
    const bytes = await collect(store.read(digest, 0, never));
    assert.ok(Digest.ofBytes(sha256, bytes).equals(digest));
  }
  assert.equal(blobs.stats().corruptBlobs, 0);
  assert.ok(blobs.stats().blobs <= filesIn(root).length);
});
