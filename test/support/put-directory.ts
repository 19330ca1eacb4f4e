import type { Digest } from '../../src/digest/digest.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import {
  type DeepPartial,
  Directory,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { PlainBlobStore } from './memory-blob-store.ts';

/** Stores a Directory and gives its digest. */
export async function putDirectory(
  blobs: PlainBlobStore,
  directory: DeepPartial<Directory>,
): Promise<Digest> {
  return blobs.put(Directory.encode(Directory.fromPartial(directory)).finish(), sha256);
}

/** Directory `a` holds `b` twice, which holds the next twice, and so on: 2^levels files, few messages. */
export async function putDiamond(blobs: PlainBlobStore, levels: number): Promise<Digest> {
  let below = await putDirectory(blobs, {
    files: [{ name: 'leaf', digest: (await blobs.put('leaf', sha256)).toMessage() }],
  });
  for (let level = 0; level < levels; level++) {
    const digest = below.toMessage();
    below = await putDirectory(blobs, {
      directories: [
        { name: 'left', digest },
        { name: 'right', digest },
      ],
    });
  }
  return below;
}
