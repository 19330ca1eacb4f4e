import path from 'node:path';
import type { TestContext } from 'node:test';
import { comesTrue } from './appears.ts';
import type { HostExecutorOptions } from '../../src/executor/host-executor.ts';
import { restrictHost } from '../../src/executor/restrict-host.ts';
import { messageQueuesFolder } from '../../src/executor/shared-folders.ts';
import { cgroupSkip, testCgroup } from './cgroup.ts';
import { executorBench } from './executor-bench.ts';
import { launcherCommand } from './host-executor.ts';
import { findSandbox, sandboxSkip } from './sandbox.ts';
import { tempDir } from './temp-dir.ts';

export interface Level {
  readonly name: string;
  readonly skip: string | false;
  readonly isSandboxed: boolean;
  readonly isCounted: boolean;
}

const counted = { isCounted: true, skip: cgroupSkip };
const memoryBytesMax = 64 * 2 ** 20;

export const levels: readonly Level[] = [
  { name: 'on the host in a cgroup', isSandboxed: false, ...counted },
  { name: 'on the host', isSandboxed: false, isCounted: false, skip: false },
  {
    name: 'in a sandbox in a cgroup',
    isSandboxed: true,
    isCounted: true,
    skip: cgroupSkip || sandboxSkip,
  },
  { name: 'in a sandbox', isSandboxed: true, isCounted: false, skip: sandboxSkip },
];

/** A bench of a level, as a worker that is root has it: with a user that is nobody else's. */
export async function levelBench(
  t: Pick<TestContext, 'after'>,
  { isSandboxed, isCounted }: Level,
  uid: number,
) {
  const folder = tempDir(t);
  const cgroup = isCounted ? testCgroup({ memoryBytesMax }) : undefined;
  const parents = (cgroup?.places ?? []).map((place) => path.dirname(place.folder));
  const restricted = restrictHost({ folder, ownFolders: [folder, ...parents] });
  const restrictedLauncher = [...restricted.command, ...launcherCommand] as [string, ...string[]];
  const options: Partial<HostExecutorOptions> = {
    owner: { uid, gid: uid, isPrivate: true },
    graceMs: 50,
    sandbox: isSandboxed ? await findSandbox(t) : undefined,
    cgroup,
    launcherCommand: isSandboxed ? launcherCommand : restrictedLauncher,
    resourceLimits: messageQueuesFolder() === undefined ? ['--msgqueue=0'] : [],
  };
  const bench = await executorBench(t, options);
  const isReady = () => {
    try {
      return bench.stdout().endsWith('ready\n');
    } catch {
      // Its output is not there yet.
      return false;
    }
  };
  return {
    ...bench,
    cgroup,
    isRestricted: restricted.missing === undefined,
    /** Resolves when the command has left all it can. */
    ready: () => comesTrue(bench.folder, isReady),
  };
}
