import * as v from 'valibot';
import { count, duration, flag, list, section, size, text } from './keys.ts';
import type { FolderOf } from './surroundings.ts';

/** What a server is told of the Remote Asset API. Folders are absolute. */
export interface RemoteAssetConfig {
  readonly enabled: boolean;
  readonly rootPath: string;
  readonly maxSizeBytes: number;
  readonly pushAllowed: boolean;
  readonly allowedHosts: readonly string[];
  readonly allowedPrivateHosts: readonly string[];
  readonly maxFetchSizeBytes: number;
  readonly defaultTimeoutMs: number;
  readonly maxTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly fetchesAtOnceMax: number;
  /** A file of certificates in PEM. */
  readonly caFile: string | undefined;
}

export const remoteAssetSchema = section({
  enabled: v.optional(
    flag('Whether clients may have files fetched by this server, and find those pushed to it.'),
    true,
  ),
  root_path: v.optional(
    text('The folder of the database of what was fetched and pushed, and of downloads under way.'),
  ),
  max_size: v.optional(
    size('The size of that database at which entries not used for the longest time make room.'),
    '256MiB',
  ),
  push_allowed: v.optional(
    flag('Whether clients may say themselves what is found under a URI, with PushBlob.'),
    true,
  ),
  allowed_hosts: v.optional(
    list(
      'The hosts that are fetched from, such as "example.com", "example.com:8080" or ' +
        '"*.example.com"; "*" is every host, and without any, only what was pushed is found.',
    ),
    ['*'],
  ),
  allowed_private_hosts: v.optional(
    list(
      'Those of them that may have a private address: loopback, link-local or of a local network.',
    ),
    [],
  ),
  max_fetch_size: v.optional(
    size(
      'The largest file that is fetched. All that are being fetched at once may take four times as much.',
    ),
    '4GiB',
  ),
  default_timeout: v.optional(
    duration('How long a fetch may take when the client does not say so.', '1ms'),
    '10m',
  ),
  max_timeout: v.optional(
    duration('The longest that a fetch may take, whatever the client asks for.', '1ms'),
    '1h',
  ),
  idle_timeout: v.optional(
    duration('How long an origin may send nothing before the fetch fails.', '1ms'),
    '1m',
  ),
  fetches_max: v.optional(count('How many fetches run at once; more wait.', 1, 1000), 32),
  ca_file: v.optional(
    text('A file of certificates (PEM) that are trusted beside those that everybody trusts.'),
  ),
});

export function remoteAssetConfigOf(
  values: v.InferOutput<typeof remoteAssetSchema>,
  folder: FolderOf,
): RemoteAssetConfig {
  return {
    enabled: values.enabled,
    rootPath: folder(values.root_path, 'remote_asset'),
    maxSizeBytes: values.max_size,
    pushAllowed: values.push_allowed,
    allowedHosts: values.allowed_hosts,
    allowedPrivateHosts: values.allowed_private_hosts,
    maxFetchSizeBytes: values.max_fetch_size,
    defaultTimeoutMs: values.default_timeout,
    maxTimeoutMs: values.max_timeout,
    idleTimeoutMs: values.idle_timeout,
    fetchesAtOnceMax: values.fetches_max,
    caFile: values.ca_file === undefined ? undefined : folder(values.ca_file, ''),
  };
}
