import type { Server } from '@grpc/grpc-js';
import {
  constants,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerOptions,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type Http2Stream,
} from 'node:http2';
import type { Socket } from 'node:net';
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import { IncompleteMessages } from './incomplete-messages.ts';
import { UnreadAnswers } from './unread-answers.ts';

export interface ConnectionLimits {
  readonly incompleteBytesMax: number;
  readonly unreadTimeoutMs: number;
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
  readonly connectionsMax: number;
  readonly concurrentCallsMax: number;
  readonly cancelledCallsMax: number;
  readonly cancelledCallsPerSecond: number;
}

interface ServerInternals {
  readonly commonServerOptions: ServerOptions;
  createHttp2Server: (credentials: unknown) => Http2Server;
}

export interface Connections {
  /** Ends all of them, without waiting for what their clients have to say to that. */
  destroy(): void;
}

/**
 * Does for the connections of a grpc-js server what its options cannot (1.14): widens the receive
 * windows, bounds the connections and can end them, lets clients cancel calls, keeps calls with far
 * deadlines alive, ends those whose client sends on after the answer, bounds what messages hold before
 * they are complete, and ends those whose client reads nothing. Call it before the server listens.
 *
 * HTTP/2's 64 KiB windows stall an upload once per round trip; grpc-js reads the option for them in
 * clients only. And without channelz, whose bookkeeping costs each call, `forceShutdown` knows of no
 * connection and closes none. So this reaches for what the server makes its HTTP/2 servers with, and
 * throws when that has changed.
 */
export function openSessions(
  server: Server,
  limits: ConnectionLimits,
  clock: Clock,
  log: Log,
): Connections {
  const internals = server as unknown as Partial<ServerInternals>;
  const { commonServerOptions, createHttp2Server } = internals;
  if (typeof commonServerOptions !== 'object' || typeof createHttp2Server !== 'function') {
    throw new TypeError('grpc-js no longer makes its servers as it did: see http2-sessions.ts');
  }
  commonServerOptions.settings = {
    ...commonServerOptions.settings,
    initialWindowSize: limits.streamWindowBytes,
  };
  commonServerOptions.streamResetBurst = limits.cancelledCallsMax;
  commonServerOptions.streamResetRate = limits.cancelledCallsPerSecond;
  // A call that was cancelled takes its place until Node has noticed: a client that cancels all its calls
  // and makes as many at once is told to come back with them, and keeps its connection.
  commonServerOptions.maxSessionRejectedStreams = limits.concurrentCallsMax;
  const incomplete = new IncompleteMessages(limits.incompleteBytesMax, log);
  const unread = new UnreadAnswers(limits.unreadTimeoutMs, clock, log);
  const sessions = new Set<ServerHttp2Session>();
  const sockets = new Set<Socket>();
  internals.createHttp2Server = (credentials) => {
    const http2Server = createHttp2Server.call(server, credentials);
    http2Server.maxConnections = limits.connectionsMax;
    http2Server.prependListener('stream', (stream, headers) => {
      dropFarDeadline(headers);
      incomplete.watch(stream as ServerHttp2Stream, headers);
      unread.watch(stream as ServerHttp2Stream, headers);
      stopAfterAnswer(stream, limits.streamWindowBytes);
    });
    http2Server.on('connection', (socket) => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
    });
    http2Server.on('session', (session) => {
      session.setLocalWindowSize(limits.connectionWindowBytes);
      sessions.add(session);
      session.once('close', () => sessions.delete(session));
    });
    return http2Server;
  };
  return {
    destroy: () => {
      unread.close();
      for (const session of sessions) session.destroy();
      // A session leaves its socket open until the other side closes it, which may be never.
      for (const socket of sockets) socket.destroy();
    },
  };
}

/**
 * grpc-js reads on for as long as a client sends, even when the call has its answer. A client that has
 * seen it stops by itself; one that has not after `lateBytesMax` more, which is what may have been
 * under way, is stopped as RFC 9113 (8.1) has it: by RST_STREAM without an error, which leaves the
 * answer valid (BS-40).
 */
function stopAfterAnswer(stream: Http2Stream, lateBytesMax: number): void {
  stream.once('finish', () => {
    if (stream.readableEnded) return;
    let lateBytes = 0;
    stream.on('data', (bytes: Buffer) => {
      lateBytes += bytes.length;
      if (lateBytes > lateBytesMax && !stream.closed) stream.close(constants.NGHTTP2_NO_ERROR);
    });
  });
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
