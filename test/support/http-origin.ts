import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

export interface HttpOrigin {
  /** `http://127.0.0.1:PORT`, or with https. */
  readonly url: string;
  /** All requests so far. */
  readonly requests: readonly IncomingMessage[];
}

export interface TlsOptions {
  readonly key: string;
  readonly cert: string;
}

/** A web server on loopback that answers as `answer` says; gone after the test. */
export async function httpOrigin(
  t: Pick<TestContext, 'after'>,
  answer: RequestListener,
  tls?: TlsOptions,
): Promise<HttpOrigin> {
  const requests: IncomingMessage[] = [];
  const listener: RequestListener = (request, response) => {
    requests.push(request);
    answer(request, response);
  };
  const server: Server = tls ? createTlsServer(tls, listener) : createServer(listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `${tls ? 'https' : 'http'}://127.0.0.1:${port}`, requests };
}
