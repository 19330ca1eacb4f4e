import { Code, StatusError } from '../base/status.ts';
import type { Digest } from '../digest/digest.ts';
import { type Compressor, digestOfName, type ReadName } from '../digest/resource-name.ts';
import type { Instance, Instances } from './instances.ts';
import type { Call } from './method.ts';

/** Clients may send the name as a header too, for proxies (BS-09). */
const resourceNameHeader = 'build.bazel.remote.execution.v2.resource-name';

/** The blob that a resource name means, and how its bytes travel. */
export interface NamedBlob {
  readonly instance: Instance;
  readonly digest: Digest;
  readonly compressor: Compressor;
  readonly resourceName: string;
}

/**
 * What a name means here, once it is parsed. Fails with INVALID_ARGUMENT when the header names another
 * resource (BS-09), the compressor is not announced (CMP-08), there is no such instance (GEN-04), or
 * the hash is none of a digest function of it (BS-04).
 */
export function resolveName(
  instances: Instances,
  resourceName: string,
  parsed: ReadName,
  call: Call,
): NamedBlob {
  const header = call.header(resourceNameHeader);
  if (header !== undefined && header !== resourceName) {
    throw invalid(`the header ${resourceNameHeader} names another resource than the request`);
  }
  const { compressor } = parsed;
  if (compressor !== 'identity' && compressor !== 'zstd') {
    throw invalid(`compressor ${compressor} is not one of supported_compressors`);
  }
  const instance = instances.get(parsed.instanceName);
  const digest = digestOfName(parsed, instance.digestFunctions);
  return { instance, digest, compressor, resourceName };
}

function invalid(message: string): StatusError {
  return new StatusError(Code.INVALID_ARGUMENT, message);
}
