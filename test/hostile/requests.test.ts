import assert from 'node:assert/strict';
import { connect } from 'node:http2';
import { test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import {
  type DeepPartial,
  type Digest,
  Directory,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { encodeFields } from '../fuzz/wire-fields.ts';
import { framed, RawCalls } from '../fuzz/raw-calls.ts';
import { blobOf } from '../support/blob-of.ts';
import { codeOf, startHostile } from './rig.ts';

const invalid = { code: Code.INVALID_ARGUMENT };
const cas = '/build.bazel.remote.execution.v2.ContentAddressableStorage';
const small = blobOf('small');

const directoryOf = (directory: DeepPartial<Directory>) =>
  blobOf(Directory.encode(Directory.fromPartial(directory)).finish());

test('GetTree', async (t) => {
  const { client } = await startHostile(t);

  await t.test('HI-05, HI-06: of a few directories that stand for 2^30 is bounded', async () => {
    let below = directoryOf({ files: [{ name: 'f', digest: small.digest.toMessage() }] });
    await client.put(below);
    for (let level = 0; level < 30; level++) {
      const digest = below.digest.toMessage();
      below = directoryOf({ directories: ['l', 'r'].map((name) => ({ name, digest })) });
      await client.put(below);
    }
    const pages = await client.getTree({ rootDigest: below.digest.toMessage() });
    const all = pages.flatMap(({ directories }) => directories);
    assert.equal(all.length, 31, 'each directory once');
  });

  await t.test('HI-06: takes no page token but its own, and no negative page size', async () => {
    const root = directoryOf({ symlinks: [{ name: 'l', target: 't' }] });
    await client.put(root);
    const rootDigest = root.digest.toMessage();
    for (const pageToken of ['garbage', '\0', '__proto__', 'x'.repeat(10_000), small.digest.hash]) {
      await assert.rejects(client.getTree({ rootDigest, pageToken }), invalid, pageToken);
    }
    await assert.rejects(client.getTree({ rootDigest, pageSize: -1 }), invalid);
    const pages = await client.getTree({ rootDigest, pageSize: 2 ** 31 - 1 });
    assert.equal(pages.length, 1);
  });
});

test('Execute', async (t) => {
  const { client } = await startHostile(t, '[execution]\nworker_grace = "1ms"');
  const run = async (root: DeepPartial<Directory>) =>
    client.run({ actionDigest: await client.putAction({ command: { arguments: ['a'] }, root }) });
  const file = small.digest.toMessage();
  await client.put(small);

  for (const name of ['..', '.', '', 'a/b', '/etc', 'a\0b', 'x'.repeat(256)]) {
    await t.test(`HI-01: refuses inputs called ${JSON.stringify(name.slice(0, 9))}`, async () => {
      await assert.rejects(run({ files: [{ name, digest: file }] }), invalid);
      await assert.rejects(run({ symlinks: [{ name, target: 't' }] }), invalid);
      const digest = directoryOf({}).digest.toMessage();
      await assert.rejects(run({ directories: [{ name, digest }] }), invalid);
    });
  }

  await t.test('HI-02: refuses a link and a folder of one name', async () => {
    const digest = directoryOf({}).digest.toMessage();
    const root = {
      symlinks: [{ name: 'a', target: '/tmp' }],
      directories: [{ name: 'a', digest }],
    };
    await assert.rejects(run(root), invalid);
  });

  await t.test('HI-03: refuses links to nothing and to a NUL', async () => {
    for (const target of ['', 'a\0b']) {
      await assert.rejects(run({ symlinks: [{ name: 'l', target }] }), invalid);
    }
  });

  await t.test('HI-04: refuses a file as a directory, and misses one of another size', async () => {
    await assert.rejects(run({ directories: [{ name: 'd', digest: file }] }), invalid);
    const directory = directoryOf({ symlinks: [{ name: 'l', target: 't' }] });
    await client.put(directory);
    const { hash, sizeBytes } = directory.digest;
    const digest = { hash, sizeBytes: sizeBytes + 1 };
    const { status } = await run({ directories: [{ name: 'd', digest }] });
    assert.equal(status?.code, Code.FAILED_PRECONDITION);
  });

  await t.test(
    'HI-05: refuses directories that stand for 2^30, and 10^5 below each other',
    async () => {
      let below = directoryOf({});
      for (let level = 0; level < 30; level++) {
        const digest = below.digest.toMessage();
        below = directoryOf({ directories: ['l', 'r'].map((name) => ({ name, digest })) });
        await client.put(below);
      }
      await assert.rejects(run(Directory.decode(below.bytes)), invalid);
      below = directoryOf({});
      for (let batch = 0; batch < 10; batch++) {
        const chain = Array.from({ length: 500 }, () => {
          const digest = below.digest.toMessage();
          below = directoryOf({ directories: [{ name: 'd', digest }] });
          return below;
        });
        await client.put(...chain);
      }
      await assert.rejects(run(Directory.decode(below.bytes)), invalid);
    },
  );

  await t.test('HI-30: names of JavaScript are names like any other', async () => {
    const properties = ['__proto__', 'constructor', 'toString'].map((name) => ({
      name,
      value: 'x',
    }));
    const action = { platform: { properties } };
    const command = { arguments: ['a'], environmentVariables: properties };
    const actionDigest = await client.putAction({ command, action });
    const { status } = await client.run({ actionDigest });
    assert.notEqual(status?.code, Code.INTERNAL);
    for (const instanceName of ['__proto__', 'constructor', 'toString']) {
      await assert.rejects(client.findMissing({ instanceName, blobDigests: [file] }), invalid);
      assert.equal(await codeOf(client.cancel(`${instanceName}/operations/x`)), Code.NOT_FOUND);
    }
  });

  await t.test('HI-27: takes 10^5 names of outputs to inline', async () => {
    const actionDigest: Digest = await client.putAction({ command: { arguments: ['a'] } });
    const inlineOutputFiles = Array.from({ length: 100_000 }, (_, n) => `file-${n}`);
    const { status } = await client.run({ actionDigest, inlineOutputFiles });
    assert.notEqual(status?.code, Code.INTERNAL);
    await client.updateActionResult({ actionDigest, actionResult: { exitCode: 0 } });
    const result = await client.getActionResult({ actionDigest, inlineOutputFiles });
    assert.equal(result.outputFiles.length, 0);
  });
});

test('HI-25: auxiliary metadata of any type is kept as it is', async (t) => {
  const { client } = await startHostile(t);
  const auxiliaryMetadata = [
    { typeUrl: 'type.googleapis.com/no.such.Type', value: Buffer.alloc(100_000, 0x0b) },
    { typeUrl: '../../etc/passwd', value: Buffer.of(0xff) },
  ];
  const actionDigest = small.digest.toMessage();
  await client.updateActionResult({
    actionDigest,
    actionResult: { executionMetadata: { worker: 'w', auxiliaryMetadata } },
  });
  const { executionMetadata } = await client.getActionResult({ actionDigest });
  assert.deepEqual(
    executionMetadata?.auxiliaryMetadata.map(({ typeUrl, value }) => [typeUrl, value.length]),
    auxiliaryMetadata.map(({ typeUrl, value }) => [typeUrl, value.length]),
  );
});

test('HI-28: SpliceBlob takes a chunk many times, and no sum beyond what a double holds', async (t) => {
  const { client } = await startHostile(t);
  await client.put(small);
  const whole = blobOf('small'.repeat(10_000));
  const chunkDigests = Array.from({ length: 10_000 }, () => small.digest.toMessage());
  await client.spliceBlob({ blobDigest: whole.digest.toMessage(), chunkDigests });
  assert.deepEqual(await client.read(`blobs/${whole.digest}`), Buffer.from(whole.bytes));
  const huge = { hash: small.digest.hash, sizeBytes: Number.MAX_SAFE_INTEGER };
  const blobDigest = { hash: whole.digest.hash, sizeBytes: 10 };
  await assert.rejects(client.spliceBlob({ blobDigest, chunkDigests: [huge, huge] }), invalid);
  await assert.rejects(
    client.spliceBlob({ blobDigest, chunkDigests: [...chunkDigests, ...chunkDigests] }),
    invalid,
  );
});

test('bytes that are hardly messages', async (t) => {
  const { wire, address, client } = await startHostile(t);
  const findMissing = `${cas}/FindMissingBlobs`;

  await t.test(
    'HI-31: a field that claims 2 GiB, and messages 10^5 deep, are refused',
    async () => {
      const claim = Buffer.from([0x12, 0x80, 0x80, 0x80, 0x80, 0x08, 1, 2, 3]);
      await assert.rejects(wire.raw(findMissing, claim), invalid);
      await assert.rejects(wire.raw(findMissing, Buffer.alloc(100_000, 0x13)), invalid);
    },
  );

  await t.test('HI-31: three million empty messages in 6 MB are refused', async () => {
    const empties = Buffer.alloc(6_000_000, Buffer.from([0x12, 0x00]));
    const refused = { ...invalid, message: /would take more than \d+ bytes of memory/ };
    for (const method of ['FindMissingBlobs', 'BatchUpdateBlobs', 'BatchReadBlobs']) {
      await assert.rejects(wire.raw(`${cas}/${method}`, empties), refused, method);
    }
  });

  await t.test('HI-07: a list of a million digests is refused by its length', async () => {
    const { hash, sizeBytes } = small.digest;
    const blobDigests = Array.from({ length: 1_000_000 }, () => ({ hash, sizeBytes }));
    await assert.rejects(client.findMissing({ blobDigests }), { code: Code.RESOURCE_EXHAUSTED });
  });

  await t.test('HI-09: a digest is that of the bytes, however odd they are', async () => {
    // A Directory whose one link has its name twice, and a field that nobody knows, in long varints.
    const link = encodeFields([
      { number: 1, wireType: 2, value: Buffer.from('first') },
      { number: 1, wireType: 2, value: Buffer.from('last') },
      { number: 2, wireType: 2, value: Buffer.from('target') },
    ]);
    const odd = Buffer.concat([
      Buffer.from([0x1a, 0x80 | link.length, 0x00]),
      link,
      encodeFields([{ number: 99, wireType: 2, value: Buffer.from('unknown') }]),
    ]);
    const directory = blobOf(odd);
    await client.put(directory);
    assert.deepEqual(await client.read(`blobs/${directory.digest}`), odd);
    const pages = await client.getTree({ rootDigest: directory.digest.toMessage() });
    const [root] = pages.flatMap(({ directories }) => directories);
    assert.deepEqual(
      root?.symlinks.map(({ name }) => name),
      ['last'],
    );
  });

  await t.test('HI-21, HI-22: headers of any size and content end the call at worst', async () => {
    const calls = await RawCalls.open(address);
    t.after(() => calls.close());
    const call = (headers: Record<string, string>) =>
      calls.call({ path: findMissing, pieces: [framed(Buffer.of())], headers, patienceMs: 10_000 });
    const metadata = 'build.bazel.remote.execution.v2.requestmetadata-bin';
    const many = Array.from({ length: 100 }, (_, n) => [`x-header-${n}`, 'v'.repeat(50)] as const);
    for (const headers of [
      Object.fromEntries(many),
      { [metadata]: '%%%' },
      { [metadata]: Buffer.from('\u001b[31m<script>\0').toString('base64') },
      { 'x-binary-bin': 'no base64 \u00ff' },
      { 'x-text': 'caf\u00e9 \u00ff' },
      { 'user-agent': '\u00ff'.repeat(1000) },
    ]) {
      const { code } = await call(headers);
      assert.equal(code, Code.OK, JSON.stringify(headers).slice(0, 100));
    }
    // What is above the limit for headers ends the connection of who sends it, and no other.
    const session = connect(`http://${address}`);
    session.on('error', () => {});
    const stream = session.request({ ':path': findMissing, [metadata]: 'A'.repeat(1_000_000) });
    stream.on('error', () => {});
    await new Promise((resolve) => stream.once('close', resolve));
    session.destroy();
    assert.equal((await call({})).code, Code.OK);
  });
});
