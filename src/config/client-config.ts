import * as v from 'valibot';
import type { Address } from './address.ts';
import { address, anyText, section, text } from './keys.ts';
import { readConfig, type Sources } from './read-config.ts';
import { type Chunking, chunkingKey, type Compression, compressionKey } from './transfers.ts';

/** What the client commands are told. */
export interface ClientConfig {
  readonly remote: Address;
  readonly instanceName: string;
  /** The name of a digest function. */
  readonly digestFunction: string;
  readonly compression: Compression;
  readonly chunking: Chunking;
}

export const clientSchema = section({
  remote_endpoint: v.optional(
    address('The server that the client commands speak to.'),
    'http://localhost:50051',
  ),
  instance_name: v.optional(anyText('The instance name that blobs and actions belong to.'), 'main'),
  digest_function: v.optional(
    text('The digest function that names what is uploaded; the server must support it.'),
    'SHA256',
  ),
  compression: compressionKey,
  chunking: chunkingKey,
});

/** Fails with a ConfigError that names every problem. */
export function readClientConfig(sources: Sources): ClientConfig {
  const values = readConfig(clientSchema, sources);
  return {
    remote: values.remote_endpoint,
    instanceName: values.instance_name,
    digestFunction: values.digest_function,
    compression: values.compression,
    chunking: values.chunking,
  };
}
