import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatAddress, isLoopback, parseAddress } from '../../src/config/address.ts';

for (const [text, expected] of [
  ['localhost:50051', 'localhost:50051'],
  ['grpc://10.0.0.7:1', '10.0.0.7:1'],
  ['http://build-server.example:8980/', 'build-server.example:8980'],
  ['[::1]:0', '[::1]:0'],
  ['grpc://[fe80::1]:50051', '[fe80::1]:50051'],
  ['grpcs://host:1', 'tls'],
  ['https://host', 'tls'],
  ['host', 'malformed'],
  ['host:', 'malformed'],
  ['host:65536', 'malformed'],
  ['::1:50051', 'malformed'],
  ['unix:/run/x.sock', 'malformed'],
  ['http://user@host:1', 'malformed'],
  ['', 'malformed'],
] as const) {
  test(`the address "${text}" is ${expected}`, () => {
    const address = parseAddress(text);
    assert.equal(typeof address === 'string' ? address : formatAddress(address), expected);
  });
}

test('only this machine is loopback', () => {
  for (const host of ['localhost', '::1', '127.0.0.1', '127.8.8.8']) assert.ok(isLoopback(host));
  for (const host of ['0.0.0.0', '::', '10.0.0.1', 'localhost.evil', '127.0.0.1.evil']) {
    assert.ok(!isLoopback(host));
  }
});
