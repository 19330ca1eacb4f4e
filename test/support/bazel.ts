import { execFile, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { Status } from '../../src/proto/google/rpc/status.ts';

export type BazelVersion = '2.1.0' | '4.2.3';

const template = path.resolve('test/e2e/workspace');
/** Small local repositories in place of those that Bazel would download. */
const overrides = path.resolve('test/e2e/overrides');

const installs: Readonly<Record<BazelVersion, { readonly file: string; readonly from: string }>> = {
  '2.1.0': {
    file: path.resolve('node_modules/@bazel/bazel-linux_x64/bazel-2.1.0-linux-x86_64'),
    from: 'the npm package @bazel/bazel-linux_x64',
  },
  // Debian's patched 4.2.3, which calls itself `no_version`; it finds the rest of itself by the
  // system's bazelrc.
  '4.2.3': { file: '/usr/bin/bazel-4', from: "Debian's package bazel-bootstrap" },
};

/** Builds in the workspace take seconds; a cold start on a busy machine a minute. */
const COMMAND_TIMEOUT_MS = 4 * 60_000;

/** Why tests with this Bazel cannot run here, or false if they can; for a test's `skip`. */
export function bazelSkip(version: BazelVersion): string | false {
  const { file, from } = installs[version];
  if (!existsSync(file)) return `Bazel ${version} is not installed: it comes with ${from}`;
  if (!existsSync('/usr/bin/g++')) return `no C++ compiler: install Debian's package g++`;
  return false;
}

export interface BazelResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  /**
   * How the actions were run, by Bazel's own names: `remote`, `remote cache hit`, `linux-sandbox`. What
   * Bazel did inside itself is not counted.
   */
  readonly processes: Readonly<Record<string, number>>;
  /** Every remote call that Bazel made, from its own log of them; none without a remote flag. */
  readonly calls: readonly RemoteCall[];
}

export interface RemoteCall {
  /** As in `Execute`, without package and service. */
  readonly method: string;
  readonly code: number;
}

/** How many calls of `method` ended with OK. */
export function succeeded({ calls }: BazelResult, method: string): number {
  return calls.filter((call) => call.method === method && call.code === 0).length;
}

export interface BazelWorkspace {
  readonly folder: string;
  /** `bazel COMMAND ARGS...`, for instance `run('test', '//...')`. Never throws for an exit code. */
  run(command: string, ...args: readonly string[]): Promise<BazelResult>;
  /** From here on Bazel remembers nothing of what it built: what it has then comes from a cache. */
  forget(): void;
}

/** A workspace of its own for one Bazel; its servers end with the test. Cold: about 5 s a build. */
export function bazelWorkspace(
  t: Pick<TestContext, 'after'>,
  options: { readonly bazel: BazelVersion; readonly startup?: readonly string[] },
): BazelWorkspace {
  const root = mkdtempSync(path.join(tmpdir(), 'expbuild-bazel-'));
  const folder = path.join(root, 'workspace');
  cpSync(template, folder, { recursive: true });
  writeFileSync(path.join(folder, '.bazelrc'), bazelrc());
  mkdirSync(path.join(root, 'home'));

  let outputBases = 1;
  const call = (outputBase: number, command: string, args: readonly string[]) => {
    const startup = [
      `--output_user_root=${path.join(root, 'user-root')}`,
      `--output_base=${path.join(root, `base-${outputBase}`)}`,
      '--nohome_rc',
      ...(options.startup ?? []),
    ];
    const log = path.join(root, 'remote-calls');
    rmSync(log, { force: true });
    const logged = command === 'build' || command === 'test';
    const flags = logged ? [`--experimental_remote_grpc_log=${log}`] : [];
    return bazel(installs[options.bazel].file, [...startup, command, ...flags, ...args], root, log);
  };
  t.after(async () => {
    for (let base = 1; base <= outputBases; base++) await call(base, 'shutdown', []);
    // Bazel makes directories read-only, and its server may still be at its last words.
    spawnSync('chmod', ['-R', 'u+w', root]);
    rmSync(root, { recursive: true, force: true, maxRetries: 5 });
  });
  return {
    folder,
    run: (command, ...args) => call(outputBases, command, args),
    forget: () => {
      outputBases++;
      // `//...` would look into the old output base through these links.
      for (const link of globSync('bazel-*', { cwd: folder })) rmSync(path.join(folder, link));
    },
  };
}

function bazelrc(): string {
  const repositories = ['platforms', 'remote_coverage_tools', 'rules_cc', 'rules_java'];
  return [
    // A server that is left behind by a test that was killed ends by itself.
    'startup --host_jvm_args=-Xmx512m --max_idle_secs=60',
    ...repositories.map((name) => `common --override_repository=${name}=${overrides}/${name}`),
    'build --jobs=4 --color=no --curses=no --noshow_progress --nosandbox_debug',
    '',
  ].join('\n');
}

function bazel(
  file: string,
  args: readonly string[],
  root: string,
  log: string,
): Promise<BazelResult> {
  return new Promise((resolve, reject) => {
    const settings = {
      cwd: path.join(root, 'workspace'),
      // Nothing of the machine's own: it would be part of the actions.
      env: { PATH: '/usr/bin:/bin', HOME: path.join(root, 'home'), LANG: 'C.UTF-8' },
      maxBuffer: 64 * 2 ** 20,
      timeout: COMMAND_TIMEOUT_MS,
      killSignal: 'SIGKILL',
    } as const;
    execFile(file, args, settings, (error, stdout, stderr) => {
      const exitCode = error === null ? 0 : error.code;
      if (typeof exitCode !== 'number') reject(error ?? new Error(stderr));
      else {
        const calls = existsSync(log) ? callsOf(readFileSync(log)) : [];
        resolve({ exitCode, stdout, stderr, processes: processesOf(stderr), calls });
      }
    });
  });
}

/** Reads `INFO: 33 processes: 14 internal, 19 linux-sandbox.` */
function processesOf(stderr: string): Record<string, number> {
  const [, list = ''] = /^INFO: \d+ process(?:es)?: (.*)\.$/m.exec(stderr) ?? [];
  const counts: Record<string, number> = {};
  for (const [, count, name = ''] of list.matchAll(/(\d+) ([^,]+)/g)) {
    if (name !== 'internal') counts[name] = Number(count);
  }
  return counts;
}

/**
 * Reads Bazel's log of remote calls: messages behind their lengths, of which a google.rpc.Status is
 * field 2 and the method's full name field 3.
 */
function callsOf(log: Uint8Array): RemoteCall[] {
  const reader = new BinaryReader(log);
  const calls: RemoteCall[] = [];
  while (reader.pos < reader.len) {
    const end = reader.uint32() + reader.pos;
    let method = '';
    let code = 0;
    while (reader.pos < end) {
      const [field, wireType] = reader.tag();
      if (field === 2) code = Status.decode(reader.bytes()).code;
      else if (field === 3) method = reader.string().split('/').at(-1) ?? '';
      else reader.skip(wireType);
    }
    calls.push({ method, code });
  }
  return calls;
}
