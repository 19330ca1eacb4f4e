import type { AbsoluteSymlinks } from '../action-cache/absolute-symlinks.ts';
import type { ActionCache } from '../action-cache/action-cache.ts';
import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { ResumableUploads } from '../cas/resumable-uploads.ts';
import type { ChunkedBlobs } from '../chunking/chunked-blobs.ts';
import type { AnnouncedDigestFunctions } from '../digest/announced-digest-functions.ts';
import { checkInstanceName } from '../digest/instance-name.ts';
import type { Execution } from '../execution/execution.ts';
import type { Operations } from '../scheduler/operations.ts';
import type { InstanceLimits } from './limits.ts';

/** What an instance name stands for (GEN-01). */
export interface Instance {
  readonly name: string;
  readonly blobs: BlobStore;
  /** The same blobs, cut and put together (CDC-10, CDC-15). */
  readonly chunkedBlobs: ChunkedBlobs;
  readonly actions: ActionCache;
  /** Uploads to `blobs` that may go on after their stream broke (BS-45). */
  readonly uploads: ResumableUploads;
  readonly digestFunctions: AnnouncedDigestFunctions;
  readonly limits: InstanceLimits;
  /** Whether clients may store action results themselves (CAP-09). */
  readonly actionCacheUpdates: boolean;
  /** Of inputs, and of the outputs in results (CAP-13). */
  readonly absoluteSymlinks: AbsoluteSymlinks;
  /** Absent where there is only a cache. */
  readonly execution: Execution | undefined;
  /** Absent where there is only a cache, or where actions run behind another server. */
  readonly operations: Operations | undefined;
}

/** The instances of a server. */
export class Instances {
  readonly #byName = new Map<string, Instance>();

  constructor(instances: readonly Instance[]) {
    for (const instance of instances) {
      checkInstanceName(instance.name);
      this.#byName.set(instance.name, instance);
    }
  }

  /**
   * The instance of that name. An unknown one is INVALID_ARGUMENT: clients take NOT_FOUND for a cache
   * miss, and would hide the wrong name (GEN-04).
   */
  get(name: string): Instance {
    const instance = this.find(name);
    if (instance) return instance;
    checkInstanceName(name);
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `this server has no instance ${JSON.stringify(name)}; check the instance name that the client is given`,
    );
  }

  find(name: string): Instance | undefined {
    return this.#byName.get(name);
  }
}
