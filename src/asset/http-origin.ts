import { type DownloadOptions, downloadBlob } from './download-blob.ts';
import type { HostPolicy } from './host-policy.ts';
import { httpContent, type HttpOptions } from './http-content.ts';
import type { Origin } from './origin.ts';
import { canonicalIdName } from './qualifiers.ts';

export const defaultHttpOptions = {
  // What browsers and proxies wait for a server that thinks.
  idleTimeoutMs: 60_000,
  // What browsers follow; Bazel follows 40, but what redirects so often leads nowhere.
  redirectsMax: 20,
} as const;

/** Blobs over HTTP and HTTPS. */
export function httpOrigin(policy: HostPolicy, options: HttpOptions & DownloadOptions): Origin {
  return {
    kind: 'blob',
    qualifiers: new Set(['checksum.sri', canonicalIdName]),
    takes: ({ protocol }) => protocol === 'http:' || protocol === 'https:',
    fetch: ({ url, headers, ...wanted }, blobs, signal) => {
      const fetch = () => httpContent(url, headers, policy, options, signal);
      return downloadBlob(fetch, blobs, wanted, options, signal);
    },
  };
}
