import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { getCACertificates } from 'node:tls';
import { AssetTable } from '../asset/asset-table.ts';
import { DownloadRoom } from '../asset/download-room.ts';
import { gitOrigin } from '../asset/git-origin.ts';
import { HostPolicy } from '../asset/host-policy.ts';
import { defaultHttpOptions, httpOrigin } from '../asset/http-origin.ts';
import { defaultOriginFetchesOptions, OriginFetches } from '../asset/origin-fetches.ts';
import type { Origin } from '../asset/origin.ts';
import { type AssetAnswer, RemoteAssets } from '../asset/remote-assets.ts';
import type { Clock } from '../base/clock.ts';
import type { NewId } from '../base/id.ts';
import { makeFolder } from '../base/make-folder.ts';
import { ConfigError } from '../config/read-config.ts';
import type { ServerConfig } from '../config/server-config.ts';
import type { Instance, Instances } from '../rpc/instances.ts';
import { instanceLimitsFor } from '../rpc/limits.ts';
import type { Service } from '../rpc/method.ts';
import { fetchService } from '../rpc/services/fetch.ts';
import { pushService } from '../rpc/services/push.ts';

/**
 * Fetch and Push, unless they are switched off; `closing` ends fetches and closes the table of assets. The
 * configured folder is there already, and this process's alone. With blobs in memory nothing of it is
 * used: what tells of blobs that are gone is of no use.
 */
export function assetServices(
  config: ServerConfig,
  instances: Instances,
  { clock, newId }: { readonly clock: Clock; readonly newId: NewId },
  closing: AsyncDisposableStack,
): Service {
  const { enabled, rootPath, maxSizeBytes, pushAllowed, fetchesAtOnceMax } = config.remoteAsset;
  if (!enabled) return [];
  const isInMemory = config.casStorage.type === 'memory';
  const file = isInMemory ? ':memory:' : path.join(rootPath, 'assets.db');
  const table = new AssetTable(file, { maxSizeBytes }, clock);
  closing.defer(() => table.close());
  const downloads = isInMemory ? temporaryFolder(closing) : emptyFolder(rootPath);
  const options = { ...defaultOriginFetchesOptions, atOnceMax: fetchesAtOnceMax };
  const fetches = new OriginFetches<AssetAnswer>(clock, options);
  closing.defer(() => fetches.close());
  const origins = originsFor(config, downloads, { clock, newId });
  const shared = { table, fetches, origins, pushAllowed, secret: newId(), clock };
  const assetsOf = ({ name, blobs }: Instance) => {
    // Instances that share their blobs share what names them.
    const owner = config.sharedStorage.get(name) ?? name;
    return new RemoteAssets(owner, blobs, shared);
  };
  return [
    ...fetchService(instances, assetsOf, config.remoteAsset),
    ...pushService(instances, assetsOf),
  ];
}

/** So many of the largest files may be fetched at once, and many more of the usual ones. */
const ROOM_FOR_LARGEST = 4;

/** Without what an earlier process left in it. */
function emptyFolder(rootPath: string): string {
  const folder = path.join(rootPath, 'downloads');
  rmSync(folder, { recursive: true, force: true });
  makeFolder(folder, 0o700);
  return folder;
}

function temporaryFolder(closing: AsyncDisposableStack): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'expbuild-downloads-'));
  closing.defer(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function originsFor(
  { remoteAsset, casStorage }: ServerConfig,
  folder: string,
  { clock, newId }: { readonly clock: Clock; readonly newId: NewId },
): readonly Origin[] {
  const { allowedHosts, allowedPrivateHosts, idleTimeoutMs, caFile } = remoteAsset;
  if (allowedHosts.length === 0) return [];
  const { blobBytesMax } = instanceLimitsFor(casStorage.maxSizeBytes);
  const policy = new HostPolicy({ allowedHosts, allowedPrivateHosts });
  const options = {
    ...defaultHttpOptions,
    idleTimeoutMs,
    trustedCertificates: caFile === undefined ? undefined : certificatesWith(caFile),
    folder,
    sizeBytesMax: Math.min(remoteAsset.maxFetchSizeBytes, blobBytesMax),
    room: new DownloadRoom(ROOM_FOR_LARGEST * remoteAsset.maxFetchSizeBytes),
    newId,
  };
  const git = findGit();
  const overHttp = httpOrigin(policy, options);
  return git === undefined ? [overHttp] : [overHttp, gitOrigin(policy, { ...options, git, clock })];
}

/** Where systems have it; nothing in the environment of a server should choose what it runs. */
const gitPaths = ['/usr/bin/git', '/usr/local/bin/git', '/opt/homebrew/bin/git'];

/** Git that connects to the addresses that it is told (http.curloptResolve), if there is one. */
function findGit(): string | undefined {
  return gitPaths.find((file) => {
    if (!existsSync(file)) return false;
    try {
      const said = execFileSync(file, ['version'], { encoding: 'utf8', timeout: 5000, env: {} });
      const [, major = 0, minor = 0] = /^git version (\d+)\.(\d+)/.exec(said) ?? [];
      return Number(major) > 2 || (Number(major) === 2 && Number(minor) >= 37);
    } catch {
      return false;
    }
  });
}

function certificatesWith(caFile: string): readonly string[] {
  try {
    return [...getCACertificates('default'), readFileSync(caFile, 'utf8')];
  } catch (thrown) {
    throw new ConfigError([`remote_asset.ca_file cannot be read: ${(thrown as Error).message}`]);
  }
}
