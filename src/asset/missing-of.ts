import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { Digest } from '../digest/digest.ts';
import { defaultTreeLimits, walkDirectories } from '../tree/walk-directories.ts';
import type { Asset, AssetKind } from './asset-table.ts';

/**
 * What of an asset is not in the CAS: its blob or all that its directory reaches, and the same of what it
 * refers to. What is there counts as used just now, and so lives on with it (AST-09, AST-29).
 */
export async function missingOf(
  kind: AssetKind,
  {
    digest,
    referencesBlobs,
    referencesDirectories,
  }: Pick<Asset, 'digest' | 'referencesBlobs' | 'referencesDirectories'>,
  blobs: BlobStore,
  signal: AbortSignal,
): Promise<readonly Digest[]> {
  const wanted = new Map<string, Digest>();
  const want = (one: Digest) => void wanted.set(one.key, one);
  for (const one of referencesBlobs) want(one);
  if (kind === 'blob') want(digest);
  for (const root of kind === 'blob' ? referencesDirectories : [digest, ...referencesDirectories]) {
    if (wanted.has(root.key)) continue;
    const limits = { limits: defaultTreeLimits };
    const { directories, missing, files } = await walkDirectories(root, blobs, limits, signal);
    for (const one of directories.values()) want(one.digest);
    for (const one of [...missing, ...files.values()]) want(one);
    if (wanted.size > defaultTreeLimits.nodesMax) {
      throw new StatusError(
        Code.INVALID_ARGUMENT,
        `the asset ${digest} has more than ${defaultTreeLimits.nodesMax} blobs, the limit here`,
      );
    }
  }
  return blobs.findMissing([...wanted.values()], signal);
}
