import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { after, describe, it, type TestContext } from 'node:test';
import { inputTime } from '../../src/base/input-time.ts';
import { claimUsers } from '../../src/executor/claim-users.ts';
import { removeAllOf, removeBelongings } from '../../src/executor/user-belongings.ts';
import { becomes } from '../support/appears.ts';
import { tempDir } from '../support/temp-dir.ts';

const skip = process.getuid?.() !== 0 && 'needs root to run commands as users of their own';

// A user of no other test, so that all that is the user's is of this one.
const closing = new AsyncDisposableStack();
const [user] = skip === false ? await claimUsers(58_500, 1, false, closing) : [];
const uid = user?.uid ?? 0;
const owner = { uid, gid: uid, isPrivate: true };
after(() => closing.disposeAsync());

/** Runs a shell as the user, in a folder. */
function asUser(script: string, cwd: string): void {
  const { status, stderr } = spawnSync('/bin/sh', ['-c', script], { cwd, uid, gid: uid });
  assert.equal(status, 0, String(stderr));
}

/** In a folder that everybody may write to. */
function sharedFolder(t: TestContext, mode: number): string {
  const folder = mkdtempSync('/var/tmp/expbuild-test-');
  chmodSync(folder, mode);
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

describe('what a user left', { skip, timeout: 60_000 }, () => {
  for (const mode of [0o1777, 0o777, 0o733]) {
    it(`WK-01: is removed from folders of others with mode ${mode.toString(8)}`, async (t) => {
      const folder = sharedFolder(t, mode);
      const script =
        'umask 077; mkdir -p made/inner; touch made/inner/file $(printf "\\377") "a b" ./-rf; chmod 0 made/inner; ' +
        'ln -s / link; mkfifo pipe';
      asUser(script, folder);
      await removeBelongings(owner);
      assert.deepEqual(readdirSync(folder), []);
      // It was there before, and is a folder of another one's.
      mkdirSync(path.join(folder, 'other'));
      chmodSync(path.join(folder, 'other'), mode);
      await removeBelongings(owner);
      asUser('echo >other/file', folder);
      await removeBelongings(owner);
      assert.deepEqual(readdirSync(path.join(folder, 'other')), []);
    });
  }

  it('WK-01: is removed, and not what a link in it leads to', async (t) => {
    const elsewhere = tempDir(t);
    const file = path.join(elsewhere, 'file');
    writeFileSync(file, '', { mode: 0o400 });
    chownSync(file, uid, uid);
    const link = path.join(sharedFolder(t, 0o1777), 'link');
    symlinkSync(elsewhere, link);
    spawnSync('chown', ['-h', `${uid}`, link]);
    await removeAllOf(owner);
    assert.equal(lstatSync(link, { throwIfNoEntry: false }), undefined);
    assert.equal(lstatSync(file).mode & 0o777, 0o400);
  });

  it('WK-01: is removed if it is an input, which is still root’s, unless another that runs may have moved it', async (t) => {
    const folder = sharedFolder(t, 0o1777);
    const cached = path.join(sharedFolder(t, 0o700), 'cached');
    const others = await claimUsers(58_500, 1, false, closing);
    const uidOfOther = others[0]?.uid ?? 0;
    const options = { uid: uidOfOther, gid: uidOfOther, stdio: 'ignore' } as const;
    const other = spawn('/bin/sleep', ['1000'], options);
    const ended = once(other, 'exit');
    await once(other, 'spawn');
    const input = (name: string, time = inputTime) => {
      const place = path.join(folder, name);
      writeFileSync(place, '', { mode: 0o444 });
      utimesSync(place, time, time);
      return place;
    };
    linkSync(input('moved'), cached);
    input('empty');
    input('roots', new Date());
    await removeBelongings(owner);
    assert.equal(readdirSync(folder).length, 3);
    other.kill('SIGKILL');
    await ended;
    // Commands of other tests may run as well.
    const look = async () => {
      await removeBelongings(owner);
      return readdirSync(folder);
    };
    assert.deepEqual(await becomes(look, (names) => names.length === 1), ['roots']);
    assert.equal(lstatSync(cached).nlink, 1);
  });
});
