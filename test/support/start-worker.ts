import type { TestContext } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { newId } from '../../src/base/id.ts';
import { type Log, silentLog } from '../../src/base/log.ts';
import { remotePorts } from '../../src/cli/remote-ports.ts';
import { startWorker } from '../../src/cli/worker.ts';
import { readWorkerConfig } from '../../src/config/worker-config.ts';
import { testSurroundings } from './test-surroundings.ts';

export interface StartWorkerOptions {
  /** `host:port`. */
  readonly server: string;
  /** Where it keeps its data. */
  readonly folder: string;
  readonly toml?: string;
  readonly log?: Log;
  /** Without a PATH it finds no bubblewrap. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** A real worker in this process that speaks to its server over the network, gone after the test. */
export async function startTestWorker(
  t: Pick<TestContext, 'after'>,
  { server, folder, toml = '', log = silentLog, environment = {} }: StartWorkerOptions,
): Promise<{ stop(): Promise<void>; readonly ended: Promise<void> }> {
  // Commands run as the test does, for they write into its folder: a worker that is root changes users.
  const surroundings = { ...testSurroundings(folder), uid: undefined, environment };
  const file = { path: 'worker.toml', text: `server_url = "${server}"\n${toml}` };
  const config = readWorkerConfig({ file, environment: {}, flags: [] }, surroundings, folder);
  const deps = { clock: systemClock, newId, log, surroundings };
  const closing = new AsyncDisposableStack();
  t.after(() => closing.disposeAsync());
  const { ended } = await startWorker(config, remotePorts(config, deps, closing), deps, closing);
  return { stop: () => closing.disposeAsync(), ended };
}
