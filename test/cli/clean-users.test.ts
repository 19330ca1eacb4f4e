import assert from 'node:assert/strict';
import { chownSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { test } from 'node:test';
import { cleanUsers } from '../../src/cli/clean-users.ts';
import { claimUsers } from '../../src/executor/claim-users.ts';
import { tempDir } from '../support/temp-dir.ts';

const ownerOf = ({ uid }: { readonly uid: number }) => ({ uid, gid: uid, isPrivate: true });

test(
  'WK-05: a worker removes what users left that one before it had in its folder',
  { skip: process.getuid?.() !== 0 && 'needs root to run commands as users of their own' },
  async (t) => {
    const folder = tempDir(t);
    await using closing = new AsyncDisposableStack();
    const [first, second] = await claimUsers(58_600, 2, false, closing);
    assert.ok(first && second);
    const leftBy = (uid: number) => {
      const left = mkdtempSync('/var/tmp/expbuild-test-');
      t.after(() => rmSync(left, { recursive: true, force: true }));
      chownSync(left, uid, uid);
      return left;
    };
    await cleanUsers(folder, [ownerOf(first)]);
    const left = leftBy(first.uid);
    // It is still another worker's.
    await cleanUsers(tempDir(t), [ownerOf(second)]);
    assert.ok(existsSync(left));
    await closing.disposeAsync();
    await using later = new AsyncDisposableStack();
    await claimUsers(second.uid, 1, true, later);
    const own = leftBy(second.uid);
    await cleanUsers(folder, [ownerOf(second), undefined]);
    assert.ok(!existsSync(left) && !existsSync(own));
  },
);
