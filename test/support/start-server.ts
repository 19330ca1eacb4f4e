import type { TestContext } from 'node:test';
import { type Clock, systemClock } from '../../src/base/clock.ts';
import { newId } from '../../src/base/id.ts';
import { type Log, silentLog } from '../../src/base/log.ts';
import { listen, type Listener } from '../../src/rpc/grpc-server.ts';
import { defaultServerLimits, type ServerLimits } from '../../src/rpc/limits.ts';
import type { Service } from '../../src/rpc/method.ts';
import { TestClient } from './test-client.ts';

export interface StartServerOptions {
  readonly log?: Log;
  readonly clock?: Clock;
  readonly limits?: Partial<ServerLimits>;
}

/** A server on a free port of this machine, and a client of it; both are gone after the test. */
export async function startServer(
  t: Pick<TestContext, 'after'>,
  services: readonly Service[],
  options: StartServerOptions = {},
): Promise<{ readonly listener: Listener; readonly client: TestClient }> {
  const listener = await listen({
    address: '127.0.0.1:0',
    services,
    limits: { ...defaultServerLimits, ...options.limits },
    log: options.log ?? silentLog,
    newId,
    clock: options.clock ?? systemClock,
  });
  const client = new TestClient(t, listener.address);
  t.after(() => listener.close(0));
  return { listener, client };
}
