import type { TestContext } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { newId } from '../../src/base/id.ts';
import { connectWire } from '../../src/cli/wire.ts';
import { rpcs } from '../../src/conformance/rpcs.ts';
import type { Call, Method } from '../../src/rpc/method.ts';
import { startServer } from '../support/start-server.ts';
import type { Flaw } from './wrong-server.ts';

const streams: readonly string[] = [
  rpcs.execute.path,
  rpcs.waitExecution.path,
  rpcs.getTree.path,
  rpcs.read.path,
];

/** A server that asks the one at `target` for each answer, with one flaw; its address. */
export async function startForwardingServer(
  t: TestContext,
  target: string,
  flaw: Flaw,
): Promise<string> {
  const wire = connectWire(target, { clock: systemClock, newId });
  t.after(() => wire[Symbol.dispose]());
  const methods = Object.values(rpcs)
    .filter(({ path }) => path !== rpcs.write.path)
    .map(({ path }): Method => {
      const ask = (bytes: Uint8Array, { signal }: Call) => wire.call(path, once(bytes), { signal });
      if (streams.includes(path)) return { kind: 'server-stream', path, handle: ask };
      const handle = async (bytes: Uint8Array, call: Call) => {
        const [answer = new Uint8Array()] = await Array.fromAsync(ask(bytes, call));
        return answer;
      };
      return { kind: 'unary', path, handle };
    });
  const { listener } = await startServer(t, [methods.map(flaw)]);
  return listener.address;
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}
