import { deflateRawSync, zstdCompressSync } from 'node:zlib';
import {
  FetchBlobRequest,
  PushBlobRequest,
  PushDirectoryRequest,
} from '../../src/proto/build/bazel/remote/asset/v1/remote_asset.ts';
import {
  CreateLogStreamRequest,
  type LogStream,
} from '../../src/proto/build/bazel/remote/logstream/v1/remote_logstream.ts';
import {
  Action,
  BatchReadBlobsRequest,
  BatchUpdateBlobsRequest,
  Command,
  Compressor_Value,
  Directory,
  ExecuteRequest,
  FindMissingBlobsRequest,
  GetActionResultRequest,
  GetCapabilitiesRequest,
  GetTreeRequest,
  SpliceBlobRequest,
  SplitBlobRequest,
  Tree,
  UpdateActionResultRequest,
  WaitExecutionRequest,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { WorkerState } from '../../src/proto/expbuild/worker/v1/worker.ts';
import {
  QueryWriteStatusRequest,
  ReadRequest,
  WriteRequest,
} from '../../src/proto/google/bytestream/bytestream.ts';
import {
  GetOperationRequest,
  ListOperationsRequest,
  WaitOperationRequest,
} from '../../src/proto/google/longrunning/operations.ts';
import { HealthCheckRequest } from '../../src/proto/grpc/health/v1/health.ts';
import { type Blob, blobOf } from '../support/blob-of.ts';
import { bytesOf } from './bytes-of.ts';
import type { Chance } from './chance.ts';
import { readFromLog, reflect, writeToLog } from './logs-and-reflection.ts';

/** A call that a server should answer with OK, and what it would store. */
export interface GoodCall {
  readonly messages: readonly Buffer[];
  readonly uploads?: Blob;
  /** It goes on until its client has had enough, although the method need not. */
  readonly lasting?: boolean;
}

const instanceName = 'main';
const api = '/build.bazel.remote.execution.v2';

/** What is stored before the first call, and must be there after the last. */
export class Seeds {
  readonly small = blobOf('a small file');
  readonly large = blobOf(Buffer.from('a large file, which can be split; '.repeat(20_000)));
  readonly folder = blobOf(
    bytesOf(Directory, {
      files: [
        { name: 'large', digest: this.large.digest.toMessage() },
        { name: 'small', digest: this.small.digest.toMessage(), isExecutable: true },
      ].map((file) => ({ isExecutable: false, nodeProperties: undefined, ...file })),
    }),
  );
  readonly root = blobOf(
    bytesOf(Directory, {
      directories: [{ name: 'folder', digest: this.folder.digest.toMessage() }],
      symlinks: [{ name: 'link', target: 'folder/small', nodeProperties: undefined }],
    }),
  );
  readonly tree = blobOf(
    bytesOf(Tree, {
      root: Directory.decode(this.root.bytes),
      children: [Directory.decode(this.folder.bytes)],
    }),
  );
  readonly command = blobOf(
    bytesOf(Command, { arguments: ['true'], outputPaths: ['out', 'a/b'], workingDirectory: '' }),
  );
  readonly action = blobOf(
    bytesOf(Action, {
      commandDigest: this.command.digest.toMessage(),
      inputRootDigest: this.root.digest.toMessage(),
    }),
  );

  /** Log streams that the server has made, the latest last. */
  readonly logs: LogStream[] = [];

  get all(): readonly Blob[] {
    const { small, large, folder, root, tree, command, action } = this;
    return [small, large, folder, root, tree, command, action];
  }

  get digests() {
    return this.all.map(({ digest }) => digest.toMessage());
  }
}

/** Requests in the order in which a first client would send them, so that each finds what it names. */
export function seedingRequests(seeds: Seeds): readonly (readonly [path: string, Buffer])[] {
  const requests = seeds.all.map(({ digest, bytes }) => ({
    digest: digest.toMessage(),
    data: bytes,
    compressor: Compressor_Value.IDENTITY,
  }));
  return ['', instanceName].flatMap((name) => [
    [
      `${api}.ContentAddressableStorage/BatchUpdateBlobs`,
      bytesOf(BatchUpdateBlobsRequest, { instanceName: name, requests }),
    ] as const,
    [`${api}.ActionCache/UpdateActionResult`, updateActionResult(seeds, name)] as const,
  ]);
}

function updateActionResult(seeds: Seeds, name: string): Buffer {
  return Buffer.from(
    UpdateActionResultRequest.encode(
      UpdateActionResultRequest.fromPartial({
        instanceName: name,
        actionDigest: seeds.action.digest.toMessage(),
        actionResult: {
          outputFiles: [{ path: 'out', digest: seeds.small.digest.toMessage() }],
          outputDirectories: [{ path: 'a/b', treeDigest: seeds.tree.digest.toMessage() }],
          outputSymlinks: [{ path: 'c', target: 'out' }],
          stdoutRaw: Buffer.from('printed'),
          stderrDigest: seeds.small.digest.toMessage(),
          executionMetadata: { worker: 'w' },
        },
      }),
    ).finish(),
  );
}

export const createLogStreamPath =
  '/build.bazel.remote.logstream.v1.LogStreamService/CreateLogStream';

type Build = (seeds: Seeds, chance: Chance) => GoodCall;

const one =
  (build: (seeds: Seeds, chance: Chance) => Buffer): Build =>
  (seeds, chance) => ({ messages: [build(seeds, chance)] });

/** Content that no call before has had. */
function freshBlob(chance: Chance): Blob {
  return blobOf(Buffer.concat([chance.bytes(8), Buffer.alloc(chance.below(3000), 'fresh')]));
}

const packings = [
  { name: 'zstd', value: Compressor_Value.ZSTD, pack: zstdCompressSync },
  { name: 'deflate', value: Compressor_Value.DEFLATE, pack: deflateRawSync },
] as const;

function batchUpdate(_: Seeds, chance: Chance): GoodCall {
  const uploads = freshBlob(chance);
  const packing = chance.oneIn(3) ? chance.pick(packings) : undefined;
  const request = {
    digest: uploads.digest.toMessage(),
    data: packing ? packing.pack(uploads.bytes) : uploads.bytes,
    compressor: packing?.value ?? Compressor_Value.IDENTITY,
  };
  const requests = [request];
  return { messages: [bytesOf(BatchUpdateBlobsRequest, { instanceName, requests })], uploads };
}

function write(_: Seeds, chance: Chance): GoodCall {
  const uploads = freshBlob(chance);
  const packing = chance.oneIn(3) ? chance.pick(packings) : undefined;
  const data = packing ? packing.pack(uploads.bytes) : Buffer.from(uploads.bytes);
  const kind = packing ? `compressed-blobs/${packing.name}` : 'blobs';
  const resourceName = `${instanceName}/uploads/${chance.below(2 ** 32)}/${kind}/${uploads.digest}`;
  const cuts = [chance.below(data.length), chance.below(data.length)].toSorted((a, b) => a - b);
  const messages = [0, ...cuts].map((start, at) => {
    const end = cuts[at] ?? data.length;
    return bytesOf(WriteRequest, {
      resourceName: at === 0 || chance.oneIn(2) ? resourceName : '',
      writeOffset: start,
      data: data.subarray(start, end),
      finishWrite: end === data.length && at === cuts.length,
    });
  });
  return { messages, uploads };
}

/** To a log stream, or about it: appended to, read from anywhere, asked for its status. */
function aboutLogs(
  otherwise: Build,
  request: (log: LogStream, chance: Chance) => readonly Buffer[],
  { lasting }: { readonly lasting: boolean },
): Build {
  return (seeds, chance) => {
    const { logs } = seeds;
    if (logs.length === 0 || !chance.oneIn(3)) return otherwise(seeds, chance);
    return { messages: request(chance.pick(logs), chance), lasting };
  };
}

function splice(seeds: Seeds, chance: Chance): GoodCall {
  const chunks = Array.from({ length: 1 + chance.below(6) }, () => chance.pick(seeds.all));
  const uploads = blobOf(Buffer.concat(chunks.map(({ bytes }) => bytes)));
  const request = {
    instanceName,
    blobDigest: uploads.digest.toMessage(),
    chunkDigests: chunks.map(({ digest }) => digest.toMessage()),
  };
  return { messages: [bytesOf(SpliceBlobRequest, request)], uploads };
}

function connect(): GoodCall {
  const hello = WorkerState.fromPartial({
    hello: {
      workerId: 'fuzzed',
      bootId: 'boot',
      protocolVersion: 1,
      softwareVersion: '1',
      properties: [{ name: 'OSFamily', value: 'linux' }],
      slots: 1,
    },
    sequence: 1,
  });
  const held = WorkerState.fromPartial({
    sequence: 2,
    seenSequence: 1,
    leases: [{ leaseId: 'lease', epoch: 1, phase: 4, response: { result: { exitCode: 0 } } }],
  });
  return { messages: [bytesOf(WorkerState, hello), bytesOf(WorkerState, held)] };
}

const noOperation = `${instanceName}/operations/00000000-0000-4000-8000-000000000000`;
const cas = `${api}.ContentAddressableStorage`;

/** By method; a method that is not here gets messages that only its schema has a part in. */
export const goodCalls: ReadonlyMap<string, Build> = new Map([
  [
    `${api}.Capabilities/GetCapabilities`,
    one(() => bytesOf(GetCapabilitiesRequest, { instanceName })),
  ],
  [
    `${cas}/FindMissingBlobs`,
    one(({ digests }) =>
      bytesOf(FindMissingBlobsRequest, { instanceName, blobDigests: digests, digestFunction: 1 }),
    ),
  ],
  [`${cas}/BatchUpdateBlobs`, batchUpdate],
  [
    `${cas}/BatchReadBlobs`,
    one(({ digests }) =>
      bytesOf(BatchReadBlobsRequest, {
        instanceName,
        digests,
        acceptableCompressors: [Compressor_Value.IDENTITY, Compressor_Value.ZSTD],
      }),
    ),
  ],
  [
    `${cas}/GetTree`,
    one(({ root }) =>
      bytesOf(GetTreeRequest, { instanceName, rootDigest: root.digest.toMessage(), pageSize: 1 }),
    ),
  ],
  [
    `${cas}/SplitBlob`,
    one(({ large }) =>
      bytesOf(SplitBlobRequest, { instanceName, blobDigest: large.digest.toMessage() }),
    ),
  ],
  [`${cas}/SpliceBlob`, splice],
  [
    `${api}.ActionCache/GetActionResult`,
    one(({ action }) =>
      bytesOf(GetActionResultRequest, {
        instanceName,
        actionDigest: action.digest.toMessage(),
        inlineStdout: true,
        inlineOutputFiles: ['out'],
      }),
    ),
  ],
  [
    `${api}.ActionCache/UpdateActionResult`,
    one((seeds) => updateActionResult(seeds, instanceName)),
  ],
  [
    `${api}.Execution/Execute`,
    one(({ action }, chance) =>
      bytesOf(ExecuteRequest, {
        instanceName,
        actionDigest: action.digest.toMessage(),
        skipCacheLookup: chance.oneIn(2),
        executionPolicy: { priority: 1 },
      }),
    ),
  ],
  [
    `${api}.Execution/WaitExecution`,
    one(() => bytesOf(WaitExecutionRequest, { name: noOperation })),
  ],
  ['/expbuild.worker.v1.WorkerService/Connect', connect],
  [
    '/google.bytestream.ByteStream/Read',
    aboutLogs(
      one(({ large, small }, chance) =>
        bytesOf(ReadRequest, {
          resourceName: chance.pick([
            `${instanceName}/blobs/${small.digest}`,
            `${instanceName}/compressed-blobs/zstd/${large.digest}`,
          ]),
        }),
      ),
      readFromLog,
      { lasting: true },
    ),
  ],
  ['/google.bytestream.ByteStream/Write', aboutLogs(write, writeToLog, { lasting: false })],
  [
    '/google.bytestream.ByteStream/QueryWriteStatus',
    aboutLogs(
      one(({ small }) =>
        bytesOf(QueryWriteStatusRequest, {
          resourceName: `${instanceName}/uploads/u/blobs/${small.digest}`,
        }),
      ),
      ({ writeResourceName: resourceName }) => [bytesOf(QueryWriteStatusRequest, { resourceName })],
      { lasting: false },
    ),
  ],
  [
    '/google.longrunning.Operations/ListOperations',
    one(() => bytesOf(ListOperationsRequest, { name: `${instanceName}/operations`, pageSize: 10 })),
  ],
  ...['GetOperation', 'DeleteOperation', 'CancelOperation'].map(
    (method) =>
      [
        `/google.longrunning.Operations/${method}`,
        one(() => bytesOf(GetOperationRequest, { name: noOperation })),
      ] as const,
  ),
  [
    '/google.longrunning.Operations/WaitOperation',
    one(() =>
      bytesOf(WaitOperationRequest, { name: noOperation, timeout: { seconds: 1, nanos: 0 } }),
    ),
  ],
  // URNs, which nothing that is done to them makes an address to fetch from.
  ...['Blob', 'Directory'].map(
    (kind) =>
      [
        `/build.bazel.remote.asset.v1.Fetch/Fetch${kind}`,
        one((_seeds, chance) =>
          bytesOf(FetchBlobRequest, {
            instanceName,
            uris: ['urn:fuzz:none', chance.pick(['urn:fuzz:blob', 'urn:fuzz:directory'])],
            qualifiers: [{ name: 'name', value: 'value' }],
            timeout: { seconds: 1, nanos: 0 },
          }),
        ),
      ] as const,
  ),
  [
    '/build.bazel.remote.asset.v1.Push/PushBlob',
    one(({ small, large }) =>
      bytesOf(PushBlobRequest, {
        instanceName,
        uris: ['urn:fuzz:blob'],
        qualifiers: [{ name: 'name', value: 'value' }],
        blobDigest: small.digest.toMessage(),
        referencesBlobs: [large.digest.toMessage()],
      }),
    ),
  ],
  [
    '/build.bazel.remote.asset.v1.Push/PushDirectory',
    one(({ root, folder }) =>
      bytesOf(PushDirectoryRequest, {
        instanceName,
        uris: ['urn:fuzz:directory'],
        rootDirectoryDigest: root.digest.toMessage(),
        referencesDirectories: [folder.digest.toMessage()],
      }),
    ),
  ],
  [createLogStreamPath, one(() => bytesOf(CreateLogStreamRequest, { parent: instanceName }))],
  [
    '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
    (_seeds, chance) => ({ messages: reflect(chance) }),
  ],
  [
    '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo',
    (_seeds, chance) => ({ messages: reflect(chance) }),
  ],
  ['/grpc.health.v1.Health/Check', one(() => bytesOf(HealthCheckRequest, {}))],
  ['/grpc.health.v1.Health/Watch', one(() => bytesOf(HealthCheckRequest, {}))],
]);
