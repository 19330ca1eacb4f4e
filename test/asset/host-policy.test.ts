import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HostPolicy, isPublic } from '../../src/asset/host-policy.ts';
import { Code, StatusError } from '../../src/base/status.ts';
import { never } from '../support/never.ts';

const hidden = [
  '0.0.0.0',
  '10.1.2.3',
  '100.64.0.1',
  '100.100.100.200',
  '127.0.0.1',
  '127.255.255.255',
  '169.254.169.254',
  '172.16.0.1',
  '172.31.255.255',
  '192.0.0.1',
  '192.168.1.1',
  '198.18.0.1',
  '224.0.0.1',
  '240.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  '::ffff:127.0.0.1',
  '::ffff:8.8.8.8',
  '::127.0.0.1',
  '64:ff9b::7f00:1',
  '100::1',
  '2001::1',
  '2001:db8::1',
  '2002:7f00:1::',
  '3fff::1',
  'fc00::1',
  'fd00:ec2::254',
  'fe80::1',
  'fec0::1',
  'ff02::1',
];

test('AST-24: addresses that only some can reach are not public', () => {
  for (const address of hidden) assert.ok(!isPublic(address), address);
  for (const address of ['8.8.8.8', '172.32.0.1', '100.128.0.1', '2606:4700::1111', '2a00::1']) {
    assert.ok(isPublic(address), address);
  }
});

const everyHost = { allowedHosts: ['*'], allowedPrivateHosts: [] };
const denied = { name: 'OriginFailure', code: Code.PERMISSION_DENIED };

const inDisguise = [
  'http://127.1/',
  'http://2130706433/',
  'http://0x7f000001/',
  'http://0177.0.0.1/',
  'http://[::1]/',
  'http://[::ffff:7f00:1]/',
  'http://[0:0:0:0:0:ffff:10.0.0.1]/',
  'http://１２７.0.0.1/',
  'http://user@169.254.169.254/latest/meta-data/',
];
for (const uri of inDisguise) {
  test(`AST-24: ${uri} is not fetched`, async () => {
    const policy = new HostPolicy(everyHost, () => assert.fail('an address is not looked up'));
    await assert.rejects(policy.addressesOf(new URL(uri), never), denied);
  });
}

test('AST-24: a name is looked up, and only its public addresses are used', async () => {
  const names = new Map([
    ['good.example', ['8.8.8.8', '2606:4700::1111']],
    ['mixed.example', ['127.0.0.1', '8.8.8.8', '::1']],
    ['evil.example', ['127.0.0.1', 'fe80::1']],
    ['empty.example', []],
  ]);
  const policy = new HostPolicy(everyHost, async (name) => names.get(name) ?? []);
  const addressesOf = (host: string) => policy.addressesOf(new URL(`https://${host}/`), never);
  assert.deepEqual(await addressesOf('good.example'), ['8.8.8.8', '2606:4700::1111']);
  assert.deepEqual(await addressesOf('mixed.example'), ['8.8.8.8']);
  await assert.rejects(addressesOf('evil.example'), denied);
  await assert.rejects(addressesOf('empty.example'), { code: Code.NOT_FOUND });
});

test('a name that no DNS knows is NOT_FOUND; a DNS that does not answer is UNAVAILABLE', async () => {
  for (const [code, expected] of [
    ['ENOTFOUND', Code.NOT_FOUND],
    ['EAI_AGAIN', Code.UNAVAILABLE],
  ] as const) {
    const policy = new HostPolicy(everyHost, async () => {
      throw Object.assign(new Error(code), { code });
    });
    const looked = policy.addressesOf(new URL('https://example.com/'), never);
    await assert.rejects(looked, { code: expected });
  }
});

test('AST-24: only http and https are fetched', async () => {
  const policy = new HostPolicy({ allowedHosts: ['*'], allowedPrivateHosts: ['*'] });
  for (const uri of ['file:///etc/passwd', 'ftp://127.0.0.1/', 'data:,a', 'gopher://127.0.0.1/']) {
    await assert.rejects(policy.addressesOf(new URL(uri), never), denied);
  }
});

test('AST-24: hosts are allowed by name, with a port, or all below a name', async () => {
  const allowedHosts = [
    'exact.example',
    'port.example:8080',
    'standard.example:443',
    '*.below.example',
  ];
  const policy = new HostPolicy({ allowedHosts, allowedPrivateHosts: [] }, async () => ['8.8.8.8']);
  const isAllowed = (uri: string) =>
    policy.addressesOf(new URL(uri), never).then(
      () => true,
      () => false,
    );
  for (const [uri, expected] of [
    ['https://exact.example/', true],
    ['https://EXACT.example:8443/', true],
    ['https://more.exact.example/', false],
    ['https://exact.example.evil.example/', false],
    ['https://exact.example@evil.example/', false],
    ['http://port.example:8080/', true],
    ['http://port.example/', false],
    ['https://standard.example/', true],
    ['https://standard.example:444/', false],
    ['http://standard.example/', false],
    ['https://a.below.example/', true],
    ['https://a.b.below.example/', true],
    ['https://below.example/', false],
    ['https://notbelow.example/', false],
  ] as const) {
    assert.equal(await isAllowed(uri), expected, uri);
  }
});

test('AST-24: a host that may be private is the only one', async () => {
  const rules = { allowedHosts: ['*'], allowedPrivateHosts: ['files.corp', '[::1]'] };
  const policy = new HostPolicy(rules, async () => ['10.0.0.7']);
  assert.deepEqual(await policy.addressesOf(new URL('http://files.corp/'), never), ['10.0.0.7']);
  assert.deepEqual(await policy.addressesOf(new URL('http://[::1]:8080/'), never), ['::1']);
  await assert.rejects(policy.addressesOf(new URL('http://other.corp/'), never), denied);
  await assert.rejects(policy.addressesOf(new URL('http://127.0.0.1/'), never), denied);
});

test('AST-14: a DNS that says nothing is waited for no longer than the fetch may take', async () => {
  const policy = new HostPolicy(
    { allowedHosts: ['*'], allowedPrivateHosts: [] },
    () => new Promise(() => {}),
  );
  const late = new AbortController();
  const looked = policy.addressesOf(new URL('https://example.com/'), late.signal);
  late.abort(new StatusError(Code.DEADLINE_EXCEEDED, 'late'));
  await assert.rejects(looked, { code: Code.DEADLINE_EXCEEDED, message: 'late' });
});
