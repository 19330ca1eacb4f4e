import { execFile } from 'node:child_process';
import { existsSync, readlinkSync, statSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { Code, StatusError } from '../base/status.ts';
import { defaultPath } from './find-executable.ts';
import type { Promised } from './promises.ts';

/** A network that the operator prepared, for commands that ask for one. */
export interface NetworkNamespace {
  /** Goes before a command, which then runs in it. */
  readonly join: readonly [string, ...string[]];
  /** What its programs find names with; undefined for the machine's own. */
  readonly resolvConf: string | undefined;
  /** That a command with a network is in it, and not in the machine's. */
  readonly promise: Promised;
}

/**
 * The network namespace at a path, once it was joined for a try. Fails with FAILED_PRECONDITION when it
 * is not there, is the machine's own, or this process may not join it. `settings` holds what each
 * namespace has instead of files in /etc, as `ip netns` knows them.
 */
export async function findNetworkNamespace(
  file: string,
  settings = '/etc/netns',
): Promise<NetworkNamespace> {
  const join = ['nsenter', `--net=${file}`, '--'] as const;
  let id: string;
  try {
    const [program, ...args] = join;
    const look = [...args, 'readlink', '/proc/self/ns/net'];
    id = (await promisify(execFile)(program, look, { env: { PATH: defaultPath } })).stdout.trim();
  } catch (thrown) {
    throw unusable(file, whyNot(file, thrown), thrown);
  }
  if (id === readlinkSync('/proc/self/ns/net')) {
    throw unusable(file, "it is the worker's own, with all that the machine reaches");
  }
  const resolvConf = path.join(settings, path.basename(file), 'resolv.conf');
  return {
    join,
    resolvConf: existsSync(resolvConf) ? resolvConf : undefined,
    promise: {
      what: `network on request from ${file} alone`,
      holds: ({ networkNamespace }) => networkNamespace === id,
    },
  };
}

function whyNot(file: string, thrown: unknown): string {
  if (!statSync(file, { throwIfNoEntry: false })) {
    return 'it is not there. Make it before the worker starts, such as with "ip netns add"';
  }
  if (process.getuid?.() !== 0) return 'only a worker that is root can join it';
  const { stderr, message } = thrown as Error & { readonly stderr?: string };
  return stderr?.trim() || message;
}

function unusable(file: string, why: string, cause?: unknown): StatusError {
  return new StatusError(
    Code.FAILED_PRECONDITION,
    `the network namespace ${file} (executor.network_namespace) cannot be used: ${why}`,
    { cause },
  );
}
