import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chunksOf } from '../../../src/base/chunks.ts';
import { Code } from '../../../src/base/status.ts';
import {
  Directory,
  GetTreeRequest,
} from '../../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { getTree, treePageType } from '../../../src/rpc/services/get-tree.ts';
import { blobOf } from '../../support/blob-of.ts';
import { never } from '../../support/never.ts';
import { testInstance } from '../../support/test-instance.ts';

const messageBytesMax = 4 * 2 ** 20;

async function pagesOf(targetBytes: number): Promise<number[]> {
  const { blobs, ...instance } = testInstance();
  const symlinks = [{ name: 'l', target: 'x'.repeat(targetBytes) }];
  const inner = blobOf(Directory.encode(Directory.fromPartial({ symlinks })).finish());
  const directories = [{ name: 'd', digest: inner.digest.toMessage() }];
  const root = blobOf(Directory.encode(Directory.fromPartial({ directories })).finish());
  for (const { digest, bytes } of [inner, root]) await blobs.write(digest, chunksOf(bytes), never);
  const request = GetTreeRequest.fromPartial({ rootDigest: root.digest.toMessage() });
  const pages = await Array.fromAsync(getTree(request, { blobs, ...instance }, never));
  return pages.map((page) => treePageType.encode(page).finish().length);
}

test('GEN-09: directories that fit messages come in as many as they need', async () => {
  const sizes = await pagesOf(messageBytesMax - 17_000);
  assert.ok(Math.max(...sizes) <= messageBytesMax);
});

test('GEN-09: a directory that no client takes in a message fails the listing, by name', async () => {
  await assert.rejects(pagesOf(messageBytesMax), {
    code: Code.INVALID_ARGUMENT,
    message: /directory [0-9a-f]{64}\/\d+ is larger than a message.*ByteStream\.Read/,
  });
});
