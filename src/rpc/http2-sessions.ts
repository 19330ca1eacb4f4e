import type { Server } from '@grpc/grpc-js';
import type { Http2Server, IncomingHttpHeaders, ServerHttp2Session } from 'node:http2';

export interface ReceiveWindows {
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
}

interface ServerInternals {
  readonly commonServerOptions: { settings?: { initialWindowSize?: number } };
  createHttp2Server: (credentials: unknown) => Http2Server;
}

/**
 * Does for the connections of a grpc-js server what its options cannot (1.14): widens the receive
 * windows, tells which connections are open, and keeps calls with far deadlines alive. Call it before
 * the server listens.
 *
 * HTTP/2's 64 KiB windows stall an upload once per round trip; grpc-js reads the option for them in
 * clients only. And without channelz, whose bookkeeping costs each call, `forceShutdown` knows of no
 * connection and closes none. So this reaches for what the server makes its HTTP/2 servers with, and
 * throws when that has changed.
 */
export function openSessions(
  server: Server,
  windows: ReceiveWindows,
): ReadonlySet<ServerHttp2Session> {
  const internals = server as unknown as Partial<ServerInternals>;
  const { commonServerOptions, createHttp2Server } = internals;
  if (typeof commonServerOptions !== 'object' || typeof createHttp2Server !== 'function') {
    throw new TypeError('grpc-js no longer makes its servers as it did: see http2-sessions.ts');
  }
  commonServerOptions.settings = {
    ...commonServerOptions.settings,
    initialWindowSize: windows.streamWindowBytes,
  };
  const sessions = new Set<ServerHttp2Session>();
  internals.createHttp2Server = (credentials) => {
    const http2Server = createHttp2Server.call(server, credentials);
    http2Server.prependListener('stream', (_stream, headers) => dropFarDeadline(headers));
    http2Server.on('session', (session) => {
      session.setLocalWindowSize(windows.connectionWindowBytes);
      sessions.add(session);
      session.once('close', () => sessions.delete(session));
    });
    return http2Server;
  };
  return sessions;
}

const msOfUnit: ReadonlyMap<string, number> = new Map([
  ['S', 1000],
  ['M', 60_000],
  ['H', 3_600_000],
]);

/**
 * grpc-js counts a deadline in 32 bits: one of 25 days or more would overflow and end the call at once.
 * No call lasts as long, so such a deadline is as good as none.
 */
function dropFarDeadline(headers: IncomingHttpHeaders): void {
  const [, count, unit = ''] = /^(\d{1,8})([SMH])$/.exec(String(headers['grpc-timeout'])) ?? [];
  if (Number(count) * (msOfUnit.get(unit) ?? 0) >= 2 ** 31) delete headers['grpc-timeout'];
}
