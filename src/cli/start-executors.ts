import { rmSync, statSync } from 'node:fs';
import path from 'node:path';
import type { Log } from '../base/log.ts';
import { Code, StatusError } from '../base/status.ts';
import type { Surroundings } from '../config/surroundings.ts';
import type { ExecutorConfig, WorkerConfig } from '../config/worker-config.ts';
import type { Owner } from '../executor/executor.ts';
import {
  defaultHostExecutorOptions,
  HostExecutor,
  type HostExecutorOptions,
} from '../executor/host-executor.ts';
import { provePromises, sandboxPromises } from '../executor/promises.ts';
import { Sandbox } from '../executor/sandbox.ts';
import { SystemError } from './exit-codes.ts';
import { launcherCommand } from './launcher-command.ts';

export interface StartedExecutors {
  /** One for each slot. */
  readonly executors: readonly HostExecutor[];
  /** What commands are kept from, in one line, as far as a first command proved it. */
  readonly isolation: string;
}

const never = new AbortController().signal;

/**
 * Starts what runs the commands of each slot, and proves by a first command that it keeps them from what
 * it shall. Fails with a SystemError that says what is missing: nothing weaker than what is configured is
 * taken, but with "auto" (DK-16).
 */
export async function startExecutors(
  config: WorkerConfig,
  surroundings: Pick<Surroundings, 'environment'>,
  log: Log,
  closing: AsyncDisposableStack,
): Promise<StartedExecutors> {
  const { executor, rootPath, slots } = config;
  if (executor.users) refuseUnreachable(rootPath, executor.users.firstUid);
  const users = Array.from({ length: slots }, (_, slot) => ownerOf(executor, slot));
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
  const executors = await startEach({ graceMs: executor.killGraceMs }, users, closing);
  const isolation = `host: processes of this machine, as ${describe(users)}`;
  log.info('executor', { isolation });
  return { executors, isolation };
}

async function startSandboxed(
  { executor, rootPath }: WorkerConfig,
  users: readonly (Owner | undefined)[],
  { environment }: Pick<Surroundings, 'environment'>,
  log: Log,
  closing: AsyncDisposableStack,
): Promise<StartedExecutors> {
  const sandbox = await Sandbox.find({
    searchPath: environment['PATH'] ?? '',
    folder: path.join(rootPath, 'sandbox'),
    readonlyPaths: executor.readonlyPaths,
    tmpBytesMax: executor.tmpMaxSizeBytes,
  });
  const options = { graceMs: executor.killGraceMs, sandbox };
  const [first] = await startEach(options, users.slice(0, 1), closing);
  if (first) await prove(first, path.join(rootPath, 'self-test'));
  const others = await startEach(options, users.slice(1), closing);
  const promises = sandboxPromises.map(({ what }) => what).join(', ');
  const isolation = `sandbox: bubblewrap ${sandbox.version}, as ${describe(users)}; ${promises}`;
  log.info('executor', { isolation });
  return { executors: first ? [first, ...others] : [], isolation };
}

async function prove(executor: HostExecutor, folder: string): Promise<void> {
  rmSync(folder, { recursive: true, force: true });
  try {
    await provePromises(sandboxPromises, executor, folder, never);
  } catch (thrown) {
    const { code, message } = StatusError.from(thrown);
    throw new StatusError(
      code,
      `the executor "sandbox" cannot be used: ${message}. Allow user namespaces (sysctl ` +
        'kernel.unprivileged_userns_clone=1, or a profile for bwrap where AppArmor restricts them; ' +
        'in a container, an unmasked /proc), or choose executor.type = "host"',
      { cause: thrown },
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function startEach(
  options: Partial<HostExecutorOptions>,
  users: readonly (Owner | undefined)[],
  closing: AsyncDisposableStack,
): Promise<HostExecutor[]> {
  const starting = users.map(async (owner) => {
    const defaults = { ...defaultHostExecutorOptions, launcherCommand: launcherCommand() };
    const started = await HostExecutor.start({ ...defaults, ...options, owner });
    closing.defer(() => started.close());
    return started;
  });
  await Promise.allSettled(starting);
  return Promise.all(starting);
}

/** No two commands that run at once have the same user: they could read and end each other. */
function ownerOf({ users }: ExecutorConfig, slot: number): Owner | undefined {
  if (!users) return undefined;
  const uid = users.firstUid + slot;
  return { uid, gid: users.gid ?? uid };
}

function describe(users: readonly (Owner | undefined)[]): string {
  const [first, last] = [users[0]?.uid, users.at(-1)?.uid];
  if (first === undefined) return "the worker's own user";
  return first === last ? `user ${first}` : `users ${first} to ${last}`;
}

/** Commands of another user reach their files by paths through each of the folders above. */
function refuseUnreachable(folder: string, uid: number): void {
  for (let above = path.dirname(folder); ; above = path.dirname(above)) {
    const stats = statSync(above);
    const othersMayPass = (stats.mode & 0o001) !== 0;
    if (!othersMayPass && stats.uid !== uid) {
      throw new SystemError(
        `commands run as user ${uid}, who cannot get to ${folder}: ${above} is closed to others. ` +
          'Choose another folder for the data, such as one in /var/lib, or open this one ' +
          `(chmod o+x ${above})`,
      );
    }
    if (above === path.dirname(above)) return;
  }
}
