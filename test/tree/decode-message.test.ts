import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import {
  type DeepPartial,
  Command,
  Directory,
  FindMissingBlobsRequest,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { ActionResult } from '../../src/proto/whole/build/bazel/remote/execution/v2/remote_execution.ts';
import { type Decodable, decodeMessage, decodeWeighed } from '../../src/tree/decode-message.ts';

interface Type<T> extends Decodable<T> {
  encode(message: T): { finish(): Uint8Array };
  fromPartial(message: DeepPartial<T>): T;
}

const COUNT = 30_000;
const listOf = <T>(make: (index: number) => T) => Array.from({ length: COUNT }, (_, n) => make(n));
const digestOf = (index: number, hexLength: number) => ({
  hash: index.toString(16).padStart(hexLength, '0'),
  sizeBytes: index,
});
const repeated = (...bytes: number[]) => Buffer.alloc(400_000, Buffer.from(bytes));
const times = { unixMode: 0o644, mtime: { seconds: 1_700_000_000, nanos: 1 } };

function decoding<T>(type: Type<T>, message: DeepPartial<T>): () => unknown {
  const bytes = type.encode(type.fromPartial(message)).finish();
  return () => decodeMessage(type, bytes, 'it');
}

describe('a message may have thousands of', () => {
  for (const [what, decode] of [
    [
      'digests of MD5',
      decoding(FindMissingBlobsRequest, { blobDigests: listOf((n) => digestOf(n, 32)) }),
    ],
    [
      'files with times and modes',
      decoding(Directory, {
        files: listOf((n) => ({ name: `${n}`, digest: digestOf(n, 32), nodeProperties: times })),
      }),
    ],
    [
      'symlinks with short names and properties',
      decoding(Directory, {
        symlinks: listOf((n) => ({
          name: `${n}`,
          target: 't',
          nodeProperties: { properties: [{ name: 'p', value: 'v' }] },
        })),
      }),
    ],
    ['short arguments', decoding(Command, { arguments: listOf(() => '-v') })],
    [
      'short variables',
      decoding(Command, { environmentVariables: listOf((n) => ({ name: `${n}`, value: '' })) }),
    ],
    [
      'output files',
      decoding(ActionResult, {
        outputFiles: listOf((n) => ({ path: `${n}`, digest: digestOf(n, 64) })),
      }),
    ],
  ] as const) {
    it(what, () => void decode());
  }
});

test('HI-31: a message that takes much more memory than bytes is refused', () => {
  const refused = {
    code: Code.INVALID_ARGUMENT,
    message: /^it cannot be decoded: its \d+ bytes would take more than \d+ bytes of memory/,
  };
  for (const [type, bytes] of [
    [FindMissingBlobsRequest, repeated(0x12, 0)],
    [Directory, repeated(0x0a, 2, 0x12, 0)],
    [ActionResult, repeated(0x12, 0)],
    [ActionResult, repeated(0x78, 0)],
    [Directory, Buffer.concat([Buffer.from([0x2a, 0x80, 0xb5, 0x18]), repeated(0x0a, 0)])],
  ] as [Decodable<unknown>, Buffer][]) {
    assert.throws(() => decodeMessage(type, bytes, 'it'), refused);
  }
});

test('what a message takes is no less than was measured', () => {
  const blobDigests = listOf((n) => digestOf(n, 64));
  const bytes = FindMissingBlobsRequest.encode(
    FindMissingBlobsRequest.fromPartial({ blobDigests }),
  ).finish();
  const { memoryBytes } = decodeWeighed(FindMissingBlobsRequest, bytes, 'it');
  assert.ok(memoryBytes > 131 * COUNT, `${memoryBytes}`);
  assert.ok(memoryBytes < 10 * bytes.length, `${memoryBytes} for ${bytes.length}`);
});
