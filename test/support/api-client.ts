import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { Code } from '../../src/base/status.ts';
import {
  Action,
  ActionResult,
  BatchReadBlobsRequest,
  BatchReadBlobsResponse,
  BatchUpdateBlobsRequest,
  BatchUpdateBlobsResponse,
  Command,
  type DeepPartial,
  Digest,
  Directory,
  ExecuteRequest,
  ExecuteResponse,
  FindMissingBlobsRequest,
  FindMissingBlobsResponse,
  GetActionResultRequest,
  GetCapabilitiesRequest,
  GetTreeRequest,
  GetTreeResponse,
  ServerCapabilities,
  SpliceBlobRequest,
  SpliceBlobResponse,
  SplitBlobRequest,
  SplitBlobResponse,
  UpdateActionResultRequest,
  WaitExecutionRequest,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  QueryWriteStatusRequest,
  QueryWriteStatusResponse,
  ReadRequest,
  ReadResponse,
  WriteRequest,
  WriteResponse,
} from '../../src/proto/google/bytestream/bytestream.ts';
import {
  CancelOperationRequest,
  GetOperationRequest,
  Operation,
} from '../../src/proto/google/longrunning/operations.ts';
import { Empty } from '../../src/proto/google/protobuf/empty.ts';
import type { Encodable } from '../../src/rpc/method.ts';
import type { Decodable } from '../../src/tree/decode-message.ts';
import { type Blob, blobOf } from './blob-of.ts';
import { type CallOptions, TestClient } from './test-client.ts';

const api = '/build.bazel.remote.execution.v2';
const cas = `${api}.ContentAddressableStorage`;

/** The parts of an action as one client makes them. */
export interface ActionParts {
  readonly command: DeepPartial<Command>;
  readonly action?: DeepPartial<Action>;
  readonly root?: DeepPartial<Directory>;
}

/** Every call of the API that another client makes, as messages that the test writes in full. */
export class ApiClient {
  readonly #client: TestClient;
  readonly #instanceName: string;
  readonly #options: CallOptions;

  /** `options` go with every call. */
  constructor(
    t: Pick<TestContext, 'after'>,
    address: string,
    instanceName = 'main',
    options: CallOptions = {},
  ) {
    this.#client = new TestClient(t, address);
    this.#instanceName = instanceName;
    this.#options = options;
  }

  capabilities(): Promise<ServerCapabilities> {
    const path = `${api}.Capabilities/GetCapabilities`;
    return this.#unary(path, GetCapabilitiesRequest, ServerCapabilities, {});
  }

  findMissing(request: DeepPartial<FindMissingBlobsRequest>): Promise<FindMissingBlobsResponse> {
    const path = `${cas}/FindMissingBlobs`;
    return this.#unary(path, FindMissingBlobsRequest, FindMissingBlobsResponse, request);
  }

  batchUpdate(request: DeepPartial<BatchUpdateBlobsRequest>): Promise<BatchUpdateBlobsResponse> {
    const path = `${cas}/BatchUpdateBlobs`;
    return this.#unary(path, BatchUpdateBlobsRequest, BatchUpdateBlobsResponse, request);
  }

  batchRead(request: DeepPartial<BatchReadBlobsRequest>): Promise<BatchReadBlobsResponse> {
    const path = `${cas}/BatchReadBlobs`;
    return this.#unary(path, BatchReadBlobsRequest, BatchReadBlobsResponse, request);
  }

  splitBlob(request: DeepPartial<SplitBlobRequest>): Promise<SplitBlobResponse> {
    return this.#unary(`${cas}/SplitBlob`, SplitBlobRequest, SplitBlobResponse, request);
  }

  spliceBlob(request: DeepPartial<SpliceBlobRequest>): Promise<SpliceBlobResponse> {
    return this.#unary(`${cas}/SpliceBlob`, SpliceBlobRequest, SpliceBlobResponse, request);
  }

  /** Every page of one call. */
  getTree(request: DeepPartial<GetTreeRequest>): Promise<GetTreeResponse[]> {
    const whole = GetTreeRequest.fromPartial({ instanceName: this.#instanceName, ...request });
    return Array.fromAsync(
      this.#client.serverStream(
        `${cas}/GetTree`,
        GetTreeRequest,
        GetTreeResponse,
        whole,
        this.#options,
      ),
    );
  }

  getActionResult(request: DeepPartial<GetActionResultRequest>): Promise<ActionResult> {
    const path = `${api}.ActionCache/GetActionResult`;
    return this.#unary(path, GetActionResultRequest, ActionResult, request);
  }

  updateActionResult(request: DeepPartial<UpdateActionResultRequest>): Promise<ActionResult> {
    const path = `${api}.ActionCache/UpdateActionResult`;
    return this.#unary(path, UpdateActionResultRequest, ActionResult, request);
  }

  cancel(name: string): Promise<Empty> {
    const path = '/google.longrunning.Operations/CancelOperation';
    return this.#client.unary(path, CancelOperationRequest, Empty, { name }, this.#options);
  }

  getOperation(name: string): Promise<Operation> {
    const path = '/google.longrunning.Operations/GetOperation';
    return this.#client.unary(path, GetOperationRequest, Operation, { name }, this.#options);
  }

  /** Bytes of a resource; the name stands after the instance's. */
  async read(name: string, readOffset = 0): Promise<Buffer> {
    const resourceName = `${this.#instanceName}/${name}`;
    const request = ReadRequest.fromPartial({ resourceName, readOffset });
    const path = '/google.bytestream.ByteStream/Read';
    const stream = this.#client.serverStream(path, ReadRequest, ReadResponse, request);
    return Buffer.concat((await Array.fromAsync(stream)).map(({ data }) => data));
  }

  /** One stream of pieces, with the name in the first message alone; the committed size. */
  write(name: string, data: Uint8Array, pieceBytes = 16 * 1024): Promise<number> {
    const messages: DeepPartial<WriteRequest>[] = [];
    for (let at = 0; at < data.length; at += pieceBytes) {
      const piece = data.subarray(at, at + pieceBytes);
      const finishWrite = at + piece.length === data.length;
      messages.push({ writeOffset: at, data: piece, finishWrite });
    }
    return this.writeMessages(name, messages);
  }

  /** The committed size that answers the messages, of which the first gets the name. */
  async writeMessages(name: string, messages: readonly DeepPartial<WriteRequest>[]) {
    const path = '/google.bytestream.ByteStream/Write';
    const { call, response } = this.#client.clientStream(
      path,
      WriteRequest,
      WriteResponse,
      this.#options,
    );
    for (const [n, message] of messages.entries()) {
      const resourceName = n === 0 ? `${this.#instanceName}/${name}` : '';
      call.write(WriteRequest.fromPartial({ resourceName, ...message }));
    }
    call.end();
    return (await response).committedSize;
  }

  queryWriteStatus(name: string): Promise<QueryWriteStatusResponse> {
    const path = '/google.bytestream.ByteStream/QueryWriteStatus';
    const resourceName = `${this.#instanceName}/${name}`;
    const request = { resourceName };
    return this.#client.unary(path, QueryWriteStatusRequest, QueryWriteStatusResponse, request);
  }

  execute(
    request: DeepPartial<ExecuteRequest>,
    options = this.#options,
  ): AsyncGenerator<Operation> {
    const path = `${api}.Execution/Execute`;
    const whole = ExecuteRequest.fromPartial({ instanceName: this.#instanceName, ...request });
    return this.#client.serverStream(path, ExecuteRequest, Operation, whole, options);
  }

  waitExecution(name: string): AsyncGenerator<Operation> {
    const path = `${api}.Execution/WaitExecution`;
    const request = { name };
    return this.#client.serverStream(path, WaitExecutionRequest, Operation, request, this.#options);
  }

  /** Uploads blobs in one batch, each of which must succeed. */
  async put(...blobs: readonly Blob[]): Promise<void> {
    const requests = blobs.map(({ digest, bytes }) => ({
      digest: digest.toMessage(),
      data: bytes,
    }));
    const { responses } = await this.batchUpdate({ requests });
    for (const { status } of responses) assert.equal(status?.code, Code.OK);
  }

  /** Uploads an action without a digest function in sight; its digest. */
  async putAction({ command, action = {}, root = {} }: ActionParts): Promise<Digest> {
    const commandBlob = blobOf(Command.encode(Command.fromPartial(command)).finish());
    const rootBlob = blobOf(Directory.encode(Directory.fromPartial(root)).finish());
    const message = Action.fromPartial({
      commandDigest: commandBlob.digest.toMessage(),
      inputRootDigest: rootBlob.digest.toMessage(),
      ...action,
    });
    const actionBlob = blobOf(Action.encode(message).finish());
    await this.put(commandBlob, rootBlob, actionBlob);
    return Digest.fromPartial(actionBlob.digest.toMessage());
  }

  /** Executes to the end, and fails where clients do: no name, an error, or nothing done. */
  async run(request: DeepPartial<ExecuteRequest>): Promise<ExecuteResponse> {
    return responseOf(await Array.fromAsync(this.execute(request)));
  }

  /** A run of an action that must succeed. */
  async resultOf(parts: ActionParts): Promise<ActionResult> {
    const { status, result } = await this.run({ actionDigest: await this.putAction(parts) });
    assert.equal(status?.message ?? '', '');
    assert.ok(result);
    return result;
  }

  /** A blob by its digest, as text. */
  async text(digest: Digest | undefined): Promise<string> {
    const { responses } = await this.batchRead({ digests: digest ? [digest] : [] });
    return Buffer.from(responses[0]?.data ?? []).toString();
  }

  #unary<Request, Response>(
    path: string,
    requestType: Encodable<Request> & { fromPartial(request: object): Request },
    responseType: Decodable<Response>,
    request: object,
  ): Promise<Response> {
    const whole = requestType.fromPartial({ instanceName: this.#instanceName, ...request });
    return this.#client.unary(path, requestType, responseType, whole, this.#options);
  }
}

/** What an operation ended with, as clients read it. */
export function responseOf(operations: readonly Operation[]): ExecuteResponse {
  const last = operations.at(-1);
  assert.ok(last?.done, 'the stream ended without a done operation');
  assert.ok(operations.every(({ name }) => name === last.name && name !== ''));
  const { result } = last;
  assert.ok(result?.$case === 'response', 'an operation never has an error');
  return ExecuteResponse.decode(result.value.value);
}
