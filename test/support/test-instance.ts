import type { ActionCache } from '../../src/action-cache/action-cache.ts';
import { MemoryBlobs } from '../../src/cas/memory-blobs.ts';
import { ChunkedBlobs } from '../../src/chunking/chunked-blobs.ts';
import { allChunkingFunctions } from '../../src/chunking/chunking-functions.ts';
import { ResumableUploads } from '../../src/cas/resumable-uploads.ts';
import { AnnouncedDigestFunctions } from '../../src/digest/announced-digest-functions.ts';
import { blake3, sha1, sha256 } from '../../src/digest/digest-functions.ts';
import type { ActionResult } from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Instance } from '../../src/rpc/instances.ts';
import { defaultInstanceLimits } from '../../src/rpc/limits.ts';
import { composing } from './composing.ts';
import { FakeClock } from './fake-clock.ts';

/** An instance that keeps all it is given in memory, and runs nothing. */
export function testInstance(changes: Partial<Instance> = {}): Instance {
  const blobs = composing(
    changes.blobs ?? new MemoryBlobs({ sizeBytesMax: 2 ** 28 }).namespace(''),
  );
  return {
    name: '',
    chunkedBlobs: new ChunkedBlobs(blobs, allChunkingFunctions),
    // Time stands still: what is left unfinished keeps no test waiting.
    uploads: new ResumableUploads(blobs, new FakeClock()),
    actions: plainActionCache(),
    digestFunctions: new AnnouncedDigestFunctions([sha256, blake3, sha1]),
    limits: defaultInstanceLimits,
    actionCacheUpdates: true,
    absoluteSymlinks: 'allowed',
    execution: undefined,
    operations: undefined,
    ...changes,
    blobs,
  };
}

function plainActionCache(): ActionCache {
  const results = new Map<string, ActionResult>();
  return {
    find: async (action) => results.get(action.key),
    update: async (action, result) => void results.set(action.key, result),
  };
}
