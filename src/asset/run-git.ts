import { spawn } from 'node:child_process';
import { Code, StatusError } from '../base/status.ts';

/** What git's own config would say, were it not told to read none: by key. */
export type GitSettings = readonly (readonly [key: string, value: string])[];

export interface GitRepository {
  /** The executable. */
  readonly git: string;
  /** A bare repository that nobody else uses. */
  readonly folder: string;
  /** Where files are checked out. */
  readonly workTree: string;
  readonly settings: GitSettings;
}

/** How a command of git ended. Only that git cannot be started is an error. */
export interface GitOutcome {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What git says of itself on each stream, at most: it is for a message, or a hash. */
const outputCharactersMax = 64 * 1024;

/** Nothing that a repository says makes git run a program, or ask anybody but its origin. */
const hardened: GitSettings = [
  ['core.hooksPath', '/dev/null'],
  ['core.fsmonitor', 'false'],
  ['credential.helper', ''],
  ['fetch.recurseSubmodules', 'false'],
  ['submodule.recurse', 'false'],
  ['protocol.allow', 'never'],
  ['protocol.http.allow', 'always'],
  ['protocol.https.allow', 'always'],
  // Where a redirection, or a file that names other repositories, leads to was not checked (AST-24).
  ['http.followRedirects', 'false'],
  // All that comes is in one file, whose growth can be seen.
  ['fetch.unpackLimit', '1'],
  ['gc.auto', '0'],
  ['maintenance.auto', 'false'],
];

/**
 * Runs git without any configuration of the machine or the user. Settings go by the environment, for
 * arguments can be seen by every user. `onOutput` takes standard output as it comes, and ends git by
 * throwing. When `signal` aborts, git and its helpers are killed, and it rejects with the reason.
 */
export async function runGit(
  repository: GitRepository,
  args: readonly string[],
  signal: AbortSignal,
  onOutput?: (chunk: Buffer) => void,
): Promise<GitOutcome> {
  signal.throwIfAborted();
  const child = spawn(repository.git, args, {
    cwd: repository.folder,
    env: environmentOf(repository),
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own, so that git's helpers end with it.
    detached: true,
  });
  let isOver = false;
  const kill = () => {
    try {
      // While one of them has its output, no other process gets the group's number.
      if (child.pid !== undefined && !isOver) process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It has ended.
    }
  };
  const refused = new AbortController();
  const output = { stdout: '', stderr: '' };
  const keep = (name: 'stdout' | 'stderr', chunk: Buffer) => {
    const room = outputCharactersMax - output[name].length;
    output[name] += chunk.toString('utf8').slice(0, room);
  };
  child.stderr.on('data', (chunk: Buffer) => keep('stderr', chunk));
  child.stdout.on('data', (chunk: Buffer) => {
    try {
      if (onOutput) onOutput(chunk);
      else keep('stdout', chunk);
    } catch (error) {
      refused.abort(error);
      kill();
    }
  });
  signal.addEventListener('abort', kill);
  try {
    const exitCode = await new Promise<number | null>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code) => {
        isOver = true;
        resolve(code);
      });
    });
    refused.signal.throwIfAborted();
    signal.throwIfAborted();
    return { exitCode, ...output };
  } catch (error) {
    if (!(error as NodeJS.ErrnoException).syscall?.startsWith('spawn')) throw error;
    throw new StatusError(Code.INTERNAL, `${repository.git} cannot be started`, { cause: error });
  } finally {
    signal.removeEventListener('abort', kill);
  }
}

function environmentOf({ folder, workTree, settings }: GitRepository): Record<string, string> {
  const all = [...hardened, ...settings];
  const numbered = all.flatMap(([key, value], at) => [
    [`GIT_CONFIG_KEY_${at}`, key],
    [`GIT_CONFIG_VALUE_${at}`, value],
  ]);
  return {
    PATH: '/usr/local/bin:/usr/bin:/bin',
    HOME: folder,
    LC_ALL: 'C',
    GIT_DIR: folder,
    GIT_WORK_TREE: workTree,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_ATTR_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: '/bin/false',
    GIT_ALLOW_PROTOCOL: 'http:https',
    GIT_CONFIG_COUNT: String(all.length),
    ...Object.fromEntries(numbered),
  };
}
