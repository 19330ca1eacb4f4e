import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { getSystemErrorMessage } from 'node:util';
import path from 'node:path';
import { makeFolder } from '../base/make-folder.ts';
import { StatusError } from '../base/status.ts';
import { defaultPath } from './find-executable.ts';
import { noFilesElsewhere, noKeyrings, type Promised } from './promises.ts';
import { restrictingProgram } from './restricting-program.ts';
import { keyringFilter } from './seccomp-filter.ts';
import { sharedFolders } from './shared-folders.ts';

export interface HostOptions {
  /** A folder that exists, for what launchers are started with. Commands must be able to reach it. */
  readonly folder: string;
  /** The folders in which launchers and their commands work; undefined to let them make files anywhere. */
  readonly ownFolders: readonly string[] | undefined;
}

export interface RestrictedHost {
  /** What starts a launcher, before its own program, which a path must name. */
  readonly command: readonly string[];
  readonly promises: readonly Promised[];
  /** A folder where commands can make no file, whoever may write there; undefined if that is not promised. */
  readonly outside: string | undefined;
  /** What is not promised, and why. */
  readonly missing: { readonly what: string; readonly why: string } | undefined;
}

/** For a worker whose own folder is where commands may make files. Nothing of theirs is here or above. */
const outsideOfAll = '/run/expbuild';

/**
 * Keeps commands on the host from what would outlive them and could not be found: keys in keyrings, and files in
 * folders other than their own and those of `removeBelongings()`. As far as the kernel can: the latter needs Linux
 * 5.19 with Landlock, and both x86-64. Creates what it needs in the folder.
 */
export function restrictHost({ folder, ownFolders }: HostOptions): RestrictedHost {
  const unprivileged = ['setpriv', '--no-new-privs', '--inh-caps=-all', '--'] as const;
  const less = { command: unprivileged, promises: [], outside: undefined };
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    const why = `this is ${process.platform} on ${process.arch}, not Linux on x86-64`;
    return { ...less, missing: { what: 'keys and files', why } };
  }
  const program = path.join(folder, 'restrict');
  const command = [...unprivileged, program];
  const filter = keyringFilter();
  const whyNot = (folders: readonly string[] | undefined) => {
    // Anew: a launcher of an earlier worker may just be starting from the last one.
    rmSync(program, { force: true });
    writeFileSync(program, restrictingProgram({ filter, folders }));
    // Not cut by the umask.
    chmodSync(program, 0o755);
    return whyNotStarted(command);
  };
  let missing: RestrictedHost['missing'];
  if (ownFolders) {
    const folders = [...ownFolders, ...sharedFolders()];
    const outside = isBelowAny(folder, folders) ? outsideOfAll : folder;
    const whyNotTried = whyNotMade(outside);
    const why = whyNotTried ?? whyNot(folders);
    if (why === undefined) {
      return { command, promises: [noKeyrings, noFilesElsewhere], outside, missing };
    }
    missing = {
      what: 'files',
      why: whyNotTried ?? `Landlock of Linux 5.19 or newer is needed: ${why}`,
    };
  }
  const whyNothing = whyNot(undefined);
  if (whyNothing !== undefined) {
    return { ...less, missing: { what: 'keys and files', why: whyNothing } };
  }
  return { ...less, command, promises: [noKeyrings], missing };
}

function isBelowAny(folder: string, folders: readonly string[]): boolean {
  return folders.some(
    (one) => existsSync(one) && `${realpathSync(folder)}/`.startsWith(`${realpathSync(one)}/`),
  );
}

function whyNotMade(folder: string): string | undefined {
  try {
    makeFolder(folder, 0o755);
    return undefined;
  } catch (thrown) {
    return StatusError.from(thrown).message;
  }
}

/** Undefined when a program can be started so. */
function whyNotStarted([file = '', ...args]: readonly string[]): string | undefined {
  const options = { env: { PATH: defaultPath }, cwd: '/', encoding: 'utf8' } as const;
  const { status, stderr, error } = spawnSync(file, [...args, '/bin/sh', '-c', ':'], options);
  if (status === 0) return undefined;
  return error?.message ?? (stderr.trim() || getSystemErrorMessage(-(status ?? 0)));
}
