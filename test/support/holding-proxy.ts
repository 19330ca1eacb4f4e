import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';

/** Bytes from the client, or to it. */
export type Way = 'up' | 'down';

export interface HoldingProxy {
  readonly port: number;
  /** From now on nothing passes these ways. Connections stay open, and new ones are accepted. */
  hold(...ways: readonly Way[]): void;
  /** What was held passes, and all that follows. */
  release(): void;
  /** Resets all connections. */
  cut(): void;
  /** Resolves with the first bytes that a client sends while they are held. */
  asked(): Promise<void>;
}

/** Passes connections on to a server on this machine, until the line goes dead without anybody being told. */
export async function holdingProxy(
  t: Pick<TestContext, 'after'>,
  port: number,
): Promise<HoldingProxy> {
  const sockets = new Set<Socket>();
  const held = new Set<Way>();
  const waiting: (() => void)[] = [];
  const asked = Promise.withResolvers<void>();
  const proxy = createServer((client) => {
    const server = connect(port, '127.0.0.1');
    const both = [client, server];
    for (const socket of both) {
      sockets.add(socket);
      socket
        .on('error', () => {})
        .on('close', () => {
          sockets.delete(socket);
          both.forEach((each) => each.destroy());
        });
    }
    for (const [way, from, to] of [
      ['up', client, server],
      ['down', server, client],
    ] as const) {
      from.on('data', (bytes) => {
        if (!held.has(way)) {
          to.write(bytes);
          return;
        }
        if (way === 'up') asked.resolve();
        waiting.push(() => to.write(bytes));
      });
    }
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    proxy.close();
    for (const socket of sockets) socket.destroy();
  });
  return {
    port: (proxy.address() as AddressInfo).port,
    hold: (...ways) => ways.forEach((way) => held.add(way)),
    release: () => {
      held.clear();
      for (const write of waiting.splice(0)) write();
    },
    cut: () => {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    asked: () => asked.promise,
  };
}
