import { LogStream } from '../../src/proto/build/bazel/remote/logstream/v1/remote_logstream.ts';
import type { Chance } from './chance.ts';
import { createLogStreamPath, type GoodCall, goodCalls, type Seeds } from './good-requests.ts';
import { Mutations } from './mutations.ts';
import { readProtoSchema } from './proto-schema.ts';
import { framed, type RawRequest } from './raw-calls.ts';
import type { TargetMethod } from './target.ts';

/** A call that nothing holds up takes milliseconds; the rest is for a machine that is busy. */
export const PATIENCE_MS = 15_000;
/** For a call that is to last: then it is cancelled. */
const LASTING_MS = 50;
/** Few, so that some are written more than once. */
const LOGS_MAX = 8;
export interface FuzzedCall {
  readonly method: TargetMethod;
  readonly request: RawRequest;
  readonly good: GoodCall;
  /** The call that parts of it may be from. */
  readonly other?: GoodCall;
  /** Whether its messages, and nothing else, may be wrong. */
  readonly isPlain: boolean;
}

/** Makes calls of any method that are wrong in ways that chance decides. */
export class FuzzedCalls {
  readonly #seeds: Seeds;
  readonly #schema = readProtoSchema();
  readonly #chance: Chance;
  readonly #mutations: Mutations;

  constructor(seeds: Seeds, chance: Chance) {
    this.#seeds = seeds;
    this.#chance = chance;
    this.#mutations = new Mutations(chance, this.#schema);
  }

  /** Remembers what was sent or answered: its values may stand in later calls. */
  learn({ path }: TargetMethod, requests: readonly Buffer[], responses: readonly Buffer[]): void {
    const requestType = this.#schema.requestTypes.get(path) ?? '';
    const responseType = this.#schema.responseTypes.get(path) ?? '';
    for (const request of requests) this.#mutations.learn(request, requestType);
    if (path === createLogStreamPath) this.#rememberLog(responses);
    for (const response of responses.slice(0, 3)) this.#mutations.learn(response, responseType);
  }

  #rememberLog(responses: readonly Buffer[]): void {
    const { logs } = this.#seeds;
    logs.push(...responses.map((response) => LogStream.decode(response)));
    logs.splice(0, logs.length - LOGS_MAX);
  }

  /** A call of it that is as it should be, if anything is known of the method beyond its schema. */
  plain(method: TargetMethod): FuzzedCall {
    const good = this.#good(method);
    const pieces = good.messages.map((message) => framed(message));
    const request = { path: method.path, pieces, patienceMs: patienceMsOf(method, good) };
    return { method, request, good, isPlain: true };
  }

  /** A call of it that is wrong somewhere, perhaps with a part of what another method takes. */
  fuzzed(method: TargetMethod, otherMethod: TargetMethod): FuzzedCall {
    const chance = this.#chance;
    const { path } = method;
    const type = this.#schema.requestTypes.get(path) ?? '';
    const good = this.#good(method);
    let messages = [...good.messages];
    const otherGood = this.#good(otherMethod);
    const other = otherGood.messages[0] ?? Buffer.of();
    const at = chance.below(messages.length);
    const change = (mutate: (message: Buffer) => Buffer) => {
      messages = messages.with(at, mutate(messages[at] ?? Buffer.of()));
    };
    switch (chance.below(8)) {
      case 0:
        change((message) => this.#mutations.inBytes(message, other));
        break;
      case 1:
        change(() => this.#mutations.invented(type));
        break;
      case 2:
        messages = this.#reordered(messages);
        break;
      case 3:
        change(() => chance.pick([Buffer.of(), other, chance.bytes(20)]));
        break;
      default:
        change((message) => this.#mutations.inFields(message, type));
    }
    const isFramedWell = !chance.oneIn(6);
    const pieces = isFramedWell
      ? messages.map((message) => framed(message))
      : this.#badFrames(messages);
    const headers = this.#headers();
    const request: RawRequest = {
      path,
      pieces: pieces.slice(0, chance.oneIn(10) ? chance.below(pieces.length + 1) : undefined),
      headers,
      ending: this.#ending(method),
      patienceMs: patienceMsOf(method, good),
    };
    const isPlain = isFramedWell && Object.keys(headers).length === 0;
    return { method, request, good, other: otherGood, isPlain };
  }

  #good({ path }: TargetMethod): GoodCall {
    const build = goodCalls.get(path);
    if (build) return build(this.#seeds, this.#chance);
    return { messages: [this.#mutations.invented(this.#schema.requestTypes.get(path) ?? '')] };
  }

  #ending({ lasting }: TargetMethod): 'half-close' | 'cancel' | 'none' {
    if (this.#chance.oneIn(12)) return 'cancel';
    return lasting && this.#chance.oneIn(2) ? 'none' : 'half-close';
  }

  #reordered(messages: readonly Buffer[]): Buffer[] {
    const chance = this.#chance;
    const again = chance.pick([[], [], messages, messages.toReversed()]);
    return chance.shuffled([...messages, ...again]).slice(chance.below(2));
  }

  /** Frames that lie about their length or their compression, or are cut anywhere. */
  #badFrames(messages: readonly Buffer[]): Buffer[] {
    const chance = this.#chance;
    const at = chance.below(messages.length);
    const frames = messages.map((message, index) => {
      if (index !== at) return framed(message);
      if (chance.oneIn(2)) return framed(message, message.length, chance.pick([1, 2, 255]));
      const { length } = message;
      return framed(message, chance.pick([length + 1, Math.max(0, length - 1), 0, 2 ** 32 - 1]));
    });
    const all = Buffer.concat(frames);
    if (chance.oneIn(3)) return [all.subarray(0, chance.below(all.length + 1))];
    if (chance.oneIn(3)) return [this.#mutations.inBytes(all, chance.bytes(9))];
    const cut = chance.below(all.length + 1);
    return [all.subarray(0, cut), all.subarray(cut)];
  }

  #headers(): Record<string, string> {
    const chance = this.#chance;
    if (!chance.oneIn(6)) return {};
    const metadata = this.#mutations.invented('build.bazel.remote.execution.v2.RequestMetadata');
    const name = 'build.bazel.remote.execution.v2.requestmetadata-bin';
    return chance.pick<Record<string, string>>([
      { [name]: metadata.subarray(0, 3000).toString('base64') },
      { [name]: '%%%' },
      { 'grpc-timeout': chance.pick(['1n', '0S', '99999999H', 'x', '-1S', '5']) },
      { 'grpc-encoding': chance.pick(['gzip', 'identity', 'snappy', '']) },
      { 'content-type': chance.pick(['application/grpc+proto', 'application/grpc+json']) },
    ]);
  }
}

function patienceMsOf(method: TargetMethod, good: GoodCall): number {
  return method.lasting || good.lasting ? LASTING_MS : PATIENCE_MS;
}
