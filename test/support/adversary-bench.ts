import type { TestContext } from 'node:test';
import { comesTrue } from './appears.ts';
import type { HostExecutorOptions } from '../../src/executor/host-executor.ts';
import { messageQueuesFolder } from '../../src/executor/user-belongings.ts';
import { cgroupSkip, testCgroup } from './cgroup.ts';
import { executorBench } from './executor-bench.ts';
import { findSandbox, sandboxSkip } from './sandbox.ts';

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
  const options: Partial<HostExecutorOptions> = {
    owner: { uid, gid: uid, isPrivate: true },
    graceMs: 50,
    sandbox: isSandboxed ? await findSandbox(t) : undefined,
    cgroup: isCounted ? testCgroup({ memoryBytesMax }) : undefined,
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
    cgroup: options.cgroup,
    /** Resolves when the command has left all it can. */
    ready: () => comesTrue(bench.folder, isReady),
  };
}
