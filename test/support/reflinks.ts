import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { inReverse } from './in-reverse.ts';
import { tempDir } from './temp-dir.ts';

/** mkfs.xfs makes none that is smaller. */
const sizeBytes = 400 * 2 ** 20;

/** Why there is no file system with reflinks to test on; false when there is. */
export const reflinkSkip: string | false = whyNot();

function whyNot(): string | false {
  if (process.getuid?.() !== 0) return 'needs root to mount a file system with reflinks';
  if (!existsSync('/usr/sbin/mkfs.xfs')) return 'needs mkfs.xfs: apt install xfsprogs';
  const { status } = spawnSync('losetup', ['--find'], { stdio: 'ignore' });
  if (status !== 0) return 'needs a loop device';
  const mounts = spawnSync('unshare', ['--mount', 'true'], { stdio: 'ignore' });
  return mounts.status === 0 ? false : 'needs the right to mount';
}

/** A folder on an XFS of the test's own, whose files can share what is stored; gone after the test. */
export function folderWithReflinks(context: Pick<TestContext, 'after'>): string {
  const t = inReverse(context);
  const folder = tempDir(t);
  const image = path.join(folder, 'image');
  const mounted = path.join(folder, 'xfs');
  writeFileSync(image, '');
  truncateSync(image, sizeBytes);
  execFileSync('mkfs.xfs', ['-q', '-m', 'reflink=1', image]);
  mkdirSync(mounted);
  execFileSync('mount', ['-o', 'loop', image, mounted]);
  t.after(() => execFileSync('umount', ['--lazy', mounted]));
  return mounted;
}
