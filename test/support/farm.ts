import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { type RunningRole, startRole } from './executable.ts';
import { FakeTerminal } from './fake-terminal.ts';
import { type CliResult, runCli } from './run-cli.ts';
import { tempDir } from './temp-dir.ts';

/** A port that was free a moment ago: a server that is restarted must come back where it was. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  assert.ok(address !== null && typeof address === 'object');
  return address.port;
}

export interface FarmWorker {
  /** More of its configuration; keys outside of tables. */
  readonly toml?: string;
  /** The platform property that actions for it have. */
  readonly pool?: string | readonly string[];
  /** Where it finds its server; directly unless given. */
  readonly port?: number;
  readonly slots?: number;
  /** What its folder is called; its name unless given. */
  readonly folder?: string;
  /** What it has printed when it counts as started. */
  readonly ready?: RegExp;
  /** Its table `executor`; commands run on the host unless given. */
  readonly executor?: string;
  /** What to run in place of the built executable. */
  readonly program?: readonly string[];
}

/** Commands of tests write into their folder, which a sandbox would not let them. */
function hostExecutor(): string {
  const asRoot = process.getuid?.() === 0 ? 'uid = 0' : '';
  return `type = "host"\n${asRoot}`;
}

/** A server and workers as processes of their own, on data folders of their own. */
export class Farm {
  readonly port: number;
  readonly root: string;
  readonly #t: Pick<TestContext, 'after'>;
  readonly #host: string;

  private constructor(t: Pick<TestContext, 'after'>, root: string, host: string, port: number) {
    this.#t = t;
    this.#host = host;
    this.root = root;
    this.port = port;
  }

  /** `host`: the address that the server listens at; it must be reached at 127.0.0.1 too. */
  static async create(t: Pick<TestContext, 'after'>, host = '127.0.0.1'): Promise<Farm> {
    return new Farm(t, tempDir(t), host, await freePort());
  }

  /** `toml`: more of its configuration; tables. */
  startServer(program?: readonly string[], toml = ''): Promise<RunningRole> {
    const { root, port } = this;
    const config = path.join(root, 'server.toml');
    writeFileSync(
      config,
      `address = "${this.#host}:${port}"
[cas_storage]
root_path = "${root}/cas"
[action_cache]
root_path = "${root}/action-cache"
[scheduler]
root_path = "${root}/scheduler"
[remote_asset]
root_path = "${root}/remote_asset"
[logs]
root_path = "${root}/logs"
${toml}
`,
    );
    return startRole(this.#t, ['server', '--config', config], /serving/, {}, program);
  }

  startWorker(id: string, options: FarmWorker = {}): Promise<RunningRole> {
    const { toml = '', pool = 'any', slots = 2, program, port = this.port } = options;
    const { executor = hostExecutor() } = options;
    const config = path.join(this.root, `${options.folder ?? id}.toml`);
    writeFileSync(
      config,
      `worker_id = "${id}"
root_path = "${this.root}/${options.folder ?? id}"
slots = ${slots}
${toml}
[platform]
pool = ${JSON.stringify(pool)}
[executor]
${executor}
`,
    );
    const join = options.toml?.includes('server_url') ? [] : ['--join', `grpc://127.0.0.1:${port}`];
    const args = ['worker', '--verbose', '--config', config, ...join];
    return startRole(this.#t, args, options.ready ?? /connected to/, {}, program);
  }

  /** A folder that commands may write into. */
  folder(name: string): string {
    const folder = path.join(this.root, name);
    mkdirSync(folder);
    chmodSync(folder, 0o777);
    return folder;
  }

  /** Somebody who runs a script remotely, and waits for it. */
  run(
    script: string,
    {
      pool = 'any',
      terminal = new FakeTerminal(),
    }: { pool?: string; terminal?: FakeTerminal } = {},
  ): Promise<CliResult> {
    const remote = ['--remote', `127.0.0.1:${this.port}`];
    const argv = ['run', ...remote, '--platform', `pool=${pool}`, '--', 'sh', '-c', script];
    return runCli(argv, { folder: this.root, terminal });
  }
}

/** The lines of a file that commands write; none while it is not there. */
export function linesOf(file: string): readonly string[] {
  try {
    return readFileSync(file, 'utf8').split('\n').slice(0, -1);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
