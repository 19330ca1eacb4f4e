import { execFile } from 'node:child_process';
import { lstatSync, mkdirSync, readlinkSync, realpathSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { Code, StatusError } from '../base/status.ts';
import type { Command } from './executor.ts';
import { defaultPath, findExecutable } from './find-executable.ts';
import type { SandboxedLaunch } from './launcher-messages.ts';
import { seccompFilter } from './seccomp-filter.ts';

export interface SandboxOptions {
  /** Where bubblewrap is looked for, as PATH is written. */
  readonly searchPath: string;
  /** A folder that exists, where files for all sandboxes are kept. */
  readonly folder: string;
  /** Files and folders of this machine that actions see and cannot change, beside the system's. */
  readonly readonlyPaths: readonly string[];
  /** For /tmp and /dev/shm each; what is in them is memory. */
  readonly tmpBytesMax: number;
  /** For each command; undefined where another limit counts them. */
  readonly processesMax: number | undefined;
  /** Commands that ask for the launcher's network get it, and all that can be reached from there. */
  readonly networkAllowed: boolean;
  /** The resolv.conf of that network; undefined for the machine's own. */
  readonly resolvConf: string | undefined;
}

/** Where the input root is, in each sandbox: outputs that name it are the same wherever they are made. */
const inputRootInside = '/build';
/** What each command has for itself; showing the machine's own there would undo what is promised. */
const ownFolders = ['/', '/tmp', '/dev', '/dev/shm', '/proc', '/sys', inputRootInside];
/** Nobody's outside: the user and group that a command sees itself as. */
const idInside = 65_532;
/** --disable-userns came with it. */
const oldestVersion = [0, 8, 0] as const;

const systemFolders = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'];
const systemFiles = ['/etc/alternatives', '/etc/ld.so.cache'];
/** What else programs need that use the network. */
const networkFiles = ['/etc/ssl', '/etc/pki', '/etc/ca-certificates'];
const resolvConf = '/etc/resolv.conf';
const ownFiles: readonly (readonly [name: string, content: string])[] = [
  ['passwd', `root:x:0:0:root:/:/bin/sh\nbuild:x:${idInside}:${idInside}:build:/tmp:/bin/sh\n`],
  ['group', `root:x:0:\nbuild:x:${idInside}:\n`],
  ['hosts', '127.0.0.1 localhost\n::1 localhost\n'],
  ['nsswitch.conf', 'passwd: files\ngroup: files\nhosts: files dns\n'],
];

/**
 * The first process in the namespace: reaps what is orphaned, and takes all down with it. Its own
 * remarks on how a command ended go nowhere. `env` gives the command its variables as they are, which a
 * shell does not.
 */
const init = 'exec 3>&2 2>/dev/null; (exec "$@" 2>&3 3>&-); exit $?';
const shell = ['/bin/sh', '-c', init, 'sh'];
const environmentOnly = ['/usr/bin/env', '-i'];
const prlimit = '/usr/bin/prlimit';

/** How bubblewrap (https://github.com/containers/bubblewrap) is called to run a command. */
export class Sandbox {
  readonly version: string;
  readonly #file: string;
  readonly #filterPath: string;
  readonly #mounts: readonly string[];
  readonly #visible: readonly string[];
  readonly #options: SandboxOptions;

  private constructor(file: string, version: string, options: SandboxOptions) {
    this.#file = file;
    this.version = version;
    this.#options = options;
    const { folder, readonlyPaths } = options;
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    this.#filterPath = path.join(folder, 'seccomp.bpf');
    writeFileSync(this.#filterPath, seccompFilter());
    for (const [name, content] of ownFiles) writeFileSync(path.join(folder, name), content);
    this.#visible = [...systemFolders, ...systemFiles, ...readonlyPaths];
    this.#mounts = [
      ...systemFolders.flatMap(mountOf),
      ...systemFiles.flatMap(shownIfThere),
      ...ownFiles.flatMap(([name]) => ['--ro-bind', path.join(folder, name), `/etc/${name}`]),
    ];
  }

  /** Fails with FAILED_PRECONDITION when this machine cannot make sandboxes, saying what is missing. */
  static async find(options: SandboxOptions): Promise<Sandbox> {
    if (process.platform !== 'linux' || process.arch !== 'x64') {
      throw unusable(`it needs Linux on x86-64; this is ${process.platform} on ${process.arch}`);
    }
    for (const shown of options.readonlyPaths) {
      const stats = path.isAbsolute(shown) && lstatSync(shown, { throwIfNoEntry: false });
      if (!stats) throw notShown(shown, 'it is not an absolute path that exists');
      if (ownFolders.includes(path.normalize(`${shown}/`).slice(0, -1) || '/')) {
        throw notShown(shown, 'each command has its own there');
      }
    }
    let file;
    try {
      file = findExecutable('bwrap', options.searchPath, '/');
    } catch {
      throw unusable('bubblewrap is not installed (bwrap is not in PATH)');
    }
    const { stdout } = await promisify(execFile)(file, ['--version'], { env: {} });
    const version = /(\d+)\.(\d+)\.(\d+)/.exec(stdout);
    if (!version || isOlder(version.slice(1).map(Number))) {
      throw unusable(`${file} is ${stdout.trim()}; it must be ${oldestVersion.join('.')} or newer`);
    }
    return new Sandbox(file, version[0], options);
  }

  /** How a command is started in it. Fails with INVALID_ARGUMENT when argv[0] names no program (ACT-11). */
  launchOf(command: Command, inputRoot: string): SandboxedLaunch {
    if (command.network && !this.#options.networkAllowed) {
      throw new StatusError(
        Code.INVALID_ARGUMENT,
        'the action asks for the network (platform property network=on), which this worker does not ' +
          'give: executor.network must be "on-request" there',
      );
    }
    const workingDirectory = path.join(
      inputRootInside,
      path.relative(inputRoot, command.workingDirectory),
    );
    const searchPath = command.environment['PATH'] ?? defaultPath;
    const environment = { PATH: searchPath, TMPDIR: '/tmp', ...command.environment };
    const placeOf = (inside: string) => this.#placeOf(inside, inputRoot);
    findExecutable(command.argv[0], searchPath, workingDirectory, placeOf);
    const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
    // What has an equals sign would be a variable to `env`, which `nice` does not know.
    const argv = command.argv[0].includes('=')
      ? ['/usr/bin/nice', '-n', '0', '--', ...command.argv]
      : command.argv;
    const { processesMax } = this.#options;
    // Its own user namespace counts for itself: outside, all of the user's would count.
    const limits = processesMax === undefined ? [] : [prlimit, `--nproc=${processesMax}`, '--'];
    return {
      file: this.#file,
      args: [
        ...this.#namespaces(inputRoot, workingDirectory),
        ...(command.network ? this.#network() : ['--unshare-net']),
        '--remount-ro',
        '/',
        '--',
        ...shell,
        ...limits,
        ...environmentOnly,
        ...variables,
        ...argv,
      ],
      filterPath: this.#filterPath,
    };
  }

  #network(): string[] {
    const names = ['--ro-bind-try', this.#options.resolvConf ?? resolvConf, resolvConf];
    return [...names, ...networkFiles.flatMap(shownIfThere)];
  }

  #namespaces(inputRoot: string, workingDirectory: string): string[] {
    const tmpSize = this.#options.tmpBytesMax;
    // The filter is open as the first descriptor after the standard ones.
    const options = `
      --unshare-user --unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup-try
      --disable-userns --as-pid-1 --die-with-parent --new-session --cap-drop ALL --seccomp 3
      --clearenv --hostname localhost --uid ${idInside} --gid ${idInside}
      --proc /proc --dev /dev --size ${tmpSize} --tmpfs /tmp --size ${tmpSize} --tmpfs /dev/shm
      --remount-ro /dev`;
    const shown = this.#options.readonlyPaths.flatMap((place) => ['--ro-bind', place, place]);
    const build = ['--bind', inputRoot, inputRootInside, '--chdir', workingDirectory];
    return [...options.trim().split(/\s+/), ...this.#mounts, ...shown, ...build];
  }

  /** Where this machine has what a command sees at a path; undefined when it sees nothing there. */
  #placeOf(inside: string, inputRoot: string): string | undefined {
    if (isIn(inside, inputRootInside)) return inputRoot + inside.slice(inputRootInside.length);
    if (!this.#visible.some((shown) => isIn(inside, shown))) return undefined;
    return inside;
  }
}

function shownIfThere(file: string): string[] {
  return ['--ro-bind-try', file, file];
}

/** As this machine has it: a folder, or a link into /usr. */
function mountOf(folder: string): string[] {
  const stats = lstatSync(folder, { throwIfNoEntry: false });
  if (!stats) return [];
  if (stats.isSymbolicLink()) return ['--symlink', readlinkSync(folder), folder];
  return ['--ro-bind', realpathSync(folder), folder];
}

function isIn(file: string, folder: string): boolean {
  return file === folder || file.startsWith(`${folder}/`);
}

function isOlder(version: readonly number[]): boolean {
  const index = oldestVersion.findIndex((part, place) => part !== version[place]);
  return index >= 0 && (version[index] ?? 0) < (oldestVersion[index] ?? 0);
}

function notShown(file: string, why: string): StatusError {
  return new StatusError(
    Code.FAILED_PRECONDITION,
    `the executor "sandbox" cannot show ${file} of executor.readonly_paths: ${why}`,
  );
}

function unusable(why: string): StatusError {
  return new StatusError(
    Code.FAILED_PRECONDITION,
    `the executor "sandbox" cannot be used: ${why}. Install bubblewrap (Debian: apt install ` +
      'bubblewrap) and allow user namespaces, or choose executor.type = "host"',
  );
}
