import { Code } from '../../base/status.ts';
import {
  FetchBlobRequest,
  FetchBlobResponse,
  FetchDirectoryRequest,
  FetchDirectoryResponse,
} from '../../proto/build/bazel/remote/asset/v1/remote_asset.ts';
import type { AssetKind } from '../../asset/asset-table.ts';
import type { RemoteAssets } from '../../asset/remote-assets.ts';
import { type AssetTimeouts, fetchAnswer, hostOf, parseFetch } from '../asset-requests.ts';
import type { Instance, Instances } from '../instances.ts';
import { type Call, type Service, unary } from '../method.ts';

const servicePath = '/build.bazel.remote.asset.v1.Fetch';

/** Blobs and directories by their URIs: those that were pushed, and those that this server fetches. */
export function fetchService(
  instances: Instances,
  assetsOf: (instance: Instance) => RemoteAssets,
  timeouts: AssetTimeouts,
): Service {
  const answer = async (
    kind: AssetKind,
    request: FetchBlobRequest | FetchDirectoryRequest,
    call: Call,
  ) => {
    const instance = instances.get(request.instanceName);
    const parsed = parseFetch(request, instance, timeouts);
    call.label({ host: hostOf(parsed.uris) });
    const answered = await assetsOf(instance).fetch(kind, parsed, call.signal);
    // A miss is what a server sees all day; an origin that fails is for its operator to know.
    if (answered.kind === 'failed' && answered.code !== Code.NOT_FOUND) {
      call.log.info('asset not fetched', { status: answered.code, error: answered.message });
    }
    return fetchAnswer(answered, parsed);
  };
  return [
    unary(
      `${servicePath}/FetchBlob`,
      FetchBlobRequest,
      FetchBlobResponse,
      async (request, call) => {
        const { digest, ...rest } = await answer('blob', request, call);
        return FetchBlobResponse.fromPartial({ ...rest, blobDigest: digest });
      },
    ),
    unary(
      `${servicePath}/FetchDirectory`,
      FetchDirectoryRequest,
      FetchDirectoryResponse,
      async (request, call) => {
        const { digest, ...rest } = await answer('directory', request, call);
        return FetchDirectoryResponse.fromPartial({ ...rest, rootDirectoryDigest: digest });
      },
    ),
  ];
}
