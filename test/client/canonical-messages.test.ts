import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { createFileRegistry, fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { collect } from '../../src/base/chunks.ts';
import { prepareAction } from '../../src/client/prepare-action.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import { never } from '../support/never.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { tempDir } from '../support/temp-dir.ts';

/** The bytes that an encoder makes which knows the API by its descriptors alone, not by generated code. */
function otherEncoder(): (name: string, bytes: Uint8Array) => Uint8Array {
  const buf = path.resolve('node_modules/.bin/buf');
  const built = execFileSync(buf, ['build', '-o', '-#format=binpb'], { maxBuffer: 64 * 2 ** 20 });
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, built));
  return (name, bytes) => {
    const schema = registry.getMessage(`build.bazel.remote.execution.v2.${name}`);
    assert.ok(schema);
    return toBinary(schema, fromBinary(schema, bytes), { writeUnknownFields: false });
  };
}

test('DIG-03: the bytes of actions, commands and directories are those of another encoder', async (t) => {
  const seed = Number(process.hrtime.bigint() % 1_000_000n);
  t.diagnostic(`seed ${seed}`);
  const random = seededRandom(seed);
  const upTo = (max: number) => Math.floor(random() * (max + 1));
  const letters = ['a', 'Z', '-', '.', 'é', '￿', '😀', ' '];
  const text = () => Array.from({ length: upTo(6) }, () => letters[upTo(7)]).join('');
  const some = <T>(make: () => T) => Array.from({ length: upTo(4) }, make);
  const folders = Array.from({ length: 40 }, () => {
    const folder = tempDir(t);
    for (let n = upTo(8); n > 0; n--) {
      const name = path.join(folder, `${text()}${n}`);
      const kind = upTo(3);
      if (kind === 0) mkdirSync(name);
      else if (kind === 1) symlinkSync('target', name);
      else writeFileSync(name, text(), { mode: kind === 2 ? 0o755 : 0o644 });
    }
    return folder;
  });
  const encode = otherEncoder();
  const counts = new Map<string, number>();
  for (let n = 0; n < 400; n++) {
    const action = await prepareAction(
      {
        arguments: some(text),
        environment: new Map(some(() => [text(), text()])),
        inputFolder: folders[n],
        workingDirectory: text(),
        outputPaths: some(text),
        platform: some(() => ({ name: text(), value: text() })),
        timeoutMs: upTo(1) === 0 ? undefined : upTo(100_000),
        doNotCache: upTo(1) === 0,
        salt: Buffer.from(text()),
      },
      { digestFunction: sha256, knowsOutputPaths: upTo(1) === 0 },
      never,
    );
    const names = new Map([
      [action.digest.key, 'Action'],
      [action.command.key, 'Command'],
      [action.inputRoot.key, 'Directory'],
    ]);
    for (const source of action.sources) {
      const name = names.get(source.digest.key);
      if (name === undefined) continue;
      const ours = await collect(source.open());
      const shown = `${name} ${Buffer.from(ours).toString('hex')}`;
      assert.deepEqual(Buffer.from(ours), Buffer.from(encode(name, ours)), shown);
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  }
  assert.equal(counts.get('Action'), 400);
  assert.equal(counts.get('Command'), 400);
  assert.ok((counts.get('Directory') ?? 0) >= 30);
});
