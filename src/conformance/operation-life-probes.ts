import { Code } from '../base/status.ts';
import { contentOf, execute, putScript, responseOf } from './actions.ts';
import { type Api, each } from './api.ts';
import { expectBytes, expectRefusal, expectSame, Failure } from './expect.ts';
import { offered } from './needs.ts';
import type { Probe } from './probe.ts';
import type { Blob } from './random-blobs.ts';
import { rpcs } from './rpcs.ts';

/** An operation apart from the call that started it: waited for, cancelled, deleted. */
export const operationLifeProbes: readonly Probe[] = [
  {
    ids: ['EXE-22', 'OPS-01'],
    title: 'a done operation is still there for who waits for it or gets it',
    run: async (api) => {
      const [operation] = await execute(api, await putScript(api, 'true'));
      const { name = '' } = operation ?? {};
      responseOf((await api.all(rpcs.waitExecution, { name })).at(-1));
      responseOf(await api.one(rpcs.getOperation, { name }));
    },
  },
  {
    ids: ['EXE-25'],
    title: 'ten streams watch one operation while it runs, and each hears of its end',
    run: async (api) => {
      const name = await startOperation(api, await putScript(api, 'sleep 2'));
      const waiting = Array.from({ length: 10 }, () => api.all(rpcs.waitExecution, { name }));
      for (const operations of await Promise.all(waiting)) responseOf(operations.at(-1));
    },
  },
  {
    ids: ['EXE-20', 'EXE-22'],
    title: 'an execution outlives its stream, and can be waited for',
    run: async (api) => {
      const action = await putScript(api, 'sleep 1; echo over');
      const name = await startOperation(api, action);
      const { status, result } = responseOf((await api.all(rpcs.waitExecution, { name })).at(-1));
      expectSame(status?.code ?? 0, Code.OK, 'the code of its status');
      expectBytes(await contentOf(api, result?.stdoutDigest), Buffer.from('over\n'), 'stdout');
    },
  },
  {
    ids: ['EXE-56', 'OPS-04'],
    title: 'a cancelled operation ends with CANCELLED in its response',
    run: async (api) => {
      const name = await startOperation(api, await putScript(api, 'sleep 30'));
      await api.one(rpcs.cancelOperation, { name });
      const { status } = responseOf((await api.all(rpcs.waitExecution, { name })).at(-1));
      expectSame(status?.code, Code.CANCELLED, 'the code of the status');
    },
  },
  {
    ids: ['OPS-05'],
    title: 'cancelling what is done changes nothing, and is no error',
    run: async (api) => {
      const [operation] = await execute(api, await putScript(api, 'true'));
      const { name = '' } = operation ?? {};
      await api.one(rpcs.cancelOperation, { name });
      const { status } = responseOf(await api.one(rpcs.getOperation, { name }));
      expectSame(status?.code ?? 0, Code.OK, 'the code of its status');
    },
  },
  {
    ids: ['OPS-07'],
    title: 'an operation that was deleted is NOT_FOUND',
    run: async (api) => {
      const [operation] = await execute(api, await putScript(api, 'true'));
      const { name = '' } = operation ?? {};
      await offered('DeleteOperation', api.one(rpcs.deleteOperation, { name }));
      await expectRefusal(api.one(rpcs.getOperation, { name }), Code.NOT_FOUND, 'GetOperation');
    },
  },
  {
    ids: ['OPS-08'],
    title: 'WaitOperation answers after its timeout, or at the end of the operation',
    run: async (api) => {
      const name = await startOperation(api, await putScript(api, 'sleep 30'));
      const timeout = { seconds: 1, nanos: 0 };
      const waiting = api.one(rpcs.waitOperation, { name, timeout });
      const early = await offered('WaitOperation', waiting);
      expectSame([early.name, early.done], [name, false], 'the operation that still runs');
      await api.one(rpcs.cancelOperation, { name });
      await api.all(rpcs.waitExecution, { name });
      responseOf(await api.one(rpcs.waitOperation, { name, timeout }));
    },
  },
];

/** Starts an execution, and leaves its stream once it has a name: that of the operation. */
async function startOperation(api: Api, { digest }: Blob): Promise<string> {
  const request = api.encoded(rpcs.execute, { actionDigest: digest.toMessage() });
  for await (const message of api.stream(rpcs.execute.path, each([request]))) {
    return rpcs.execute.response.decode(message).name;
  }
  throw new Failure('a first message with the name', 'an end without any');
}
