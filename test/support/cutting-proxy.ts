import { createServer, connect as connectSocket, type AddressInfo, type Socket } from 'node:net';
import type { TestContext } from 'node:test';

export interface CuttingProxy {
  /** Where it listens, as host:port. */
  readonly address: string;
  /** The bytes that went each way so far, on all connections. */
  readonly sent: { up: number; down: number };
  readonly connections: () => number;
}

/** After how many bytes from the client, or to it, a connection is reset. */
export interface Cut {
  readonly up?: number;
  readonly down?: number;
}

/**
 * Passes connections on to a server on this machine. The first one is reset after what the first cut says,
 * and so on; those beyond the cuts live.
 */
export async function cuttingProxy(
  t: Pick<TestContext, 'after'>,
  port: number,
  cuts: readonly Cut[] = [],
): Promise<CuttingProxy> {
  const sockets = new Set<Socket>();
  const sent = { up: 0, down: 0 };
  let connections = 0;
  const proxy = createServer((client) => {
    const cut = cuts[connections++] ?? {};
    const server = connectSocket(port, '127.0.0.1');
    const both = [client, server];
    const reset = () => both.forEach((socket) => socket.resetAndDestroy());
    for (const socket of both) {
      sockets.add(socket);
      socket.on('error', reset).on('close', reset);
    }
    const pass = (from: Socket, to: Socket, way: keyof typeof sent) => {
      let leftBytes = cut[way] ?? Infinity;
      from.on('data', (bytes) => {
        leftBytes -= bytes.length;
        sent[way] += bytes.length;
        if (leftBytes <= 0) return reset();
        if (to.write(bytes)) return;
        from.pause();
        to.once('drain', () => from.resume());
      });
    };
    pass(client, server, 'up');
    pass(server, client, 'down');
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    proxy.close();
    for (const socket of sockets) socket.destroy();
  });
  const { port: own } = proxy.address() as AddressInfo;
  return { address: `127.0.0.1:${own}`, sent, connections: () => connections };
}
