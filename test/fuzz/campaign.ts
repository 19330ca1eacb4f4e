import { Code } from '../../src/base/status.ts';
import {
  BatchReadBlobsRequest,
  BatchReadBlobsResponse,
  BatchUpdateBlobsResponse,
  FindMissingBlobsRequest,
  FindMissingBlobsResponse,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Blob } from '../support/blob-of.ts';
import { Chance } from './chance.ts';
import { type FuzzedCall, FuzzedCalls, PATIENCE_MS } from './fuzzed-calls.ts';
import { seedingRequests, Seeds } from './good-requests.ts';
import { framed, type RawAnswer, RawCalls, type RawRequest } from './raw-calls.ts';
import type { RunningTarget } from './running-target.ts';
import type { TargetMethod } from './target.ts';

/** What a client that sends nonsense may be told; what is missing here says that the server is at fault. */
const contract: ReadonlySet<number> = new Set([
  Code.OK,
  Code.CANCELLED,
  Code.INVALID_ARGUMENT,
  Code.NOT_FOUND,
  Code.ALREADY_EXISTS,
  Code.PERMISSION_DENIED,
  Code.RESOURCE_EXHAUSTED,
  Code.FAILED_PRECONDITION,
  Code.ABORTED,
  Code.OUT_OF_RANGE,
  Code.UNIMPLEMENTED,
]);

/** The client went away before it was told: what it sent may be stored. */
const interrupted: ReadonlySet<number> = new Set([Code.CANCELLED, Code.DEADLINE_EXCEEDED]);

const CALLS_AT_ONCE = 16;

const cas = '/build.bazel.remote.execution.v2.ContentAddressableStorage';

/** Calls of all methods of a running server, wrong in ways that a seed decides, and what they did. */
export class Campaign {
  /** What should not have happened. */
  readonly findings: string[] = [];
  /** Answers by method and code. */
  readonly seen = new Map<string, number>();
  calls = 0;
  readonly #target: RunningTarget;
  readonly #methods: readonly TargetMethod[];
  readonly #address: string;
  readonly #seeds = new Seeds();
  readonly #chance: Chance;
  readonly #calls: FuzzedCalls;
  /** Hashes that some call has brought the right content for. */
  readonly #offered = new Set(this.#seeds.all.map(({ digest }) => digest.hash));
  #connection: RawCalls | undefined;

  constructor(
    seed: number,
    target: RunningTarget,
    { methods, address }: { readonly methods: readonly TargetMethod[]; readonly address: string },
  ) {
    this.#chance = new Chance(seed);
    this.#target = target;
    this.#methods = methods;
    this.#address = address;
    this.#calls = new FuzzedCalls(this.#seeds, this.#chance);
  }

  /** Stores what the requests name, and looks whether good requests of every method are answered. */
  async begin(): Promise<void> {
    for (const [path, bytes] of seedingRequests(this.#seeds)) await this.#send(path, bytes);
    for (const method of this.#methods) {
      const call = this.#calls.plain(method);
      const answer = await (await this.#connected()).call(call.request);
      this.#check(call, answer);
      this.#calls.learn(method, call.good.messages, answer.responses);
    }
  }

  /** One call of each method and more, some at a time, and a look at what is stored. */
  async round(): Promise<void> {
    const calls = this.#chance
      .shuffled([...this.#methods, ...this.#methods, ...this.#methods])
      .map((method) => this.#calls.fuzzed(method, this.#chance.pick(this.#methods)));
    for (let at = 0; at < calls.length; at += CALLS_AT_ONCE) {
      const some = calls.slice(at, at + CALLS_AT_ONCE);
      const connection = await this.#connected();
      const answers = await Promise.all(some.map(({ request }) => connection.call(request)));
      for (const [index, answer] of answers.entries()) {
        const call = some[index] as FuzzedCall;
        this.#check(call, answer);
        if (answer.code === Code.OK) this.#calls.learn(call.method, [], answer.responses);
      }
      await this.#checkRefused(some, answers);
      if (this.#target.death !== undefined) throw new Error(this.#target.death);
    }
    await this.#checkSeeds();
  }

  close(): void {
    this.#connection?.close();
  }

  #check({ method, good, request, isPlain }: FuzzedCall, answer: RawAnswer): void {
    this.calls++;
    const { code, message, cancelled, late } = answer;
    const short = `${method.path.split('.').at(-1)} ${code ?? (cancelled ? 'cancelled' : 'none')}`;
    this.seen.set(short, (this.seen.get(short) ?? 0) + 1);
    const find = (what: string) => this.#find(what, method.path, request);
    if (late && !method.lasting && !good.lasting && !isOfLogs(request))
      find(`no answer after ${request.patienceMs} ms`);
    if (cancelled || (code !== undefined && contract.has(code))) return;
    // It ends a connection on which too many calls were cancelled in a short time (CVE-2023-44487).
    if (code === undefined && this.#connection?.broken !== undefined) return;
    const isOwnDeadline = request.headers?.['grpc-timeout'] !== undefined;
    if (code === Code.DEADLINE_EXCEEDED && isOwnDeadline) return;
    // What grpc-js refuses before there is a call: a malformed grpc-timeout, what cannot be unpacked.
    if (code === Code.INTERNAL && !isPlain && !message.includes('(request')) return;
    find(`answered ${code ?? 'without a status'}: ${message}`);
  }

  /** What was refused must be missing, in every instance. */
  async #checkRefused(calls: readonly FuzzedCall[], answers: readonly RawAnswer[]): Promise<void> {
    const refused: { readonly call: FuzzedCall; readonly uploads: Blob }[] = [];
    // It may have been sent whole, in place of the call's own.
    for (const { other } of calls) {
      if (other?.uploads) this.#offered.add(other.uploads.digest.hash);
    }
    const hashes = calls.map(({ good }) => good.uploads?.digest.hash);
    for (const [index, call] of calls.entries()) {
      const { code, responses } = answers[index] as RawAnswer;
      const { uploads } = call.good;
      // Its chunks are known to all: a call that was cancelled may have put the same ones together.
      if (call.method.path.endsWith('/SpliceBlob')) continue;
      if (!uploads || this.#offered.has(uploads.digest.hash)) continue;
      this.#offered.add(uploads.digest.hash);
      // Another call may just have stored it.
      if (hashes.indexOf(uploads.digest.hash) !== hashes.lastIndexOf(uploads.digest.hash)) continue;
      if (code === undefined || interrupted.has(code)) continue;
      if (code !== Code.OK || statusOf(call.method, responses, uploads) !== Code.OK) {
        refused.push({ call, uploads });
      }
    }
    if (refused.length === 0) return;
    for (const instanceName of ['', 'main']) {
      const blobDigests = refused.map(({ uploads }) => uploads.digest.toMessage());
      const request = FindMissingBlobsRequest.fromPartial({ instanceName, blobDigests });
      const bytes = FindMissingBlobsRequest.encode(request).finish();
      const answer = await this.#send(`${cas}/FindMissingBlobs`, Buffer.from(bytes));
      const missing = FindMissingBlobsResponse.decode(answer).missingBlobDigests;
      const absent = new Set(missing.map(({ hash }) => hash));
      for (const { call, uploads } of refused) {
        if (absent.has(uploads.digest.hash)) continue;
        this.#find(`${uploads.digest} was refused and is stored`, call.method.path, call.request);
      }
    }
  }

  async #checkSeeds(): Promise<void> {
    const { digests, all } = this.#seeds;
    const request = BatchReadBlobsRequest.fromPartial({ instanceName: 'main', digests });
    const bytes = BatchReadBlobsRequest.encode(request).finish();
    const answer = await this.#send(`${cas}/BatchReadBlobs`, Buffer.from(bytes));
    const { responses } = BatchReadBlobsResponse.decode(answer);
    for (const [index, { data }] of responses.entries()) {
      const blob = all[index] as Blob;
      if (!Buffer.from(blob.bytes).equals(data)) this.findings.push(`${blob.digest} is damaged`);
    }
  }

  /** A good call that must succeed; the bytes of its response. */
  async #send(path: string, bytes: Buffer): Promise<Buffer> {
    const request = { path, pieces: [framed(bytes)], patienceMs: PATIENCE_MS };
    const connection = await this.#connected();
    const { code, message, responses } = await connection.call(request);
    if (connection.broken !== undefined) return this.#send(path, bytes);
    if (code !== Code.OK) throw new Error(`${path} failed with ${code}: ${message}`);
    return responses[0] ?? Buffer.of();
  }

  /** A server may close a connection that breaks HTTP/2; there must be another at once. */
  async #connected(): Promise<RawCalls> {
    if (this.#connection?.broken !== undefined) this.#connection = undefined;
    this.#connection ??= await RawCalls.open(this.#address);
    return this.#connection;
  }

  #find(what: string, path: string, { pieces, headers }: RawRequest): void {
    const shown = pieces.map((piece) => piece.toString('hex').slice(0, 2000)).join(' ');
    this.findings.push(`${path}: ${what}\n  headers ${JSON.stringify(headers)}\n  sent ${shown}`);
  }
}

/** Chance may have made it a read of a log stream, which is open for as long as that is written. */
function isOfLogs({ pieces }: RawRequest): boolean {
  return pieces.some((piece) => piece.includes('logstreams'));
}

/** A batch says of each blob how it went. */
function statusOf({ path }: TargetMethod, responses: readonly Buffer[], { digest }: Blob): number {
  if (!path.endsWith('/BatchUpdateBlobs')) return Code.OK;
  const answer = BatchUpdateBlobsResponse.decode(responses[0] ?? Buffer.of());
  const own = answer.responses.filter((response) => response.digest?.hash === digest.hash);
  const isStored = own.some(({ status }) => (status?.code ?? Code.OK) === Code.OK);
  return isStored ? Code.OK : Code.INVALID_ARGUMENT;
}
