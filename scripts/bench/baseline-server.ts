// The floor that ExpBuild is measured against: grpc-js with generated codecs, as one would write it
// first. Blobs and results live in a Map, nothing is verified, nothing is durable, nothing is logged.
//
//   node scripts/bench/baseline-server.ts PORT
import {
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Server,
  ServerCredentials,
  status,
} from '@grpc/grpc-js';
import {
  ActionResult,
  BatchReadBlobsRequest,
  BatchReadBlobsResponse,
  BatchUpdateBlobsRequest,
  BatchUpdateBlobsResponse,
  FindMissingBlobsRequest,
  FindMissingBlobsResponse,
  GetActionResultRequest,
  UpdateActionResultRequest,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  ReadRequest,
  ReadResponse,
  WriteRequest,
  WriteResponse,
} from '../../src/proto/google/bytestream/bytestream.ts';

const blobs = new Map<string, Uint8Array>();
const results = new Map<string, ActionResult>();

const findMissing: handleUnaryCall<FindMissingBlobsRequest, FindMissingBlobsResponse> = (
  call,
  done,
) =>
  done(null, {
    missingBlobDigests: call.request.blobDigests.filter(({ hash }) => !blobs.has(hash)),
  });

const batchUpdate: handleUnaryCall<BatchUpdateBlobsRequest, BatchUpdateBlobsResponse> = (
  call,
  done,
) => {
  for (const { digest, data } of call.request.requests) blobs.set(digest?.hash ?? '', data);
  done(null, {
    responses: call.request.requests.map(({ digest }) => ({
      digest,
      status: { code: 0, message: '', details: [] },
    })),
  });
};

const batchRead: handleUnaryCall<BatchReadBlobsRequest, BatchReadBlobsResponse> = (call, done) =>
  done(
    null,
    BatchReadBlobsResponse.fromPartial({
      responses: call.request.digests.map((digest) => ({
        digest,
        data: blobs.get(digest.hash) ?? new Uint8Array(),
        status: { code: 0 },
      })),
    }),
  );

const getResult: handleUnaryCall<GetActionResultRequest, ActionResult> = (call, done) => {
  const result = results.get(call.request.actionDigest?.hash ?? '');
  if (result) done(null, result);
  else done({ code: status.NOT_FOUND });
};

const updateResult: handleUnaryCall<UpdateActionResultRequest, ActionResult> = (call, done) => {
  const result = call.request.actionResult ?? ActionResult.fromPartial({});
  results.set(call.request.actionDigest?.hash ?? '', result);
  done(null, result);
};

/** `[uploads/UUID/]blobs/HASH/SIZE`. */
const hashOf = (resourceName: string) => resourceName.split('/').at(-2) ?? '';

const read: handleServerStreamingCall<ReadRequest, ReadResponse> = (call) => {
  const blob = blobs.get(hashOf(call.request.resourceName)) ?? new Uint8Array();
  let offset = 0;
  const send = () => {
    while (offset < blob.length) {
      const data = blob.subarray(offset, offset + 64 * 1024);
      offset += data.length;
      if (!call.write({ data })) {
        call.once('drain', send);
        return;
      }
    }
    call.end();
  };
  send();
};

const write: handleClientStreamingCall<WriteRequest, WriteResponse> = (call, done) => {
  const parts: Uint8Array[] = [];
  let resourceName = '';
  call.on('data', (request: WriteRequest) => {
    resourceName ||= request.resourceName;
    parts.push(request.data);
  });
  call.on('end', () => {
    const blob = Buffer.concat(parts);
    blobs.set(hashOf(resourceName), blob);
    done(null, { committedSize: blob.length });
  });
};

/** How generated code writes and reads one message type. */
interface Codec<T> {
  encode(message: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
}

function method<Req, Res>(
  path: string,
  request: Codec<Req>,
  response: Codec<Res>,
  streams: { readonly request?: boolean; readonly response?: boolean } = {},
) {
  return {
    path,
    requestStream: streams.request ?? false,
    responseStream: streams.response ?? false,
    requestSerialize: (message: Req) => Buffer.from(request.encode(message).finish()),
    requestDeserialize: (bytes: Buffer) => request.decode(bytes),
    responseSerialize: (message: Res) => Buffer.from(response.encode(message).finish()),
    responseDeserialize: (bytes: Buffer) => response.decode(bytes),
  };
}

const cas = '/build.bazel.remote.execution.v2.ContentAddressableStorage';
const actionCache = '/build.bazel.remote.execution.v2.ActionCache';
const server = new Server({ 'grpc.max_receive_message_length': 64 * 2 ** 20 });
server.addService(
  {
    findMissing: method(
      `${cas}/FindMissingBlobs`,
      FindMissingBlobsRequest,
      FindMissingBlobsResponse,
    ),
    batchUpdate: method(
      `${cas}/BatchUpdateBlobs`,
      BatchUpdateBlobsRequest,
      BatchUpdateBlobsResponse,
    ),
    batchRead: method(`${cas}/BatchReadBlobs`, BatchReadBlobsRequest, BatchReadBlobsResponse),
    getResult: method(`${actionCache}/GetActionResult`, GetActionResultRequest, ActionResult),
    updateResult: method(
      `${actionCache}/UpdateActionResult`,
      UpdateActionResultRequest,
      ActionResult,
    ),
    read: method('/google.bytestream.ByteStream/Read', ReadRequest, ReadResponse, {
      response: true,
    }),
    write: method('/google.bytestream.ByteStream/Write', WriteRequest, WriteResponse, {
      request: true,
    }),
  },
  { findMissing, batchUpdate, batchRead, getResult, updateResult, read, write },
);
server.bindAsync(`127.0.0.1:${process.argv[2]}`, ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
  console.log('listening');
});
