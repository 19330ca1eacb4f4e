import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { tempDir } from './temp-dir.ts';

const moon = path.resolve('node_modules/@moonrepo/core-linux-x64-gnu/moon');

/** A run takes 2 s, most of it the first start of moon's own plugins. */
const RUN_TIMEOUT_MS = 60_000;

/** Why tests with moon cannot run here, or false if they can; for a test's `skip`. */
export function moonSkip(): string | false {
  if (!existsSync(moon)) {
    return 'moon is not installed: it comes with the npm package @moonrepo/core-linux-x64-gnu';
  }
  if (!existsSync('/usr/bin/git')) return "no git, which moon needs: install Debian's package git";
  return false;
}

export interface MoonResult {
  readonly exitCode: number;
  /** What moon and the task printed, and moon's log at level debug. */
  readonly output: string;
}

export interface MoonRepository {
  /** A fresh clone: no outputs, and nothing in moon's own cache. */
  clone(): MoonClone;
}

export interface MoonClone {
  /** The file that task `app:greet` makes of app/name.txt. */
  readonly greeting: string;
  /** `moon run TARGET`. Never throws for an exit code. */
  run(target: string): Promise<MoonResult>;
}

/** A repository with a task `app:greet`, whose remote cache listens at grpc://127.0.0.1:`port`. */
export function moonRepository(
  t: Pick<TestContext, 'after'>,
  options: {
    readonly port: number;
    readonly compression: 'none' | 'zstd';
    readonly instanceName: string;
  },
): MoonRepository {
  const root = tempDir(t);
  const origin = path.join(root, 'origin');
  for (const [name, text] of Object.entries(files(options))) {
    mkdirSync(path.dirname(path.join(origin, name)), { recursive: true });
    writeFileSync(path.join(origin, name), text);
  }
  const git = (...args: string[]) => execFileSync('/usr/bin/git', args, { cwd: origin, env: {} });
  git('init', '--quiet', '--initial-branch=main');
  git('add', '--all');
  git('-c', 'user.name=Test', '-c', 'user.email=test@localhost', 'commit', '--quiet', '-m', 'One');

  let clones = 0;
  return {
    clone: () => {
      const number = ++clones;
      const folder = path.join(root, `clone-${number}`);
      const home = path.join(root, `home-${number}`);
      mkdirSync(home);
      git('clone', '--quiet', origin, folder);
      return {
        greeting: path.join(folder, 'app/out/greeting.txt'),
        run: (target) => run(folder, home, target),
      };
    },
  };
}

function files(options: {
  port: number;
  compression: string;
  instanceName: string;
}): Record<string, string> {
  return {
    '.gitignore': 'out/\n.moon/cache\n',
    '.moon/workspace.yml': `
projects:
  app: app
vcs:
  defaultBranch: main
telemetry: false
remote:
  host: grpc://127.0.0.1:${options.port}
  cache:
    instanceName: ${options.instanceName}
    compression: ${options.compression}
`,
    'app/moon.yml': `
tasks:
  greet:
    command: sh -c 'mkdir -p out && cat name.txt name.txt > out/greeting.txt && echo "The task ran."'
    toolchains: system
    inputs: [name.txt]
    outputs: [out]
`,
    'app/name.txt': 'world\n',
  };
}

function run(cwd: string, home: string, target: string): Promise<MoonResult> {
  return new Promise((resolve, reject) => {
    const env = { PATH: '/usr/bin:/bin', HOME: home, MOON_LOG: 'debug' };
    const settings = { cwd, env, timeout: RUN_TIMEOUT_MS, killSignal: 'SIGKILL' } as const;
    execFile(moon, ['run', target], settings, (error, stdout, stderr) => {
      const exitCode = error === null ? 0 : error.code;
      if (typeof exitCode !== 'number') reject(error ?? new Error(stderr));
      else resolve({ exitCode, output: stdout + stderr });
    });
  });
}
