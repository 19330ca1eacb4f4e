import {
  PushBlobRequest,
  PushBlobResponse,
  PushDirectoryRequest,
  PushDirectoryResponse,
} from '../../proto/build/bazel/remote/asset/v1/remote_asset.ts';
import type { RemoteAssets } from '../../asset/remote-assets.ts';
import { hostOf, parsePush } from '../asset-requests.ts';
import type { Instance, Instances } from '../instances.ts';
import { type Service, unary } from '../method.ts';

const servicePath = '/build.bazel.remote.asset.v1.Push';

/** Clients tie URIs to what they have uploaded. */
export function pushService(
  instances: Instances,
  assetsOf: (instance: Instance) => RemoteAssets,
): Service {
  return [
    unary(`${servicePath}/PushBlob`, PushBlobRequest, PushBlobResponse, async (request, call) => {
      const instance = instances.get(request.instanceName);
      const pushed = parsePush(request, request.blobDigest, 'blob_digest', instance);
      call.label({ host: hostOf(pushed.uris) });
      await assetsOf(instance).push('blob', pushed, call.signal);
      return {};
    }),
    unary(
      `${servicePath}/PushDirectory`,
      PushDirectoryRequest,
      PushDirectoryResponse,
      async (request, call) => {
        const instance = instances.get(request.instanceName);
        const { rootDirectoryDigest } = request;
        const pushed = parsePush(request, rootDirectoryDigest, 'root_directory_digest', instance);
        call.label({ host: hostOf(pushed.uris) });
        await assetsOf(instance).push('directory', pushed, call.signal);
        return {};
      },
    ),
  ];
}
