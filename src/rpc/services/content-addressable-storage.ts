import {
  BatchReadBlobsRequest,
  BatchReadBlobsResponse,
  BatchUpdateBlobsRequest,
  BatchUpdateBlobsResponse,
  FindMissingBlobsRequest,
  FindMissingBlobsResponse,
  GetTreeRequest,
  SpliceBlobRequest,
  SpliceBlobResponse,
  SplitBlobRequest,
  SplitBlobResponse,
} from '../../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { Digest } from '../../digest/digest.ts';
import type { Instances } from '../instances.ts';
import { type Call, serverStream, type Service, unary } from '../method.ts';
import { batchReadBlobs } from './batch-read-blobs.ts';
import { batchUpdateBlobs } from './batch-update-blobs.ts';
import { getTree, treePageType } from './get-tree.ts';
import { spliceBlob } from './splice-blob.ts';
import { splitBlob } from './split-blob.ts';

const servicePath = '/build.bazel.remote.execution.v2.ContentAddressableStorage';

/** Blobs by their digests. */
export function contentAddressableStorage(instances: Instances): Service {
  // An answer is never longer than its request: who asks for more than fits into 4 MiB must take that too.
  const findMissingBlobs = async (
    request: FindMissingBlobsRequest,
    call: Call,
  ): Promise<FindMissingBlobsResponse> => {
    const { digestFunctions, blobs } = instances.get(request.instanceName);
    const first = request.blobDigests[0]?.hash;
    const digestFunction = digestFunctions.resolve(request.digestFunction, first);
    const digests = request.blobDigests.map((message) =>
      Digest.fromMessage(digestFunction, message, 'blob_digests'),
    );
    const missing = await blobs.findMissing(digests, call.signal);
    return { missingBlobDigests: missing.map((digest) => digest.toMessage()) };
  };
  return [
    unary(
      `${servicePath}/FindMissingBlobs`,
      FindMissingBlobsRequest,
      FindMissingBlobsResponse,
      findMissingBlobs,
    ),
    unary(
      `${servicePath}/BatchUpdateBlobs`,
      BatchUpdateBlobsRequest,
      BatchUpdateBlobsResponse,
      async (request, call) =>
        batchUpdateBlobs(request, instances.get(request.instanceName), call.signal),
    ),
    unary(
      `${servicePath}/BatchReadBlobs`,
      BatchReadBlobsRequest,
      BatchReadBlobsResponse,
      async (request, call) =>
        batchReadBlobs(request, instances.get(request.instanceName), call.signal),
    ),
    serverStream(`${servicePath}/GetTree`, GetTreeRequest, treePageType, (request, call) =>
      getTree(request, instances.get(request.instanceName), call.signal),
    ),
    unary(`${servicePath}/SplitBlob`, SplitBlobRequest, SplitBlobResponse, async (request, call) =>
      splitBlob(request, instances.get(request.instanceName), call.signal),
    ),
    unary(
      `${servicePath}/SpliceBlob`,
      SpliceBlobRequest,
      SpliceBlobResponse,
      async (request, call) =>
        spliceBlob(request, instances.get(request.instanceName), call.signal),
    ),
  ];
}
