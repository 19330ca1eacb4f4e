import path from 'node:path';
import type { TestContext } from 'node:test';
import {
  defaultHostExecutorOptions,
  HostExecutor,
  type HostExecutorOptions,
} from '../../src/executor/host-executor.ts';

export const launcherCommand: readonly [string, ...string[]] = [
  process.execPath,
  path.join(import.meta.dirname, 'launcher.ts'),
];

/** A host executor with a launcher of its own, gone after the test. */
export async function startHostExecutor(
  t: Pick<TestContext, 'after'>,
  options: Partial<HostExecutorOptions> = {},
): Promise<HostExecutor> {
  const executor = await HostExecutor.start({
    ...defaultHostExecutorOptions,
    launcherCommand,
    ...options,
  });
  t.after(() => executor.close());
  return executor;
}
