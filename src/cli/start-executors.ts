import { readdirSync } from 'node:fs';
import path from 'node:path';
import type { NewId } from '../base/id.ts';
import type { Log } from '../base/log.ts';
import { makeFolder } from '../base/make-folder.ts';
import { Code, StatusError } from '../base/status.ts';
import type { Surroundings } from '../config/surroundings.ts';
import type { WorkerConfig } from '../config/worker-config.ts';
import { endStrays } from '../executor/end-strays.ts';
import type { Owner } from '../executor/executor.ts';
import { defaultPath, findExecutable } from '../executor/find-executable.ts';
import { actionsFolder } from './actions-folder.ts';
import { cleanUsers } from './clean-users.ts';
import { SystemError } from './exit-codes.ts';
import { refuseUnreachable, usersInWords, usersOf } from './slot-users.ts';
import { startOnHost } from './start-on-host.ts';
import { startSandboxed } from './start-sandboxed.ts';
import type { LevelledExecutors } from './started-executors.ts';

export interface WorkerIdentity {
  readonly workerId: string;
  readonly newId: NewId;
}

/**
 * Starts what runs the commands of each slot, and proves by a first command that it keeps them from what
 * it shall. Fails with a SystemError that says what is missing: nothing weaker than what is configured is
 * taken, but with "auto" (DK-16).
 */
export async function startExecutors(
  config: WorkerConfig,
  worker: WorkerIdentity,
  surroundings: Pick<Surroundings, 'environment'>,
  log: Log,
  closing: AsyncDisposableStack,
): Promise<LevelledExecutors> {
  const { executor, rootPath } = config;
  const users = await usersOf(config, closing);
  makeFolder(actionsFolder(rootPath), 0o711);
  await endLeftCommands(rootPath, users);
  if (executor.type === 'docker') return startInContainers(config, users, worker, log, closing);
  for (const utility of ['prlimit', 'setpriv']) refuseWithout(utility);
  if (users[0]) refuseUnreachable(rootPath, users[0].uid);
  if (executor.type !== 'host') {
    try {
      return await startSandboxed(config, users, surroundings, log, closing);
    } catch (thrown) {
      const { code, message } = StatusError.from(thrown);
      if (code !== Code.FAILED_PRECONDITION) throw thrown;
      if (executor.type === 'sandbox') throw new SystemError(message, { cause: thrown });
      log.warn('commands run without a sandbox', { why: message });
    }
  }
  try {
    return await startOnHost(config, users, log, closing);
  } catch (thrown) {
    const { code, message } = StatusError.from(thrown);
    if (code !== Code.FAILED_PRECONDITION) throw thrown;
    throw new SystemError(message, { cause: thrown });
  }
}

/** A worker that was killed with its launchers left commands, and nobody to end them. */
async function endLeftCommands(
  rootPath: string,
  users: readonly (Owner | undefined)[],
): Promise<void> {
  const actions = actionsFolder(rootPath);
  try {
    await endStrays(readdirSync(actions).map((name) => path.join(actions, name)));
    await cleanUsers(rootPath, users);
  } catch (thrown) {
    throw new SystemError(StatusError.from(thrown).message, { cause: thrown });
  }
}

async function startInContainers(
  config: WorkerConfig,
  users: readonly (Owner | undefined)[],
  worker: WorkerIdentity,
  log: Log,
  closing: AsyncDisposableStack,
): Promise<LevelledExecutors> {
  // Its packages take time to load, which other workers need not spend.
  const { isGvisor, startDocker } = await import('./start-docker.ts');
  try {
    const started = await startDocker(config, users, { ...worker, log }, closing);
    const isolation = `${started.isolation}, as ${usersInWords(users)}`;
    log.info('executor', { isolation });
    const level = isGvisor(config.executor.docker.runtime) ? 'gvisor' : 'docker';
    return { ...started, isolation, level };
  } catch (thrown) {
    const { code, message } = StatusError.from(thrown);
    if (code === Code.CANCELLED) throw thrown;
    throw new SystemError(message, { cause: thrown });
  }
}

function refuseWithout(utility: string): void {
  try {
    findExecutable(utility, defaultPath, '/');
  } catch (thrown) {
    const message = `${utility} is missing, which commands are started with: install util-linux`;
    throw new SystemError(message, { cause: thrown });
  }
}
