import assert from 'node:assert/strict';
import { chmodSync, globSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { ApiClient, type ActionParts } from '../support/api-client.ts';
import { blobOf } from '../support/blob-of.ts';
import { startFleet } from '../support/fleet.ts';

const file = blobOf('what was sent');
const input = { name: 'i', digest: file.digest.toMessage() };
const PATH = { name: 'PATH', value: '/usr/bin:/bin' };
const sh = (script: string) => ({
  arguments: ['sh', '-c', script],
  environmentVariables: [PATH],
});

/** A real server and worker, and somebody who runs what no client should. */
async function start(t: TestContext) {
  const fleet = await startFleet(t, '[cas_storage]\ndurability = "normal"');
  await fleet.worker('one');
  const client = new ApiClient(t, fleet.server.address);
  await client.put(file);
  const run = async (parts: ActionParts) => {
    const actionDigest = await client.putAction(parts);
    const { status, result } = await client.run({ actionDigest, skipCacheLookup: true });
    const { stdoutRaw, stdoutDigest } = result ?? {};
    const stored = stdoutDigest && `blobs/${stdoutDigest.hash}/${stdoutDigest.sizeBytes}`;
    const stdout = stored === undefined ? stdoutRaw : await client.read(stored);
    return { code: status?.code ?? Code.OK, result, stdout: Buffer.from(stdout ?? '').toString() };
  };
  return { ...fleet, client, run };
}

test('a command', async (t) => {
  const { run } = await start(t);

  await t.test('HI-03: finds links of any target as they were sent', async () => {
    const links = new Map([
      ['absolute', '/etc/passwd'],
      ['out', '../../../..'],
      ['loop', 'loop'],
      ['long', 'x/'.repeat(2000)],
    ]);
    const symlinks = [...links].map(([name, target]) => ({ name, target }));
    const script = `for name in ${[...links.keys()].join(' ')}; do readlink $name; done`;
    const { stdout } = await run({ command: sh(script), root: { symlinks } });
    assert.deepEqual(stdout.trimEnd().split('\n'), [...links.values()]);
    const tooLong = { symlinks: [{ name: 'l', target: 'x'.repeat(5000) }] };
    assert.equal((await run({ command: sh('true'), root: tooLong })).code, Code.INVALID_ARGUMENT);
  });

  await t.test('HI-03, HI-11: gets no output folder through a link or a file', async () => {
    const command = { ...sh('true'), outputPaths: ['i/x'] };
    const roots: readonly (readonly [ActionParts['root'], Code])[] = [
      [{ files: [input] }, Code.INVALID_ARGUMENT],
      [{ symlinks: [{ name: 'i', target: 'i' }] }, Code.INVALID_ARGUMENT],
      [{ symlinks: [{ name: 'i', target: '/tmp' }] }, Code.FAILED_PRECONDITION],
    ];
    for (const [root = {}, code] of roots) {
      assert.equal((await run({ command, root })).code, code, JSON.stringify(root));
    }
  });

  await t.test(
    'HI-11: may have an input as an output, and many that it does not make',
    async () => {
      const outputPaths = ['i', ...Array.from({ length: 1000 }, (_, at) => `o${at}`)];
      const root = { files: [input] };
      const same = await run({ command: { ...sh('true'), outputPaths }, root });
      const digests = same.result?.outputFiles.map(({ digest }) => digest?.hash);
      assert.deepEqual(digests, [file.digest.hash]);
      const other = await run({ command: { ...sh('rm i; echo o > i'), outputPaths }, root });
      assert.equal(other.result?.outputFiles[0]?.digest?.hash, blobOf('o\n').digest.hash);
    },
  );

  await t.test('HI-12: has its variables, whatever they do to others', async () => {
    const environmentVariables = [
      PATH,
      { name: 'LINES', value: 'one\ntwo' },
      { name: 'NODE_OPTIONS', value: '--require /no/such' },
      { name: 'BASH_ENV', value: '/no/such' },
      { name: 'odd name', value: 'é' },
    ];
    const all = await run({ command: { arguments: ['env', '-0'], environmentVariables } });
    const seen = new Set(all.stdout.split('\0'));
    for (const { name, value } of environmentVariables) {
      assert.ok(seen.has(`${name}=${value}`), `${name} in ${[...seen].join()}`);
    }
    const preload = { name: 'LD_PRELOAD', value: '/no/such.so' };
    const preloaded = await run({
      command: { ...sh('true'), environmentVariables: [PATH, preload] },
    });
    assert.equal(preloaded.result?.exitCode, 0);
  });

  await t.test('HI-13: with more arguments than Linux takes is INVALID_ARGUMENT', async () => {
    const large = Array.from({ length: 30 }, () => 'x'.repeat(100_000));
    const many = Array.from({ length: 1_000_000 }, () => '');
    for (const some of [large, many]) {
      const { code } = await run({ command: { arguments: ['/bin/true', ...some] } });
      assert.equal(code, Code.INVALID_ARGUMENT);
    }
    assert.equal((await run({ command: sh('true') })).result?.exitCode, 0, 'the worker lives');
  });
});

test('CI-05: an input that is damaged on the server gets to no command', async (t) => {
  const { client, run, at } = await start(t);
  const blobs = at('server/data/cas/blobs-v1');
  const damages: readonly ((stored: string) => void)[] = [
    (stored) => truncateSync(stored, 5),
    (stored) => writeFileSync(stored, 'x', { flag: 'a' }),
    (stored) => writeFileSync(stored, 'FILE 2'),
  ];
  for (const [round, damage] of damages.entries()) {
    // The worker keeps what it has fetched, so each round has an input of its own.
    const one = blobOf(`file ${round}`);
    await client.put(one);
    const files = [{ name: 'i', digest: one.digest.toMessage() }];
    const parts = { command: sh('cat i'), root: { files } };
    const [stored = ''] = globSync(`*/*/*/${one.digest.hash}-*`, { cwd: blobs });
    chmodSync(path.join(blobs, stored), 0o644);
    damage(path.join(blobs, stored));
    const damaged = await run(parts);
    assert.notEqual(damaged.code, Code.OK, `round ${round}`);
    assert.equal(damaged.stdout, '');
    await client.put(one);
    assert.equal((await run(parts)).stdout, `file ${round}`);
  }
});
