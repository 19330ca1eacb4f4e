import { StatusError } from '../base/status.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import type { Digest } from '../digest/digest.ts';
import { type Compressor, formatReadName, formatWriteName } from '../digest/resource-name.ts';
import type { DeepPartial } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { type ReadRequest, WriteRequest } from '../proto/google/bytestream/bytestream.ts';
import { expectSame, expectStatus, Failure, withRoom } from './expect.ts';
import type { Tested } from './probe.ts';
import { type Blob, blobOf, type RandomBlobs } from './random-blobs.ts';
import { type Rpc, rpcs } from './rpcs.ts';
import type { Wire, WireOptions } from './wire.ts';

type Options = Omit<WireOptions, 'signal'> & { readonly signal?: AbortSignal };

/** What a message of a Write says beside its name. */
export interface Piece {
  readonly data?: Uint8Array;
  readonly writeOffset?: number;
  readonly finishWrite?: boolean;
  readonly resourceName?: string;
}

/** How a probe speaks to the server: calls of the API, and none of its rules kept for it. */
export class Api {
  readonly tested: Tested;
  readonly random: RandomBlobs;
  /** Aborts when the probe has taken too long. */
  readonly signal: AbortSignal;
  readonly #wire: Wire;

  constructor(tested: Tested, wire: Wire, random: RandomBlobs, signal: AbortSignal) {
    this.tested = tested;
    this.random = random;
    this.signal = signal;
    this.#wire = wire;
  }

  /** A new random blob. */
  blob(sizeBytes = 1000, digestFunction: DigestFunction = this.tested.digestFunction): Blob {
    return this.random.blob(digestFunction, sizeBytes);
  }

  /** Bytes as a blob of the usual digest function. */
  blobOf(bytes: Uint8Array): Blob {
    return blobOf(this.tested.digestFunction, bytes);
  }

  /** The answers to any bytes, until the server ends the call. */
  stream(path: string, requests: AsyncIterable<Uint8Array>, options: Options = {}) {
    return this.#wire(path, requests, { signal: this.signal, ...options });
  }

  /** All answers to one message of any bytes. */
  raw(path: string, request: Uint8Array, options: Options = {}): Promise<Uint8Array[]> {
    return Array.fromAsync(this.stream(path, each([request]), options));
  }

  /** All messages of the answer. Instance name and digest function are filled in unless given. */
  async all<Q, S>(rpc: Rpc<Q, S>, request: DeepPartial<Q>, options: Options = {}): Promise<S[]> {
    const answers = await this.raw(rpc.path, this.encoded(rpc, request), options);
    return answers.map((bytes) => decoded(rpc, bytes));
  }

  /** The only message of the answer. */
  async one<Q, S>(rpc: Rpc<Q, S>, request: DeepPartial<Q>, options: Options = {}): Promise<S> {
    return only(rpc, await this.all(rpc, request, options));
  }

  /** A request's bytes, with instance name and digest function. */
  encoded<Q>({ request: type }: Rpc<Q, unknown>, request: DeepPartial<Q>): Uint8Array {
    const known = type.create() as object;
    const { instanceName, digestFunction } = this.tested;
    const whole = {
      ...('instanceName' in known && { instanceName }),
      ...('digestFunction' in known && { digestFunction: digestFunction.value }),
      ...(request as object),
    } as DeepPartial<Q>;
    return type.encode(type.fromPartial(whole)).finish();
  }

  /** Uploads blobs of one digest function in one batch, each of which must succeed. */
  async put(...blobs: readonly Blob[]): Promise<void> {
    const { responses } = await this.one(rpcs.batchUpdate, {
      digestFunction: blobs[0]?.digest.function.value ?? 0,
      requests: blobs.map(({ digest, bytes }) => ({ digest: digest.toMessage(), data: bytes })),
    });
    expectSame(responses.length, blobs.length, 'the number of answers to a batch');
    for (const { status } of responses) expectStatus(status, 0, 'a blob that is uploaded');
  }

  /** Which of the digests, all of one function, the server has not. */
  async missing(...digests: readonly Digest[]): Promise<string[]> {
    const { missingBlobDigests } = await this.one(rpcs.findMissing, {
      digestFunction: digests[0]?.function.value ?? 0,
      blobDigests: digests.map((digest) => digest.toMessage()),
    });
    return missingBlobDigests.map(({ hash, sizeBytes }) => `${hash}/${sizeBytes}`);
  }

  /** That none of a refused or unfinished upload is there. */
  async expectAbsent({ digest }: Blob, after: string): Promise<void> {
    const missing = await this.missing(digest);
    if (missing.length > 0) return;
    throw new Failure(`the blob to be missing after ${after}`, 'the server says that it has it');
  }

  async expectPresent({ digest }: Blob, after: string): Promise<void> {
    const missing = await this.missing(digest);
    if (missing.length === 0) return;
    throw new Failure(`the blob to be there after ${after}`, 'the server lists it as missing');
  }

  readName(digest: Digest, compressor: Compressor = 'identity'): string {
    return formatReadName(this.tested.instanceName, digest, compressor);
  }

  writeName(digest: Digest, compressor: Compressor = 'identity', id = this.random.uuid()): string {
    return formatWriteName(this.tested.instanceName, id, digest, compressor);
  }

  /** The data of each message that ByteStream.Read answers. */
  async read(resourceName: string, more: DeepPartial<ReadRequest> = {}): Promise<Buffer> {
    const answers = await this.all(rpcs.read, { resourceName, ...more });
    return Buffer.concat(answers.map(({ data }) => data));
  }

  /** One ByteStream.Write of these messages, the first of which names the resource. */
  async write(
    resourceName: string,
    pieces: readonly Piece[] | AsyncIterable<Piece>,
    options: Options = {},
  ): Promise<number> {
    const messages = Symbol.asyncIterator in pieces ? pieces : each(pieces);
    const stream = this.stream(rpcs.write.path, encodedPieces(resourceName, messages), options);
    const answers = await withRoom(Array.fromAsync(stream));
    const decodedAnswers = answers.map((bytes) => decoded(rpcs.write, bytes));
    return only(rpcs.write, decodedAnswers).committedSize;
  }

  /** The whole of `data` in one message. */
  writeWhole(resourceName: string, data: Uint8Array): Promise<number> {
    return this.write(resourceName, [{ data, finishWrite: true }]);
  }

  queryWrite(resourceName: string) {
    return this.one(rpcs.queryWriteStatus, { resourceName });
  }
}

/** Values that are at hand, as a stream. */
export async function* each<T>(values: Iterable<T>): AsyncGenerator<T> {
  yield* values;
}

/** Pieces of at most `pieceBytes`, as clients send them; the last says that it is. */
export function piecesOf(data: Uint8Array, pieceBytes: number): Piece[] {
  const count = Math.max(1, Math.ceil(data.length / pieceBytes));
  return Array.from({ length: count }, (_, i) => ({
    data: data.subarray(i * pieceBytes, (i + 1) * pieceBytes),
    writeOffset: i * pieceBytes,
    finishWrite: i === count - 1,
  }));
}

async function* encodedPieces(
  resourceName: string,
  pieces: AsyncIterable<Piece>,
): AsyncIterable<Uint8Array> {
  let isFirst = true;
  for await (const piece of pieces) {
    const message = { ...(isFirst && { resourceName }), ...piece };
    isFirst = false;
    yield WriteRequest.encode(WriteRequest.fromPartial(message)).finish();
  }
}

function only<S>({ path }: { readonly path: string }, answers: readonly S[]): S {
  if (answers.length === 1) return answers[0] as S;
  throw new Failure(`one answer from ${path}`, `${answers.length} answers`);
}

function decoded<S>(
  { path, response }: { path: string; response: { decode(bytes: Uint8Array): S } },
  bytes: Uint8Array,
): S {
  try {
    return response.decode(bytes);
  } catch (thrown) {
    throw new Failure(
      `an answer from ${path} that can be decoded`,
      StatusError.from(thrown).message,
    );
  }
}
