import type { TestContext } from 'node:test';
import { AssetTable } from '../../src/asset/asset-table.ts';
import { defaultOriginFetchesOptions, OriginFetches } from '../../src/asset/origin-fetches.ts';
import { type AssetAnswer, RemoteAssets } from '../../src/asset/remote-assets.ts';
import { Code, StatusError } from '../../src/base/status.ts';
import type { MessageFns } from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { type Instance, Instances } from '../../src/rpc/instances.ts';
import type { Call, Method } from '../../src/rpc/method.ts';
import { actionCache } from '../../src/rpc/services/action-cache.ts';
import { byteStream } from '../../src/rpc/services/byte-stream.ts';
import { capabilities } from '../../src/rpc/services/capabilities.ts';
import { contentAddressableStorage } from '../../src/rpc/services/content-addressable-storage.ts';
import { execution } from '../../src/rpc/services/execution.ts';
import { fetchService } from '../../src/rpc/services/fetch.ts';
import { health } from '../../src/rpc/services/health.ts';
import { logStream } from '../../src/rpc/services/log-stream.ts';
import { operations } from '../../src/rpc/services/operations.ts';
import { pushService } from '../../src/rpc/services/push.ts';
import { ExecutionRig } from '../execution/rig.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { inReverse } from '../support/in-reverse.ts';
import { memoryLogStreams } from '../support/memory-log-streams.ts';
import { never } from '../support/never.ts';
import { startServer } from '../support/start-server.ts';
import { testInstance } from '../support/test-instance.ts';

/** What is wrong with a server: its methods, changed. */
export type Flaw = (method: Method) => Method;

/** A real server with one flaw; its address. It executes nothing: no worker comes. */
export async function startWrongServer(
  context: TestContext,
  flaw: Flaw,
  more: readonly Method[] = [],
): Promise<string> {
  const t = inReverse(context);
  const rig = new ExecutionRig(context);
  const logs = await memoryLogStreams(t);
  const assetsOf = pushedAssets(t);
  const { blobs, actions, execution: port, scheduler } = rig;
  const instance = testInstance({ blobs, actions, execution: port, operations: scheduler });
  const instances = new Instances([instance]);
  const services: Method[] = [
    contentAddressableStorage(instances),
    byteStream(instances, logs),
    logStream(instances, logs),
    fetchService(instances, assetsOf, { defaultTimeoutMs: 1000, maxTimeoutMs: 1000 }),
    pushService(instances, assetsOf),
    actionCache(instances, new FakeClock()),
    execution(instances),
    operations(instances, new FakeClock()),
    health([], never),
  ].flat();
  services.unshift(...capabilities(instances, services));
  const { listener } = await startServer(t, [[...services.map(flaw), ...more]]);
  return listener.address;
}

/** Assets that are found once they are pushed; nothing is fetched. */
function pushedAssets(t: Pick<TestContext, 'after'>): (instance: Instance) => RemoteAssets {
  const clock = new FakeClock();
  const table = new AssetTable(':memory:', { maxSizeBytes: 2 ** 20 }, clock);
  t.after(() => table.close());
  const fetches = new OriginFetches<AssetAnswer>(clock, {
    ...defaultOriginFetchesOptions,
    atOnceMax: 1,
  });
  t.after(() => fetches.close());
  const shared = { table, fetches, origins: [], pushAllowed: true, secret: '', clock };
  return ({ name, blobs }) => new RemoteAssets(name, blobs, shared);
}

/** Changes the answers of one method, given by the end of its path. */
export function answering<S>(name: string, type: MessageFns<S>, change: (response: S) => S): Flaw {
  return wrapping(name, same, (bytes) => type.encode(change(type.decode(bytes))).finish());
}

/** Changes what one method is asked, before it is answered as ever. */
export function asked<Q>(name: string, type: MessageFns<Q>, change: (request: Q) => Q): Flaw {
  return wrapping(name, (bytes) => type.encode(change(type.decode(bytes))).finish(), same);
}

/** Ends each call of a method with `code`, or of every method but GetCapabilities. */
export function refusing(code: Code, name?: string): Flaw {
  const refuse = () => {
    throw new StatusError(code, 'refused by a flaw');
  };
  return (method) => {
    if (name === undefined ? method.path.endsWith('/GetCapabilities') : !isCalled(method, name)) {
      return method;
    }
    return wrapping(method.path.slice(1), refuse, refuse)(method);
  };
}

/** Turns every error of a real server into one of the server's own. */
export const takingTheBlame: Flaw = (method) => {
  if (method.kind === 'unary') {
    const handle = (bytes: Uint8Array, call: Call) => method.handle(bytes, call).catch(blamed);
    return { ...method, handle };
  }
  if (method.kind === 'client-stream') {
    const handle = (all: AsyncIterable<Uint8Array>, call: Call) =>
      method.handle(all, call).catch(blamed);
    return { ...method, handle };
  }
  if (method.kind === 'bidi') return method;
  const handle = async function* (bytes: Uint8Array, call: Call) {
    try {
      yield* method.handle(bytes, call);
    } catch {
      blamed();
    }
  };
  return { ...method, handle };
};

function blamed(): never {
  throw new StatusError(Code.INTERNAL, 'something is wrong');
}

const isCalled = ({ path }: Method, name: string) => path.endsWith(`/${name}`);

type Change = (bytes: Uint8Array) => Uint8Array;

const same: Change = (bytes) => bytes;

function wrapping(name: string, onRequest: Change, onResponse: Change): Flaw {
  return (method): Method => {
    if (!isCalled(method, name)) return method;
    if (method.kind === 'unary') {
      const handle = async (bytes: Uint8Array, call: Call) =>
        onResponse(await method.handle(onRequest(bytes), call));
      return { ...method, handle };
    }
    if (method.kind === 'client-stream') {
      const handle = async (all: AsyncIterable<Uint8Array>, call: Call) =>
        onResponse(await method.handle(changedEach(all, onRequest), call));
      return { ...method, handle };
    }
    if (method.kind === 'server-stream') {
      const handle = async function* (bytes: Uint8Array, call: Call) {
        yield* changedEach(method.handle(onRequest(bytes), call), onResponse);
      };
      return { ...method, handle };
    }
    return method;
  };
}

async function* changedEach(all: AsyncIterable<Uint8Array>, change: Change) {
  for await (const bytes of all) yield change(bytes);
}
