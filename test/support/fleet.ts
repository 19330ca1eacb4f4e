import path from 'node:path';
import type { TestContext } from 'node:test';
import { becomes } from './appears.ts';
import { inReverse } from './in-reverse.ts';
import { type CliOptions, type CliResult, runCli } from './run-cli.ts';
import { startTestServer, type TestServer } from './start-expbuild-server.ts';
import { startTestWorker } from './start-worker.ts';
import { tempDir } from './temp-dir.ts';

/** A server in this process, workers that speak to it over the network, and somebody who types. */
export interface Fleet {
  readonly server: TestServer;
  /** The test's own folder; everything of the fleet is in it. */
  readonly at: (name: string) => string;
  readonly worker: (
    name: string,
    toml?: string,
    environment?: Readonly<Record<string, string>>,
  ) => ReturnType<typeof startTestWorker>;
  /** Resolves when the scheduler has heard of a worker that was started. */
  readonly joined: (name: string) => Promise<void>;
  readonly cli: (argv: readonly string[], options?: Partial<CliOptions>) => Promise<CliResult>;
  /** The same server again, after it was stopped. */
  readonly restart: () => Promise<TestServer>;
}

export async function startFleet(context: TestContext, toml = ''): Promise<Fleet> {
  const t = inReverse(context);
  const root = tempDir(t);
  const folder = path.join(root, 'server');
  const server = await startTestServer(t, { folder, toml });
  const environment = { EXPBUILD_REMOTE_ENDPOINT: server.address };
  const cli: Fleet['cli'] = (argv, options = {}) =>
    runCli(argv, { folder: root, environment, ...options });
  return {
    server,
    at: (name) => path.join(root, name),
    worker: (name, workerToml = '', workerEnvironment = {}) =>
      startTestWorker(t, {
        folder: path.join(root, name),
        server: server.address,
        environment: workerEnvironment,
        toml: `worker_id = "${name}"\n${workerToml}`,
      }),
    joined: async (name) => {
      await becomes(
        () => cli(['workers', 'show', name]),
        ({ exitCode }) => exitCode === 0,
      );
    },
    cli,
    restart: () => startTestServer(t, { folder, toml, address: server.address }),
  };
}
