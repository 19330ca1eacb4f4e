import path from 'node:path';
import type { TestContext } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { newId } from '../../src/base/id.ts';
import { type Log, silentLog } from '../../src/base/log.ts';
import { type RunningServer, startServer } from '../../src/cli/server.ts';
import { readServerConfig } from '../../src/config/server-config.ts';
import { testSurroundings } from './test-surroundings.ts';

export interface StartServerOptions {
  readonly toml?: string;
  /** A free port of this machine unless given. */
  readonly address?: string;
  /** Where it keeps its data. */
  readonly folder: string;
  readonly log?: Log;
}

export interface TestServer extends RunningServer {
  /** Ends it before the test does. */
  stop(): Promise<void>;
}

/** A real server in this process, gone after the test. */
export async function startTestServer(
  t: Pick<TestContext, 'after'>,
  { toml = '', address = '127.0.0.1:0', folder, log = silentLog }: StartServerOptions,
): Promise<TestServer> {
  const file = { path: 'server.toml', text: `address = "${address}"\n${toml}` };
  const config = readServerConfig(
    { file, environment: {}, flags: [] },
    testSurroundings(folder),
    path.join(folder, 'data'),
  );
  const closing = new AsyncDisposableStack();
  t.after(() => closing.disposeAsync());
  try {
    const running = await startServer(config, { clock: systemClock, newId, log }, closing);
    return { ...running, stop: () => closing.disposeAsync() };
  } catch (thrown) {
    await closing.disposeAsync();
    throw thrown;
  }
}
