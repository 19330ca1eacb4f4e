import {
  ActionResult,
  BatchReadBlobsRequest,
  BatchReadBlobsResponse,
  BatchUpdateBlobsRequest,
  BatchUpdateBlobsResponse,
  ExecuteRequest,
  FindMissingBlobsRequest,
  FindMissingBlobsResponse,
  GetActionResultRequest,
  GetCapabilitiesRequest,
  GetTreeRequest,
  GetTreeResponse,
  type MessageFns,
  ServerCapabilities,
  SpliceBlobRequest,
  SpliceBlobResponse,
  SplitBlobRequest,
  SplitBlobResponse,
  UpdateActionResultRequest,
  WaitExecutionRequest,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  QueryWriteStatusRequest,
  QueryWriteStatusResponse,
  ReadRequest,
  ReadResponse,
  WriteRequest,
  WriteResponse,
} from '../proto/google/bytestream/bytestream.ts';
import {
  FetchBlobRequest,
  FetchBlobResponse,
  FetchDirectoryRequest,
  FetchDirectoryResponse,
  PushBlobRequest,
  PushBlobResponse,
  PushDirectoryRequest,
  PushDirectoryResponse,
} from '../proto/build/bazel/remote/asset/v1/remote_asset.ts';
import {
  CreateLogStreamRequest,
  LogStream,
} from '../proto/build/bazel/remote/logstream/v1/remote_logstream.ts';
import {
  CancelOperationRequest,
  DeleteOperationRequest,
  GetOperationRequest,
  ListOperationsRequest,
  ListOperationsResponse,
  Operation,
  WaitOperationRequest,
} from '../proto/google/longrunning/operations.ts';
import { Empty } from '../proto/google/protobuf/empty.ts';
import { HealthCheckRequest, HealthCheckResponse } from '../proto/grpc/health/v1/health.ts';

/** One method of a service, with the messages that it takes and gives. */
export interface Rpc<Request, Response> {
  /** As on the wire: /package.Service/Method. */
  readonly path: string;
  readonly request: MessageFns<Request>;
  readonly response: MessageFns<Response>;
}

const rpc = <Request, Response>(
  path: string,
  request: MessageFns<Request>,
  response: MessageFns<Response>,
): Rpc<Request, Response> => ({ path, request, response });

const api = '/build.bazel.remote.execution.v2';
const cas = `${api}.ContentAddressableStorage`;
const cache = `${api}.ActionCache`;
const bytes = '/google.bytestream.ByteStream';
const running = '/google.longrunning.Operations';
const asset = '/build.bazel.remote.asset.v1';

/** Every method that the probes call. */
export const rpcs = {
  getCapabilities: rpc(
    `${api}.Capabilities/GetCapabilities`,
    GetCapabilitiesRequest,
    ServerCapabilities,
  ),
  findMissing: rpc(`${cas}/FindMissingBlobs`, FindMissingBlobsRequest, FindMissingBlobsResponse),
  batchUpdate: rpc(`${cas}/BatchUpdateBlobs`, BatchUpdateBlobsRequest, BatchUpdateBlobsResponse),
  batchRead: rpc(`${cas}/BatchReadBlobs`, BatchReadBlobsRequest, BatchReadBlobsResponse),
  getTree: rpc(`${cas}/GetTree`, GetTreeRequest, GetTreeResponse),
  split: rpc(`${cas}/SplitBlob`, SplitBlobRequest, SplitBlobResponse),
  splice: rpc(`${cas}/SpliceBlob`, SpliceBlobRequest, SpliceBlobResponse),
  getActionResult: rpc(`${cache}/GetActionResult`, GetActionResultRequest, ActionResult),
  updateActionResult: rpc(`${cache}/UpdateActionResult`, UpdateActionResultRequest, ActionResult),
  execute: rpc(`${api}.Execution/Execute`, ExecuteRequest, Operation),
  waitExecution: rpc(`${api}.Execution/WaitExecution`, WaitExecutionRequest, Operation),
  read: rpc(`${bytes}/Read`, ReadRequest, ReadResponse),
  write: rpc(`${bytes}/Write`, WriteRequest, WriteResponse),
  queryWriteStatus: rpc(
    `${bytes}/QueryWriteStatus`,
    QueryWriteStatusRequest,
    QueryWriteStatusResponse,
  ),
  getOperation: rpc(`${running}/GetOperation`, GetOperationRequest, Operation),
  listOperations: rpc(`${running}/ListOperations`, ListOperationsRequest, ListOperationsResponse),
  cancelOperation: rpc(`${running}/CancelOperation`, CancelOperationRequest, Empty),
  deleteOperation: rpc(`${running}/DeleteOperation`, DeleteOperationRequest, Empty),
  waitOperation: rpc(`${running}/WaitOperation`, WaitOperationRequest, Operation),
  createLogStream: rpc(
    '/build.bazel.remote.logstream.v1.LogStreamService/CreateLogStream',
    CreateLogStreamRequest,
    LogStream,
  ),
  fetchBlob: rpc(`${asset}.Fetch/FetchBlob`, FetchBlobRequest, FetchBlobResponse),
  fetchDirectory: rpc(
    `${asset}.Fetch/FetchDirectory`,
    FetchDirectoryRequest,
    FetchDirectoryResponse,
  ),
  pushBlob: rpc(`${asset}.Push/PushBlob`, PushBlobRequest, PushBlobResponse),
  pushDirectory: rpc(`${asset}.Push/PushDirectory`, PushDirectoryRequest, PushDirectoryResponse),
  checkHealth: rpc('/grpc.health.v1.Health/Check', HealthCheckRequest, HealthCheckResponse),
} as const;
