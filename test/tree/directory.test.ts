import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import { Digest } from '../../src/digest/digest.ts';
import {
  type DeepPartial,
  Directory,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { parseDirectory } from '../../src/tree/directory.ts';
import { blobOf } from '../support/blob-of.ts';
import { seededRandom } from '../support/seeded-random.ts';

const hello = blobOf('hello').digest.toMessage();

function parse(directory: DeepPartial<Directory> | Uint8Array) {
  const bytes =
    directory instanceof Uint8Array
      ? directory
      : Directory.encode(Directory.fromPartial(directory)).finish();
  return parseDirectory(bytes, Digest.ofBytes(sha256, bytes));
}

const refused = { name: 'StatusError', code: Code.INVALID_ARGUMENT };

test('gives nodes with checked digests and their properties', () => {
  const parsed = parse({
    files: [{ name: 'f', digest: hello, isExecutable: true, nodeProperties: { unixMode: 0o600 } }],
    directories: [{ name: 'd', digest: blobOf('').digest.toMessage() }],
    symlinks: [{ name: 'l', target: 'a/../b/./c', nodeProperties: { mtime: { seconds: 7 } } }],
    nodeProperties: { unixMode: 0o700 },
  });
  assert.ok(parsed.files[0]?.digest.equals(blobOf('hello').digest));
  assert.equal(parsed.files[0]?.isExecutable, true);
  assert.equal(parsed.files[0]?.properties?.unixMode, 0o600);
  assert.equal(parsed.directories[0]?.name, 'd');
  assert.equal(parsed.symlinks[0]?.target, 'a/../b/./c');
  assert.equal(parsed.symlinks[0]?.properties?.mtime?.seconds, 7);
  assert.equal(parsed.properties?.unixMode, 0o700);
});

test('DIR-12: no bytes are the empty directory', () => {
  assert.deepEqual(parse(Buffer.alloc(0)).files, []);
});

test('HI-08, DIR-04: takes nodes in any order', () => {
  const parsed = parse({ files: ['b', 'a'].map((name) => ({ name, digest: hello })) });
  assert.deepEqual(
    parsed.files.map(({ name }) => name),
    ['b', 'a'],
  );
});

test('DIR-05: takes properties in any order, and with repeats', () => {
  const properties = ['b', 'a', 'b'].map((name) => ({ name, value: 'v' }));
  const parsed = parse({ files: [{ name: 'f', digest: hello, nodeProperties: { properties } }] });
  assert.equal(parsed.files[0]?.properties?.properties.length, 3);
});

describe('HI-01, DIR-01, DIR-02: refuses a name that is not one path segment', () => {
  for (const name of ['', '.', '..', '/', 'a/b', '/a', 'a/', 'a\0b']) {
    it(`as a file: ${JSON.stringify(name)}`, () => {
      assert.throws(() => parse({ files: [{ name, digest: hello }] }), refused);
    });
    it(`as a directory: ${JSON.stringify(name)}`, () => {
      assert.throws(() => parse({ directories: [{ name, digest: hello }] }), refused);
    });
    it(`as a symlink: ${JSON.stringify(name)}`, () => {
      assert.throws(() => parse({ symlinks: [{ name, target: 't' }] }), refused);
    });
  }
});

describe('HI-02, DIR-03, DIR-15: refuses a name given twice', () => {
  const x = { name: 'x', digest: hello };
  const link = { name: 'x', target: 't' };
  const cases: [string, DeepPartial<Directory>][] = [
    ['two files', { files: [x, x] }],
    ['a file and a directory', { files: [x], directories: [x] }],
    ['a directory and a symlink', { directories: [x], symlinks: [link] }],
    ['a file and a symlink', { files: [x], symlinks: [link] }],
  ];
  for (const [what, directory] of cases) {
    it(what, () => assert.throws(() => parse(directory), refused));
  }
});

test('HI-30: takes names that mean something to JavaScript', () => {
  const names = ['__proto__', 'constructor', 'toString'];
  const parsed = parse({ files: names.map((name) => ({ name, digest: hello })) });
  assert.deepEqual(
    parsed.files.map(({ name }) => name),
    names,
  );
});

test('HI-05: refuses more nodes than memory takes before it makes them', () => {
  const empties = Buffer.alloc(3_000_000, Buffer.of(0x0a, 0));
  assert.throws(() => parse(empties), {
    ...refused,
    message: /would take more than \d+ bytes of memory/,
  });
});

test('HI-03, DIR-10: refuses a symlink without a target', () => {
  assert.throws(() => parse({ symlinks: [{ name: 'l', target: '' }] }), refused);
});

describe('DIG-12: refuses a child whose digest is', () => {
  for (const [what, digest] of [
    ['absent', undefined],
    ['of another function', { hash: 'a'.repeat(40), sizeBytes: 1 }],
    ['in upper case', { hash: 'A'.repeat(64), sizeBytes: 1 }],
    ['of a negative size', { hash: 'a'.repeat(64), sizeBytes: -1 }],
  ] as const) {
    it(what, () => {
      assert.throws(() => parse({ files: [{ name: 'f', digest }] }), refused);
      assert.throws(() => parse({ directories: [{ name: 'd', digest }] }), refused);
    });
  }
});

describe('CAS-49: refuses bytes that are no Directory', () => {
  for (const text of ['hello', 'hello world\n', 'int main() {}', '#!/bin/sh\n', '{"a": 1}']) {
    it(JSON.stringify(text), () => assert.throws(() => parse(Buffer.from(text)), refused));
  }
  it('a message cut short', () => {
    const bytes = Directory.encode(
      Directory.fromPartial({ files: [{ name: 'f', digest: hello }] }),
    ).finish();
    assert.throws(() => parse(bytes.subarray(0, -1)), refused);
  });
});

test('DIR-13: refuses a time that is none, which a disk would take for another', () => {
  const times = [
    [{ seconds: 1e15 }, false],
    [{ seconds: -1e15 }, false],
    [{ seconds: 253_402_300_800 }, false],
    [{ seconds: -62_135_596_801 }, false],
    [{ nanos: 2e9 }, false],
    [{ nanos: 1e9 }, false],
    [{ nanos: -1 }, false],
    [{ seconds: 253_402_300_799, nanos: 999_999_999 }, true],
    [{ seconds: -62_135_596_800 }, true],
  ] as const;
  for (const [mtime, isTime] of times) {
    const nodeProperties = { mtime };
    for (const directory of [
      { nodeProperties },
      { files: [{ name: 'f', digest: hello, nodeProperties }] },
      { symlinks: [{ name: 'l', target: 'x', nodeProperties }] },
    ]) {
      const what = JSON.stringify(directory);
      if (isTime) assert.doesNotThrow(() => parse(directory), what);
      else assert.throws(() => parse(directory), refused, what);
    }
  }
});

test('refuses a name that is not UTF-8 instead of repairing it', () => {
  // Field 3 (symlinks), 6 bytes: name = one stray 0xff, target = "t".
  const bytes = Buffer.from([0x1a, 6, 0x0a, 1, 0xff, 0x12, 1, 0x74]);
  assert.throws(() => parse(bytes), refused);
});

test('answers nonsense with INVALID_ARGUMENT or a directory, never with another error', (t) => {
  const seed = Number(process.hrtime.bigint() % 1_000_000n);
  t.diagnostic(`seed ${seed}`);
  const random = seededRandom(seed);
  const whole = Directory.encode(
    Directory.fromPartial({
      files: [{ name: 'file', digest: hello, nodeProperties: { mtime: { seconds: 1 } } }],
      directories: [{ name: 'directory', digest: hello }],
      symlinks: [{ name: 'symlink', target: 'target' }],
    }),
  ).finish();
  for (let round = 0; round < 3000; round++) {
    const bytes = Uint8Array.from(whole);
    for (let flips = 0; flips < 3; flips++) {
      bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
    }
    const input = bytes.subarray(0, Math.ceil(random() * bytes.length));
    try {
      parse(input);
    } catch (error) {
      assert.equal((error as { code?: Code }).code, Code.INVALID_ARGUMENT, String(error));
    }
  }
});
