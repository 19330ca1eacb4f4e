import path from 'node:path';
import type { Log } from '../base/log.ts';
import { makeFolder } from '../base/make-folder.ts';
import type { WorkerConfig } from '../config/worker-config.ts';
import type { Owner } from '../executor/executor.ts';
import { hostPromises, hostUserPromises } from '../executor/promises.ts';
import { restrictHost } from '../executor/restrict-host.ts';
import { messageQueuesFolder } from '../executor/shared-folders.ts';
import { actionsFolder } from './actions-folder.ts';
import { commandLimits } from './command-limits.ts';
import { launcherCommand } from './launcher-command.ts';
import { proofOf, prove } from './prove-isolation.ts';
import { described, startLaunchers } from './start-launchers.ts';
import type { LevelledExecutors } from './started-executors.ts';

/** Starts commands as processes of this machine. Fails with FAILED_PRECONDITION when a promise is not kept. */
export async function startOnHost(
  config: WorkerConfig,
  users: readonly (Owner | undefined)[],
  log: Log,
  closing: AsyncDisposableStack,
): Promise<LevelledExecutors> {
  const limits = commandLimits(config);
  // Who has an account has a home, and may have files anywhere.
  const isConfined = users.every((user) => user?.isPrivate === true);
  const folder = path.join(config.rootPath, 'host');
  makeFolder(folder, 0o711);
  const restricted = restrictHost({
    folder,
    ownFolders: isConfined ? [actionsFolder(config.rootPath), ...limits.cgroupFolders] : undefined,
  });
  const command = [...restricted.command, ...launcherCommand()] as [string, ...string[]];
  // Those that nobody sees could not be removed either; a sandbox has its own.
  const noQueues = users[0] && messageQueuesFolder() === undefined ? ['--msgqueue=0'] : [];
  const resourceLimits = [...limits.resourceLimits, ...noQueues];
  const options = { ...limits, resourceLimits, launcherCommand: command };
  const executors = await startLaunchers(options, users, closing);
  const promises = [...(users[0] ? hostUserPromises : hostPromises), ...restricted.promises];
  const [tested] = executors;
  const help = 'Run the worker on Linux, as root or as an ordinary user';
  const proofs = [proofOf('host', promises, help, restricted)];
  if (tested) await prove(tested, proofs, config);
  const isolation = described('host', users, promises, limits);
  log.info('executor', { isolation });
  if (!users[0]) log.warn('commands run as the worker does, and can do what it can');
  if (restricted.missing) {
    const { what, why } = restricted.missing;
    log.warn(`${what} that commands make may outlive them`, { why });
  }
  if (process.pid === 1) {
    log.warn('what commands leave behind is ended but stays in the list of processes', {
      why: 'the worker is process 1 here, which has to wait for orphans, and does not',
      help: 'start it below an init, as docker run --init does',
    });
  }
  return { executors, isolation, proofs, level: 'host' };
}
