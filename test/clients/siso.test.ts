import assert from 'node:assert/strict';
import { test } from 'node:test';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { Code } from '../../src/base/status.ts';
import { Compressor_Value } from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { blobOf } from '../support/blob-of.ts';
import { absentDigests, endOf, startServices } from './services.ts';

const { digest, bytes } = blobOf('int main() { return 0; }\n'.repeat(1000));
const made = { outputSymlinks: [{ path: 'l', target: 'x' }], executionMetadata: { worker: 'w' } };

test('SIS-01, SIS-02: a name of an instance, no digest function, and the first compressor', async (t) => {
  const { getCapabilities, findMissing, write, read } = await startServices(t, 'siso');
  const { cacheCapabilities } = await getCapabilities();
  assert.equal(cacheCapabilities?.supportedCompressors[0], Compressor_Value.ZSTD);
  const data = zstdCompressSync(bytes);
  await write(`uploads/u/compressed-blobs/zstd/${digest}`, [{ data, finishWrite: true }]);
  assert.deepEqual(await findMissing([digest.toMessage()]), []);
  const packed = await read(`compressed-blobs/zstd/${digest}`);
  assert.ok(zstdDecompressSync(packed).equals(bytes));
});

test('SIS-03: all blobs of a tree are asked for in one call', async (t) => {
  const { findMissing } = await startServices(t, 'siso');
  assert.equal((await findMissing(absentDigests(50_000))).length, 50_000);
});

test('SIS-04: a batch of one has one answer, one of 1000 is answered by digests', async (t) => {
  const { batchUpdate, batchRead } = await startServices(t, 'siso');
  const blobs = Array.from({ length: 1000 }, (_, n) => blobOf(`blob ${n}`));
  const responses = await batchUpdate(
    blobs.map((blob) => ({ digest: blob.digest.toMessage(), data: blob.bytes })),
  );
  const codes = new Map(
    responses.map((response) => [response.digest?.hash, response.status?.code]),
  );
  for (const blob of blobs) assert.equal(codes.get(blob.digest.hash), Code.OK);
  const [one, ...more] = await batchRead([blobOf('blob 7').digest.toMessage()]);
  assert.equal(Buffer.from(one?.data ?? []).toString(), 'blob 7');
  assert.deepEqual(more, []);
});

test('SIS-05: the end is a message of its own, and the size that is committed is the blob’s', async (t) => {
  const { write } = await startServices(t, 'siso');
  const data = zstdCompressSync(bytes);
  const half = data.length >> 1;
  const messages = [
    { data: data.subarray(0, half) },
    { writeOffset: half, data: data.subarray(half) },
    { writeOffset: data.length, finishWrite: true },
  ];
  const name = `compressed-blobs/zstd/${digest}`;
  assert.equal(await write(`uploads/1/${name}`, messages), digest.sizeBytes);
  // It takes the end of the call while it still sends as "exists"; it may have sent all before.
  assert.equal(await write(`uploads/2/${name}`, messages), digest.sizeBytes);
});

test('SIS-06, SIS-09: a stream is cut and taken up again, or the action executed again', async (t) => {
  const { rig, execute, wait } = await startServices(t, 'siso');
  const action = (await rig.putAction()).toMessage();
  const cutting = new AbortController();
  const stream = execute(action, cutting.signal);
  const name = String((await stream.next()).value?.name);
  cutting.abort();
  await assert.rejects(stream.next(), { code: Code.CANCELLED });
  await assert.rejects(Array.fromAsync(wait(`${name}0`)), { code: Code.NOT_FOUND });
  rig.serve(t, () => ({ result: made }));
  assert.equal(endOf(await Array.fromAsync(wait(name))).status?.code ?? Code.OK, Code.OK);
  assert.equal(endOf(await Array.fromAsync(execute(action))).cachedResult, true);
});

test('SIS-07: a timeout has the text by which it is known, all the way', async (t) => {
  const { rig, execute } = await startServices(t, 'siso');
  const action = (await rig.putAction()).toMessage();
  const status = { code: Code.DEADLINE_EXCEEDED, message: 'execution timeout exceeded' };
  rig.serve(t, () => ({ status, result: { exitCode: 1, executionMetadata: { worker: 'w' } } }));
  const ended = endOf(await Array.fromAsync(execute(action)));
  assert.partialDeepStrictEqual(ended.status, status);
});

test('SIS-08: missing inputs are told by a code that does not stand for a bad image', async (t) => {
  const { execute } = await startServices(t, 'siso');
  const absent = blobOf('nowhere').digest.toMessage();
  const { status } = endOf(await Array.fromAsync(execute(absent)));
  assert.equal(status?.code, Code.FAILED_PRECONDITION);
});

test('SIS-10: the server keeps the result, with its links as output_symlinks', async (t) => {
  const { rig, execute, getActionResult } = await startServices(t, 'siso');
  const action = (await rig.putAction()).toMessage();
  rig.serve(t, () => ({ result: made }));
  await Array.fromAsync(execute(action));
  const { outputSymlinks } = await getActionResult(action);
  assert.partialDeepStrictEqual(outputSymlinks, made.outputSymlinks);
});
