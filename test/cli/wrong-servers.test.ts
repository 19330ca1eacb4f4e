import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import net, { type AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import tls from 'node:tls';
import { certificateSkip, selfSigned } from '../support/certificate.ts';
import { inReverse } from '../support/in-reverse.ts';
import { runCli } from '../support/run-cli.ts';
import { tempDir } from '../support/temp-dir.ts';

type Hooks = ReturnType<typeof inReverse>;

async function addressOf(t: Hooks, server: net.Server | http2.Http2Server): Promise<string> {
  t.after(() => server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function webServer(status: number, headers: http2.OutgoingHttpHeaders, body: string | undefined) {
  const server = http2.createServer();
  server.on('stream', (stream: http2.ServerHttp2Stream) => {
    stream.on('error', () => {});
    stream.respond({ ':status': status, ...headers }, { endStream: body === undefined });
    if (body !== undefined) stream.end(body);
  });
  return server;
}

const html = { 'content-type': 'text/html' };
const page = '<html><body>nothing here</body></html>';

describe('a server which is not one of gRPC is told as such', { concurrency: true }, () => {
  for (const [what, status, headers, body, exitCode, message] of [
    [
      'a web server without the page',
      404,
      html,
      page,
      69,
      'it speaks HTTP/2 but is no gRPC server: it answered content-type text/html, status 404',
    ],
    [
      'a web server that says so without a body',
      404,
      html,
      undefined,
      69,
      'it speaks HTTP/2 but is no gRPC server: it answered content-type text/html, status 404',
    ],
    [
      'a web server with a page for everything',
      200,
      html,
      page,
      69,
      'it speaks HTTP/2 but is no gRPC server: it answered content-type text/html, status 200',
    ],
    [
      'a web server with an empty page',
      200,
      { 'content-type': 'application/json' },
      '',
      69,
      'it speaks HTTP/2 but is no gRPC server: it answered content-type application/json, status 200',
    ],
    [
      'a web server that is broken',
      500,
      { 'content-type': 'text/plain; charset=utf-8' },
      'oh',
      69,
      'it speaks HTTP/2 but is no gRPC server: it answered content-type text/plain; charset=utf-8, status 500',
    ],
    [
      'a proxy that asks for a login',
      403,
      html,
      page,
      77,
      'no gRPC server was there, maybe a proxy before it: it answered content-type text/html, status 403',
    ],
  ] as const) {
    it(`${what} ends with ${exitCode}`, async (context) => {
      const t = inReverse(context);
      const address = await addressOf(t, webServer(status, headers, body));
      const ping = ['ping', '--remote', address, '--count', '1'];
      const result = await runCli(ping, { folder: tempDir(t) });
      assert.equal(result.stderr, `error: ${address}: ${message}\n`);
      assert.equal(result.exitCode, exitCode);
      const conformance = await runCli(['conformance', address], { folder: tempDir(t) });
      assert.equal(conformance.stderr, `error: no capabilities from ${address}: ${message}\n`);
      assert.equal(conformance.exitCode, exitCode);
    });
  }

  for (const [what, make, skip] of [
    ['a web server of HTTP/1', () => http.createServer((_, answer) => answer.end(page)), false],
    [
      'a server with TLS',
      (t: Hooks) =>
        tls.createServer(selfSigned(t)).on('tlsClientError', (_, socket) => socket.destroy()),
      certificateSkip(),
    ],
    [
      'a server of something else',
      () =>
        net.createServer((socket) =>
          socket.on('error', () => {}).end('220 mail.example.com ESMTP\r\n'),
        ),
      false,
    ],
  ] as const) {
    it(`${what} ends with 69`, { skip }, async (context) => {
      const t = inReverse(context);
      const address = await addressOf(t, make(t));
      const { exitCode, stderr } = await runCli(['ping', '--remote', address], {
        folder: tempDir(t),
      });
      assert.match(stderr, /it speaks no HTTP\/2 in plaintext; is it gRPC without TLS\?$/m);
      assert.equal(exitCode, 69);
    });
  }

  it('a proxy whose server is away is asked again, and ends with 69', async (context) => {
    const t = inReverse(context);
    const address = await addressOf(t, webServer(503, html, page));
    const { exitCode, stderr } = await runCli(['ping', '--remote', address], {
      folder: tempDir(t),
    });
    assert.equal(
      stderr,
      `error: no answer from ${address}: no gRPC server was there, maybe a proxy before it: ` +
        'it answered content-type text/html, status 503\n',
    );
    assert.equal(exitCode, 69);
  });
});
