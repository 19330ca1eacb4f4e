import { Code, StatusError } from '../base/status.ts';
import { expectRefusal, expectThat, textOf } from './expect.ts';
import { aCache } from './needs.ts';
import type { Area, Probe } from './probe.ts';
import { type Rpc, rpcs } from './rpcs.ts';

/** Codes that say that the server is at fault, and make clients try again (ERR-02). */
const faults: readonly Code[] = [Code.UNKNOWN, Code.INTERNAL, Code.DATA_LOSS];

const NONSENSE_MESSAGES = 30;

/** Methods that nonsense cannot harm: whatever it says, it has no digest that fits any bytes. */
const methods: Readonly<Record<string, Rpc<never, unknown>>> = {
  FindMissingBlobs: rpcs.findMissing as Rpc<never, unknown>,
  BatchUpdateBlobs: rpcs.batchUpdate as Rpc<never, unknown>,
  BatchReadBlobs: rpcs.batchRead as Rpc<never, unknown>,
  GetTree: rpcs.getTree as Rpc<never, unknown>,
  Read: rpcs.read as Rpc<never, unknown>,
  Write: rpcs.write as Rpc<never, unknown>,
  QueryWriteStatus: rpcs.queryWriteStatus as Rpc<never, unknown>,
  GetActionResult: rpcs.getActionResult as Rpc<never, unknown>,
  GetCapabilities: rpcs.getCapabilities as Rpc<never, unknown>,
};

const nonsenseProbes: readonly Probe[] = Object.entries(methods).map(([name, { path }]) => ({
  ids: ['ERR-02'],
  title: `${name} answers nonsense with an error that tells the client not to try again`,
  run: async (api) => {
    for (let i = 0; i < NONSENSE_MESSAGES; i++) {
      const message = api.random.bytes(1 + ((i * 7) % 60));
      const failure = await api.raw(path, message).then(
        () => undefined,
        (thrown: unknown) => StatusError.from(thrown),
      );
      const isFault = failure !== undefined && faults.includes(failure.code);
      const seen = failure && `${textOf(failure)} for the bytes ${message.toString('hex')}`;
      expectThat(!isFault, 'INVALID_ARGUMENT, or an answer', seen);
    }
  },
}));

export const errorsProbes: Area = {
  name: 'errors',
  needs: [aCache],
  probes: [
    ...nonsenseProbes,
    {
      ids: ['ERR-05'],
      title: 'the text of a digest mismatch names the digest',
      run: async (api) => {
        const { digest } = api.blob();
        const call = api.writeWhole(api.writeName(digest), api.random.bytes(1000));
        const { message } = await expectRefusal(call, Code.INVALID_ARGUMENT, 'other bytes');
        expectThat(message.includes(digest.hash), `the hash ${digest.hash} in the text`, message);
        expectThat(!/\n\s+at /.test(message), 'no stack trace in the text', message);
      },
    },
  ],
};
