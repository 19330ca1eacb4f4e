import { endLeft } from '../executor/command-cgroup.ts';
import type { Owner } from '../executor/executor.ts';
import {
  defaultHostExecutorOptions,
  HostExecutor,
  type HostExecutorOptions,
} from '../executor/host-executor.ts';
import type { Promised } from '../executor/promises.ts';
import type { CommandLimits } from './command-limits.ts';
import { usersInWords } from './slot-users.ts';

const never = new AbortController().signal;

/** Starts an executor for each user, with what `options` leaves out at its default; all of them or none. */
export async function startLaunchers(
  {
    cgroupOf,
    ...options
  }: Partial<HostExecutorOptions> &
    Pick<HostExecutorOptions, 'launcherCommand'> &
    Pick<CommandLimits, 'cgroupOf'>,
  users: readonly (Owner | undefined)[],
  closing: AsyncDisposableStack,
  firstSlot = 0,
): Promise<HostExecutor[]> {
  const starting = users.map(async (owner, index) => {
    const cgroup = cgroupOf(firstSlot + index);
    if (cgroup) await endLeft(cgroup, never);
    const all = { ...defaultHostExecutorOptions, ...options, owner, cgroup };
    const started = await HostExecutor.start(all);
    closing.defer(() => started.close());
    return started;
  });
  await Promise.allSettled(starting);
  return Promise.all(starting);
}

/** An isolation in one line, for people. */
export function described(
  name: string,
  users: readonly (Owner | undefined)[],
  promises: readonly Promised[],
  { limited }: Pick<CommandLimits, 'limited'>,
): string {
  const kept = promises.map(({ what }) => what).join(', ');
  return `${name}, as ${usersInWords(users)}; ${kept}; ${limited}`;
}
