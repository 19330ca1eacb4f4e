import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { type InlineHints, inlineContents } from '../../src/action-cache/inline-contents.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import { ActionResult } from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { blobOf } from '../support/blob-of.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { never } from '../support/never.ts';

const noHints: InlineHints = { inlineStdout: false, inlineStderr: false, inlineOutputFiles: [] };
const allHints: InlineHints = {
  inlineStdout: true,
  inlineStderr: true,
  inlineOutputFiles: ['a', 'b', 'no such'],
};

let blobs = new PlainBlobStore();
beforeEach(() => {
  blobs = new PlainBlobStore();
});

async function putResult(stdout = 'out', a = 'contents of a'): Promise<ActionResult> {
  return ActionResult.fromPartial({
    stdoutDigest: (await blobs.put(stdout, sha256)).toMessage(),
    stderrDigest: (await blobs.put('err', sha256)).toMessage(),
    outputFiles: [
      { path: 'a', digest: (await blobs.put(a, sha256)).toMessage() },
      { path: 'b', digest: (await blobs.put('contents of b', sha256)).toMessage() },
      { path: 'c', digest: (await blobs.put('contents of c', sha256)).toMessage() },
    ],
  });
}

const inline = (result: ActionResult, hints: InlineHints) =>
  inlineContents(result, hints, sha256, blobs, never);

function textsOf({ stdoutRaw, stderrRaw, outputFiles }: ActionResult): string[] {
  const all = [stdoutRaw, stderrRaw, ...outputFiles.map(({ contents }) => contents)];
  return all.map((bytes) => Buffer.from(bytes).toString());
}

test('AC-05: nothing is inlined that was not asked for', async () => {
  const result = await putResult();
  assert.deepEqual(textsOf(await inline(result, noHints)), ['', '', '', '', '']);
});

test('AC-06, AC-07, AC-09: what was asked for is inlined, and the digests stay', async () => {
  const result = await putResult();
  const inlined = await inline(result, allHints);
  const expected = ['out', 'err', 'contents of a', 'contents of b', ''];
  assert.deepEqual(textsOf(inlined), expected);
  assert.deepEqual(inlined.stdoutDigest, result.stdoutDigest);
  assert.deepEqual(inlined.outputFiles[0]?.digest, result.outputFiles[0]?.digest);
  assert.deepEqual(textsOf(result), ['', '', '', '', '']);
});

test('AC-08: what does not fit is left to be fetched, and the rest is inlined', async () => {
  const result = await putResult('o'.repeat(600_000), 'a'.repeat(600_000));
  const inlined = await inline(result, allHints);
  assert.equal(inlined.stdoutRaw.length, 600_000);
  assert.equal(inlined.outputFiles[0]?.contents.length, 0);
  assert.equal(Buffer.from(inlined.outputFiles[1]?.contents ?? '').toString(), 'contents of b');
});

test('AC-08: a result that is large by itself gets nothing more', async () => {
  const result = await putResult();
  result.outputSymlinks = [{ path: 'l', target: 't'.repeat(3_900_000), nodeProperties: undefined }];
  assert.deepEqual(textsOf(await inline(result, allHints)), ['', '', '', '', '']);
});

test('AC-06: contents that are gone are not inlined, and that is no error', async () => {
  const result = await putResult();
  blobs.blobs.delete(blobOf('out').digest.key);
  assert.deepEqual(textsOf(await inline(result, allHints)).slice(0, 2), ['', 'err']);
});
