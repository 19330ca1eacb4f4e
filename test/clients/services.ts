import type { TestContext } from 'node:test';
import {
  ActionResult,
  BatchReadBlobsRequest,
  BatchReadBlobsResponse,
  BatchUpdateBlobsRequest,
  type BatchUpdateBlobsRequest_Request,
  BatchUpdateBlobsResponse,
  type DeepPartial,
  type Digest,
  ExecuteRequest,
  ExecuteResponse,
  FindMissingBlobsRequest,
  FindMissingBlobsResponse,
  GetActionResultRequest,
  GetCapabilitiesRequest,
  GetTreeRequest,
  GetTreeResponse,
  RequestMetadata,
  ServerCapabilities,
  UpdateActionResultRequest,
  WaitExecutionRequest,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  ReadRequest,
  ReadResponse,
  WriteRequest,
  WriteResponse,
} from '../../src/proto/google/bytestream/bytestream.ts';
import { Operation } from '../../src/proto/google/longrunning/operations.ts';
import { Instances } from '../../src/rpc/instances.ts';
import { actionCache } from '../../src/rpc/services/action-cache.ts';
import { byteStream } from '../../src/rpc/services/byte-stream.ts';
import { capabilities } from '../../src/rpc/services/capabilities.ts';
import { contentAddressableStorage } from '../../src/rpc/services/content-addressable-storage.ts';
import { execution } from '../../src/rpc/services/execution.ts';
import { ExecutionRig } from '../execution/rig.ts';
import { startServer } from '../support/start-server.ts';
import type { CallOptions } from '../support/test-client.ts';
import { testInstance } from '../support/test-instance.ts';

const api = '/build.bazel.remote.execution.v2';
const cas = `${api}.ContentAddressableStorage`;

/** Every service over one scheduler, for the instance `main`, and each call as the client `toolName`. */
export async function startServices(t: TestContext, toolName: string) {
  const rig = new ExecutionRig(t);
  const { blobs, actions, execution: port, scheduler } = rig;
  const instanceName = 'main';
  const instances = new Instances([
    testInstance({ name: instanceName, blobs, actions, execution: port, operations: scheduler }),
  ]);
  const services = [
    contentAddressableStorage(instances),
    byteStream(instances),
    actionCache(instances, rig.clock),
    execution(instances),
  ].flat();
  const { client } = await startServer(t, [capabilities(instances, services), services]);
  const metadata = RequestMetadata.fromPartial({ toolDetails: { toolName } });
  const header = Buffer.from(RequestMetadata.encode(metadata).finish());
  const options: CallOptions = { metadata: { [`${api.slice(1)}.requestmetadata-bin`]: header } };
  return {
    rig,
    getCapabilities: () =>
      client.unary(
        `${api}.Capabilities/GetCapabilities`,
        GetCapabilitiesRequest,
        ServerCapabilities,
        GetCapabilitiesRequest.fromPartial({ instanceName }),
        options,
      ),
    findMissing: async (blobDigests: Digest[]) => {
      const request = FindMissingBlobsRequest.fromPartial({ instanceName, blobDigests });
      const path = `${cas}/FindMissingBlobs`;
      const types = [FindMissingBlobsRequest, FindMissingBlobsResponse] as const;
      return (await client.unary(path, ...types, request, options)).missingBlobDigests;
    },
    batchUpdate: async (requests: DeepPartial<BatchUpdateBlobsRequest_Request>[]) => {
      const request = BatchUpdateBlobsRequest.fromPartial({ instanceName, requests });
      const path = `${cas}/BatchUpdateBlobs`;
      const types = [BatchUpdateBlobsRequest, BatchUpdateBlobsResponse] as const;
      return (await client.unary(path, ...types, request, options)).responses;
    },
    batchRead: async (digests: Digest[]) => {
      const request = BatchReadBlobsRequest.fromPartial({ instanceName, digests });
      const path = `${cas}/BatchReadBlobs`;
      const types = [BatchReadBlobsRequest, BatchReadBlobsResponse] as const;
      return (await client.unary(path, ...types, request, options)).responses;
    },
    getTree: (rootDigest: Digest) =>
      Array.fromAsync(
        client.serverStream(
          `${cas}/GetTree`,
          GetTreeRequest,
          GetTreeResponse,
          GetTreeRequest.fromPartial({ instanceName, rootDigest }),
          options,
        ),
      ),
    /** The committed size that answers the messages. `name` is what follows the instance name. */
    write: async (name: string, messages: readonly DeepPartial<WriteRequest>[]) => {
      const path = '/google.bytestream.ByteStream/Write';
      const { call, response } = client.clientStream(path, WriteRequest, WriteResponse, options);
      for (const [n, message] of messages.entries()) {
        const resourceName = n === 0 ? `${instanceName}/${name}` : '';
        call.write(WriteRequest.fromPartial({ resourceName, ...message }));
      }
      call.end();
      return (await response).committedSize;
    },
    read: async (name: string) => {
      const path = '/google.bytestream.ByteStream/Read';
      const request = ReadRequest.fromPartial({ resourceName: `${instanceName}/${name}` });
      const responses = await Array.fromAsync(
        client.serverStream(path, ReadRequest, ReadResponse, request, options),
      );
      return Buffer.concat(responses.map(({ data }) => data));
    },
    getActionResult: (actionDigest: Digest) =>
      client.unary(
        `${api}.ActionCache/GetActionResult`,
        GetActionResultRequest,
        ActionResult,
        GetActionResultRequest.fromPartial({ instanceName, actionDigest }),
        options,
      ),
    updateActionResult: (actionDigest: Digest, actionResult: DeepPartial<ActionResult>) =>
      client.unary(
        `${api}.ActionCache/UpdateActionResult`,
        UpdateActionResultRequest,
        ActionResult,
        UpdateActionResultRequest.fromPartial({ instanceName, actionDigest, actionResult }),
        options,
      ),
    execute: (actionDigest: Digest, signal?: AbortSignal) =>
      client.serverStream(
        `${api}.Execution/Execute`,
        ExecuteRequest,
        Operation,
        ExecuteRequest.fromPartial({ instanceName, actionDigest }),
        signal ? { ...options, signal } : options,
      ),
    wait: (name: string) =>
      client.serverStream(
        `${api}.Execution/WaitExecution`,
        WaitExecutionRequest,
        Operation,
        { name },
        options,
      ),
  };
}

/** What the last operation of a stream holds; clients unpack it by its type URL. */
export function endOf(operations: readonly Operation[]): ExecuteResponse {
  const last = operations.at(-1);
  if (!last?.done || last.result?.$case !== 'response') throw new Error('no response came');
  const { typeUrl, value } = last.result.value;
  if (typeUrl !== `type.googleapis.com/${api.slice(1)}.ExecuteResponse`) throw new Error(typeUrl);
  return ExecuteResponse.decode(value);
}

/** Digests of blobs that are nowhere. */
export function absentDigests(count: number): Digest[] {
  return Array.from({ length: count }, (_, n) => ({
    hash: n.toString(16).padStart(64, '0'),
    sizeBytes: n + 1,
  }));
}
