import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { collect } from '../../src/base/chunks.ts';
import { type ActionSpec, prepareAction } from '../../src/client/prepare-action.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import {
  Action,
  Command,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { never } from '../support/never.ts';
import { tempDir } from '../support/temp-dir.ts';

const spec: ActionSpec = {
  arguments: ['sh', '-c', 'true'],
  environment: new Map(),
  inputFolder: undefined,
  workingDirectory: '',
  outputPaths: [],
  platform: [],
  timeoutMs: undefined,
  doNotCache: false,
  salt: new Uint8Array(),
};
const current = { digestFunction: sha256, knowsOutputPaths: true };

async function messagesOf(given: Partial<ActionSpec>, options = current) {
  const prepared = await prepareAction({ ...spec, ...given }, options, never);
  const read = async (hash: string) => {
    const source = prepared.sources.find(({ digest }) => digest.hash === hash);
    assert.ok(source);
    return collect(source.open());
  };
  return {
    prepared,
    action: Action.decode(await read(prepared.digest.hash)),
    command: Command.decode(await read(prepared.command.hash)),
  };
}

test('CLI-05, ACT-05: the same action has the same digest, however it was written down', async () => {
  const one = await messagesOf({
    environment: new Map([
      ['B', '2'],
      ['A', '1'],
      ['\u{1F600}', 'astral'],
      ['\uFFFD', 'below it'],
    ]),
    outputPaths: ['z', 'a/', 'z'],
    platform: [
      { name: 'p', value: '2' },
      { name: 'p', value: '1' },
      { name: '\u{1F600}', value: 'astral' },
      { name: '\uFFFD', value: 'below it' },
      { name: 'OSFamily', value: 'linux' },
    ],
  });
  assert.deepEqual(
    one.command.environmentVariables.map(({ name }) => name),
    ['A', 'B', '\uFFFD', '\u{1F600}'],
  );
  assert.deepEqual(one.command.outputPaths, ['a', 'z']);
  assert.deepEqual(
    one.action.platform?.properties.map(({ name, value }) => `${name}=${value}`),
    ['OSFamily=linux', 'p=1', 'p=2', '\uFFFD=below it', '\u{1F600}=astral'],
  );
});

test('CLI-06: platform stands in both messages, and outputs in output_paths alone', async () => {
  const platform = [{ name: 'os', value: 'linux' }];
  const { action, command } = await messagesOf({ platform, outputPaths: ['out'] });
  assert.deepEqual(action.platform, command.platform);
  assert.deepEqual([command.outputFiles, command.outputDirectories], [[], []]);
});

test('CLI-06: a server of version 2.0 gets the older lists alone', async () => {
  const { command } = await messagesOf(
    { outputPaths: ['file', 'folder/'] },
    { ...current, knowsOutputPaths: false },
  );
  assert.deepEqual(command.outputPaths, []);
  assert.deepEqual(command.outputFiles, ['file']);
  assert.deepEqual(command.outputDirectories, ['folder']);
});

test('ACT-01: timeout, salt and do_not_cache take part in the digest', async () => {
  const variants = [
    {},
    { timeoutMs: 1500 },
    { salt: Buffer.from('x') },
    { doNotCache: true },
    { workingDirectory: 'w' },
  ];
  const all = await Promise.all(variants.map((variant) => messagesOf(variant)));
  assert.equal(new Set(all.map(({ prepared }) => prepared.digest.hash)).size, variants.length);
  assert.equal(all[1]?.action.timeout?.seconds, 1);
  assert.equal(all[1].action.timeout.nanos, 500_000_000);
  assert.equal(all[0]?.action.timeout, undefined);
});

test('an input folder becomes the input root, and its blobs can be uploaded', async (t) => {
  const folder = tempDir(t);
  mkdirSync(path.join(folder, 'sub'));
  writeFileSync(path.join(folder, 'sub', 'tool'), 'run');
  chmodSync(path.join(folder, 'sub', 'tool'), 0o755);
  symlinkSync('sub/tool', path.join(folder, 'link'));
  const { prepared, action } = await messagesOf({ inputFolder: folder });
  assert.equal(action.inputRootDigest?.hash, prepared.inputRoot.hash);
  assert.equal(prepared.sources.length, 2 + 2 + 1);
  assert.equal(prepared.totals.files, 1);
});
