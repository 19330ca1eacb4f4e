import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';

/** Reads trees within a small heap, in a process of its own; prints how each ended. */
const script = `
  import { withHeldMemory } from './src/base/memory.ts';
  import { MemoryBlobs } from './src/cas/memory-blobs.ts';
  import { chunksOf } from './src/base/chunks.ts';
  import { sha256 } from './src/digest/digest-functions.ts';
  import { Digest } from './src/digest/digest.ts';
  import { Directory, Tree } from './src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
  import { DirectoryCache } from './src/tree/directory-cache.ts';
  import { parseTree } from './src/tree/tree-message.ts';
  import { defaultTreeLimits, walkDirectories } from './src/tree/walk-directories.ts';
  const never = new AbortController().signal;
  const blobs = new MemoryBlobs({ sizeBytesMax: 2 ** 30 }).namespace('');
  const digestOf = (bytes) => Digest.ofBytes(sha256, bytes);
  const properties = Array.from({ length: 15_000 }, () => ({ name: 'a', value: '' }));
  const children = Array.from({ length: 60 }, (_, n) =>
    Directory.encode(Directory.fromPartial({
      symlinks: [{ name: 'l' + n, target: 't' }],
      nodeProperties: { properties },
    })).finish());
  const directories = children.map((child, n) => ({ name: 'd' + n, digest: digestOf(child).toMessage() }));
  const root = Directory.encode(Directory.fromPartial({ directories })).finish();
  for (const bytes of [root, ...children]) await blobs.write(digestOf(bytes), chunksOf(bytes), never);
  const ending = (work) => withHeldMemory(work).then(() => 'fine', ({ code, message }) => code + ' ' + message);
  const tree = Tree.encode({ root: Directory.decode(root), children: children.map((one) => Directory.decode(one)) }).finish();
  const cache = new DirectoryCache(8 * 2 ** 20);
  const walk = () => ending(() => walkDirectories(digestOf(root), blobs, { limits: defaultTreeLimits, cache }, never));
  console.log(await ending(async () => parseTree(tree, digestOf(tree))));
  console.log(await walk());
  for (const one of await Promise.all(Array.from({ length: 20 }, walk))) console.log(one);
`;

test('HI-05: trees that take more memory than there is are refused, one alone and many together', async () => {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--max-old-space-size=256', '--input-type=module-typescript', '-e', script],
    { cwd: new URL('../..', import.meta.url) },
  );
  const [tree, one, ...many] = stdout.trim().split('\n');
  assert.match(tree ?? '', /^3 tree .* takes more than \d+ bytes of memory/);
  assert.match(one ?? '', /^3 .* takes more than \d+ bytes of memory/);
  assert.equal(many.length, 20);
  for (const ending of many) assert.match(ending, /^(3|14) .* memory/);
});
