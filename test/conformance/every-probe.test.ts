import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { newId } from '../../src/base/id.ts';
import { Code } from '../../src/base/status.ts';
import { connectWire } from '../../src/cli/wire.ts';
import { areas } from '../../src/conformance/areas.ts';
import { runProbes } from '../../src/conformance/run-probes.ts';
import { testedOf } from '../../src/conformance/tested-of.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import { ServerCapabilities } from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { never } from '../support/never.ts';
import {
  answering,
  type Flaw,
  refusing,
  startWrongServer,
  takingTheBlame,
} from './wrong-server.ts';

/** Announces what is against every rule, and never the same twice. */
function lying(): Flaw {
  let answers = 0;
  return answering(
    'GetCapabilities',
    ServerCapabilities,
    ({ executionCapabilities: execution }) => {
      answers += 1;
      const priorities = { priorities: [{ minPriority: 2, maxPriority: 1 }] };
      return ServerCapabilities.fromPartial({
        lowApiVersion: { major: 3, patch: answers },
        highApiVersion: { major: 2, prerelease: 'beta' },
        cacheCapabilities: {
          digestFunctions: [0, 1, 7, 7],
          maxBatchTotalSizeBytes: 2 ** 30,
          supportedCompressors: [0],
          cachePriorityCapabilities: priorities,
          fastCdc2020Params: { avgChunkSizeBytes: 3000 },
          repMaxCdcParams: { minChunkSizeBytes: 1 },
        },
        executionCapabilities: {
          execEnabled: execution !== undefined,
          executionPriorityCapabilities: priorities,
        },
      });
    },
  );
}

/** The probes that fail at a server with a flaw, and those that do not apply there. */
async function titlesAt(t: TestContext, flaw: Flaw) {
  const address = await startWrongServer(t, flaw);
  using wire = connectWire(address, { clock: systemClock, newId });
  const options = { instanceName: '', digestFunction: sha256, mayExecute: false, platform: [] };
  const tested = await testedOf(wire.call, options, never);
  const run = { tested, wire: wire.call, seed: 1, clock: systemClock, timeoutMs: 60_000 };
  const titles = { failed: new Set<string>(), left: new Set<string>() };
  for await (const { probe, outcome } of runProbes(areas, run, never)) {
    if (outcome.kind === 'fail') titles.failed.add(probe.title);
    if (outcome.kind === 'not applicable') titles.left.add(probe.title);
  }
  return titles;
}

test('each probe fails at a server that does otherwise', async (t) => {
  const right = await titlesAt(t, (method) => method);
  assert.deepEqual([...right.failed], []);
  const wrong = [
    await titlesAt(t, refusing(Code.FAILED_PRECONDITION)),
    await titlesAt(t, refusing(Code.UNIMPLEMENTED)),
    await titlesAt(t, takingTheBlame),
    await titlesAt(t, lying()),
  ];
  // These fail at servers of wrong-servers.test.ts: one that is slow, and one with a method too many.
  const elsewhere = [
    'capabilities come within 1000 ms',
    'a method that is not offered is UNIMPLEMENTED',
  ];
  const all = areas.flatMap(({ probes }) => probes.map(({ title }) => title));
  const harmless = all.filter(
    (title) => !right.left.has(title) && !wrong.some(({ failed }) => failed.has(title)),
  );
  assert.deepEqual(harmless, elsewhere);
});
