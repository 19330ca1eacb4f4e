import { type ChildProcess, spawn, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, statSync } from 'node:fs';
import { Code, StatusError } from '../base/status.ts';
import type { CommandCgroup } from './command-cgroup.ts';
import { defaultPath, findExecutable } from './find-executable.ts';
import type { LaunchRequest } from './launcher-messages.ts';
import { refuseNul } from './refuse-nul.ts';
import { passed } from './repeatedly.ts';

/** A file that was just written may still be open in a process that is about to execute. */
const busyRetriesMax = 8;

/**
 * Starts the command of a request, in a session of its own and with an empty standard input; `outputs` are its
 * standard output and standard error. Fails with INVALID_ARGUMENT when there is nothing that can be run.
 */
export async function startCommand(
  request: LaunchRequest,
  outputs: readonly number[],
  cgroup: CommandCgroup | undefined,
): Promise<ChildProcess> {
  const { argv, owner, sandbox } = request;
  refuseNul([...argv, ...request.environment.flat()]);
  if (!sandbox) return spawned(directly(request), outputs, owner, cgroup);
  const filter = openSync(sandbox.filterPath, 'r');
  try {
    const { file, args } = sandbox;
    const program = { file, args, options: { cwd: '/', env: {} } };
    return await spawned(program, [...outputs, filter], owner, cgroup);
  } finally {
    closeSync(filter);
  }
}

interface Program {
  readonly file: string;
  readonly args: readonly string[];
  readonly options: SpawnOptions;
}

function directly({ argv, environment, workingDirectory }: LaunchRequest): Program {
  if (statSync(workingDirectory, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `${workingDirectory} is not a directory to run in`,
    );
  }
  const variables = new Map(environment);
  const searchPath = variables.get('PATH') ?? defaultPath;
  const env = Object.fromEntries(variables.set('PATH', searchPath));
  return {
    file: findExecutable(argv[0], searchPath, workingDirectory),
    args: argv.slice(1),
    options: { argv0: argv[0], cwd: workingDirectory, env },
  };
}

async function spawned(
  { file, args, options }: Program,
  descriptors: readonly number[],
  owner: LaunchRequest['owner'],
  cgroup: CommandCgroup | undefined,
): Promise<ChildProcess> {
  const ids = owner && { uid: owner.uid, gid: owner.gid };
  for (let retries = 0; ; retries++) {
    try {
      const stdio = ['ignore' as const, ...descriptors];
      const fork = () => spawn(file, args, { ...options, stdio, detached: true, ...ids });
      const child = cgroup ? cgroup.around(fork) : fork();
      await once(child, 'spawn');
      return child;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ETXTBSY' || retries === busyRetriesMax) throw whyNotStarted(file, error);
      await passed(2 ** retries, new AbortController().signal);
    }
  }
}

/** What a retry cannot help is the action's fault; the rest is the machine's (ACT-11, WRK-18). */
function whyNotStarted(file: string, error: unknown): StatusError {
  const codes: Readonly<Record<string, Code>> = {
    ENOENT: Code.INVALID_ARGUMENT,
    EACCES: Code.INVALID_ARGUMENT,
    ENOEXEC: Code.INVALID_ARGUMENT,
    ELOOP: Code.INVALID_ARGUMENT,
    E2BIG: Code.INVALID_ARGUMENT,
    EAGAIN: Code.RESOURCE_EXHAUSTED,
    ENOMEM: Code.RESOURCE_EXHAUSTED,
    EMFILE: Code.RESOURCE_EXHAUSTED,
  };
  const { code = '', message } = error as NodeJS.ErrnoException;
  const hint = code === 'E2BIG' ? ': its arguments and environment are too large' : '';
  return new StatusError(codes[code] ?? Code.INTERNAL, `cannot run ${file}: ${message}${hint}`);
}
