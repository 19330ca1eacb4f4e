import { Code, StatusError } from '../base/status.ts';
import type { Digest } from '../digest/digest.ts';
import { digestOfName, type ReadName } from '../digest/resource-name.ts';
import { type Codec, codecOfName } from './compression.ts';
import type { Instance, Instances } from './instances.ts';
import type { Call } from './method.ts';

/** Clients may send the name as a header too, for proxies (BS-09). */
const resourceNameHeader = 'build.bazel.remote.execution.v2.resource-name';

/** The blob that a resource name means, and how its bytes travel. */
export interface NamedBlob {
  readonly instance: Instance;
  readonly digest: Digest;
  /** Undefined when they travel as they are. */
  readonly codec: Codec | undefined;
  readonly resourceName: string;
}

/**
 * What a name means here, once it is parsed. Fails with INVALID_ARGUMENT when the header names another
 * resource (BS-09), there is no such instance (GEN-04), or the hash is none of a digest function of it
 * (BS-04).
 */
export function resolveName(
  instances: Instances,
  resourceName: string,
  parsed: ReadName,
  call: Call,
): NamedBlob {
  const header = call.header(resourceNameHeader);
  if (header !== undefined && header !== resourceName) {
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `the header ${resourceNameHeader} names another resource than the request`,
    );
  }
  const instance = instances.get(parsed.instanceName);
  const digest = digestOfName(parsed, instance.digestFunctions);
  return { instance, digest, codec: codecOfName(parsed.compressor), resourceName };
}
