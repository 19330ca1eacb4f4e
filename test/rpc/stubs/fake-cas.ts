import type { Metadata } from '@grpc/grpc-js';
import type { TestContext } from 'node:test';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { chunksOf, collect } from '../../../src/base/chunks.ts';
import { Code, StatusError } from '../../../src/base/status.ts';
import { withEmptyBlob } from '../../../src/cas/with-empty-blob.ts';
import { AnnouncedDigestFunctions } from '../../../src/digest/announced-digest-functions.ts';
import { blake3, sha1, sha256 } from '../../../src/digest/digest-functions.ts';
import { Digest } from '../../../src/digest/digest.ts';
import { digestOfName, parseReadName, parseWriteName } from '../../../src/digest/resource-name.ts';
import {
  BatchReadBlobsRequest,
  BatchReadBlobsResponse,
  BatchUpdateBlobsRequest,
  BatchUpdateBlobsResponse,
  Compressor_Value,
  type DigestFunction_Value,
  type Digest as DigestMessage,
  FindMissingBlobsRequest,
  FindMissingBlobsResponse,
  SpliceBlobRequest,
  SpliceBlobResponse,
  SplitBlobRequest,
  SplitBlobResponse,
} from '../../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  QueryWriteStatusRequest,
  QueryWriteStatusResponse,
  ReadRequest,
  ReadResponse,
  WriteRequest,
  WriteResponse,
} from '../../../src/proto/google/bytestream/bytestream.ts';
import { PlainBlobStore } from '../../support/memory-blob-store.ts';
import { never } from '../../support/never.ts';
import { clientStream, fakeServer, serverStream, unary } from './fake-server.ts';

const announced = new AnnouncedDigestFunctions([sha256, sha1, blake3]);
const { IDENTITY, ZSTD } = Compressor_Value;
const cas = '/build.bazel.remote.execution.v2.ContentAddressableStorage';

/** What a fake server does other than it should. */
export interface Quirks {
  /** Called with the data of each small read; its answer is sent instead. */
  readonly spoil?: (data: Uint8Array) => Uint8Array;
  /** Called before each ByteStream message with the offset; may throw to break the stream. */
  readonly beforeChunk?: (offset: number) => void;
  /** Called with the offset behind each message that was written; may throw to break the stream. */
  readonly afterWritten?: (offset: number) => void;
  /** Called when a write is asked for; may throw instead of an answer. */
  readonly beforeQuery?: () => void;
  /** Answers a ByteStream Write after its first message with this committed size. */
  readonly earlyCommittedSize?: number;
  /** What is said to be committed of a whole compressed upload; the blob's size if it does not say. */
  readonly packedCommittedSize?: (digest: Digest, sentBytes: number) => number;
  /** Fails a splice, as long as it gives an error. */
  readonly spliceError?: () => StatusError | undefined;
  /** Fails whole batch calls as long as it gives an error. */
  readonly batchError?: () => StatusError | undefined;
}

/** A server with blobs in memory, and a record of what it was asked. */
export async function fakeCas(t: TestContext, quirks: Quirks = {}) {
  const plain = new PlainBlobStore();
  const store = withEmptyBlob(plain);
  const calls: string[] = [];
  const routes: string[] = [];
  const uploads = new Map<string, Uint8Array>();
  const route = (metadata: Metadata) => {
    routes.push(String(metadata.get('build.bazel.remote.execution.v2.resource-name')[0]));
  };
  const channel = await fakeServer(t, [
    unary(
      `${cas}/FindMissingBlobs`,
      FindMissingBlobsRequest,
      FindMissingBlobsResponse,
      async ({ blobDigests, digestFunction }) => {
        calls.push(`find ${blobDigests.length}`);
        const missing = await store.findMissing(digestsOf(blobDigests, digestFunction), never);
        return FindMissingBlobsResponse.fromPartial({
          missingBlobDigests: missing.map((digest) => digest.toMessage()),
        });
      },
    ),
    unary(
      `${cas}/BatchReadBlobs`,
      BatchReadBlobsRequest,
      BatchReadBlobsResponse,
      async ({ digests, digestFunction, acceptableCompressors }) => {
        const packs = acceptableCompressors.includes(ZSTD);
        calls.push(`batch read ${digests.length}${packs ? ', zstd' : ''}`);
        const error = quirks.batchError?.();
        if (error) throw error;
        const responses = digestsOf(digests, digestFunction).map(async (digest) => ({
          digest: digest.toMessage(),
          ...(await settled(async () => {
            const data = await collect(store.read(digest, 0, never));
            const sent = packs ? zstdCompressSync(data) : data;
            return quirks.spoil?.(sent) ?? sent;
          })),
          compressor: packs ? ZSTD : IDENTITY,
        }));
        return BatchReadBlobsResponse.fromPartial({ responses: await Promise.all(responses) });
      },
    ),
    unary(
      `${cas}/BatchUpdateBlobs`,
      BatchUpdateBlobsRequest,
      BatchUpdateBlobsResponse,
      async ({ requests, digestFunction }) => {
        const packed = requests.filter(({ compressor }) => compressor === ZSTD).length;
        calls.push(`batch update ${requests.length}${packed > 0 ? `, ${packed} zstd` : ''}`);
        const error = quirks.batchError?.();
        if (error) throw error;
        const responses = requests.map(async ({ digest: message, data, compressor }) => {
          const [digest] = digestsOf(message ? [message] : [], digestFunction) as [Digest];
          const { status } = await settled(async () => {
            const bytes = compressor === ZSTD ? zstdDecompressSync(data) : data;
            await store.write(digest, chunksOf(bytes), never);
            return data;
          });
          return { digest: digest.toMessage(), status };
        });
        return BatchUpdateBlobsResponse.fromPartial({ responses: await Promise.all(responses) });
      },
    ),
    unary(
      `${cas}/SpliceBlob`,
      SpliceBlobRequest,
      SpliceBlobResponse,
      async ({ blobDigest, chunkDigests, digestFunction, chunkingFunction }) => {
        calls.push(`splice ${chunkDigests.length}, function ${chunkingFunction}`);
        const error = quirks.spliceError?.();
        if (error) throw error;
        const [digest] = digestsOf(blobDigest ? [blobDigest] : [], digestFunction) as [Digest];
        const chunks = digestsOf(chunkDigests, digestFunction);
        const contents = chunks.map((chunk) => collect(store.read(chunk, 0, never)));
        await store.write(digest, chunksOf(Buffer.concat(await Promise.all(contents))), never);
        return { blobDigest };
      },
    ),
    unary(`${cas}/SplitBlob`, SplitBlobRequest, SplitBlobResponse, () => {
      calls.push('split');
      throw new StatusError(Code.UNIMPLEMENTED, 'no');
    }),
    serverStream(
      '/google.bytestream.ByteStream/Read',
      ReadRequest,
      ReadResponse,
      async function* ({ resourceName, readOffset }, metadata) {
        calls.push(`read from ${readOffset}`);
        route(metadata);
        const name = parseReadName(resourceName);
        const digest = digestOfName(name, announced);
        const plainRest = await collect(store.read(digest, readOffset, never));
        const rest = name.compressor === 'zstd' ? zstdCompressSync(plainRest) : plainRest;
        yield ReadResponse.fromPartial({}); // A keep-alive (BS-10).
        for (let at = 0; at < rest.length; at += 100_000) {
          quirks.beforeChunk?.(readOffset + at);
          const data = rest.subarray(at, at + 100_000);
          yield ReadResponse.fromPartial({ data: quirks.spoil?.(data) ?? data });
        }
        quirks.beforeChunk?.(digest.sizeBytes);
      },
    ),
    clientStream(
      '/google.bytestream.ByteStream/Write',
      WriteRequest,
      WriteResponse,
      async (requests, metadata) => {
        route(metadata);
        return writeBlob(store, requests, { uploads, calls, quirks });
      },
    ),
    unary(
      '/google.bytestream.ByteStream/QueryWriteStatus',
      QueryWriteStatusRequest,
      QueryWriteStatusResponse,
      async ({ resourceName }) => {
        calls.push('query');
        quirks.beforeQuery?.();
        const digest = digestOfName(parseWriteName(resourceName), announced);
        const complete = (await store.findMissing([digest], never)).length === 0;
        const committedSize = uploads.get(resourceName)?.length ?? 0;
        return { complete, committedSize: complete ? digest.sizeBytes : committedSize };
      },
    ),
  ]);
  return { channel, plain, calls, routes, uploads };
}

interface Writing {
  /** What has come of those that are not finished, by resource name. */
  readonly uploads: Map<string, Uint8Array>;
  readonly calls: string[];
  readonly quirks: Quirks;
}

async function writeBlob(
  store: ReturnType<typeof withEmptyBlob>,
  requests: AsyncIterable<WriteRequest>,
  { uploads, calls, quirks }: Writing,
): Promise<WriteResponse> {
  let name: string | undefined;
  for await (const { resourceName, writeOffset, data, finishWrite } of requests) {
    calls.push(`write ${data.length} at ${writeOffset}${finishWrite ? ', finished' : ''}`);
    if (quirks.earlyCommittedSize !== undefined) {
      return WriteResponse.fromPartial({ committedSize: quirks.earlyCommittedSize });
    }
    if (name === undefined && writeOffset === 0) uploads.delete(resourceName);
    name ??= resourceName;
    const before = uploads.get(name) ?? new Uint8Array();
    if (writeOffset !== before.length) {
      throw new StatusError(Code.OUT_OF_RANGE, `offset ${writeOffset}, not ${before.length}`);
    }
    const bytes = Buffer.concat([before, data]);
    uploads.set(name, bytes);
    quirks.afterWritten?.(bytes.length);
    if (finishWrite) {
      uploads.delete(name);
      const parsed = parseWriteName(name);
      const digest = digestOfName(parsed, announced);
      const packs = parsed.compressor === 'zstd';
      await store.write(digest, chunksOf(packs ? zstdDecompressSync(bytes) : bytes), never);
      const committed = packs ? quirks.packedCommittedSize?.(digest, bytes.length) : undefined;
      return WriteResponse.fromPartial({ committedSize: committed ?? digest.sizeBytes });
    }
  }
  throw new StatusError(Code.INVALID_ARGUMENT, 'the write was not finished');
}

function digestsOf(messages: readonly DigestMessage[], value: DigestFunction_Value): Digest[] {
  const digestFunction = announced.resolve(value, messages[0]?.hash);
  return messages.map((message) => Digest.fromMessage(digestFunction, message, 'digest'));
}

async function settled(work: () => Promise<Uint8Array>) {
  try {
    return { data: await work(), status: { code: Code.OK } };
  } catch (thrown) {
    const { code, message } = StatusError.from(thrown);
    return { status: { code, message } };
  }
}
