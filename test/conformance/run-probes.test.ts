import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code, StatusError } from '../../src/base/status.ts';
import { expectRefusal, NotApplicable } from '../../src/conformance/expect.ts';
import type { Area, Probe, Tested } from '../../src/conformance/probe.ts';
import { runProbes } from '../../src/conformance/run-probes.ts';
import type { Wire } from '../../src/conformance/wire.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import {
  CacheCapabilities,
  ServerCapabilities,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { never } from '../support/never.ts';

const tested: Tested = {
  instanceName: '',
  capabilities: ServerCapabilities.create(),
  cache: CacheCapabilities.create(),
  execution: undefined,
  digestFunction: sha256,
  digestFunctions: [sha256],
  compressors: [],
  batchCompressors: [],
  batchBytesMax: 1000,
  mayExecute: false,
  platform: [],
};

const call: Probe['run'] = async (api) => {
  await api.raw('/t.T/Call', new Uint8Array());
};

/** What probes of one area come to at a server, which answers all other calls with nothing set. */
async function outcomesOf(
  answer: (clock: FakeClock, signal: AbortSignal) => AsyncIterable<Uint8Array>,
  runs: readonly Probe['run'][],
  { timeoutMs = 600_000, ...area }: Partial<Area> & { readonly timeoutMs?: number } = {},
) {
  const clock = new FakeClock();
  const wire: Wire = async function* (path, requests, { signal }) {
    for await (const request of requests) assert.ok(request);
    if (path === '/t.T/Call') yield* answer(clock, signal);
    else yield new Uint8Array();
  };
  const probes = runs.map((run, n) => ({ ids: ['CAS-01'], title: `probe ${n}`, run }));
  const areas = [{ name: 'area', needs: [], ...area, probes }];
  const run = { tested, wire, seed: 1, clock, timeoutMs };
  const findings = await Array.fromAsync(runProbes(areas, run, never));
  return findings.map(({ outcome }) => outcome);
}

/** Messages that come each so much later than the last; none comes once nobody waits. */
async function* after(clock: FakeClock, signal: AbortSignal, ...waitsMs: readonly number[]) {
  for (const ms of waitsMs) {
    clock.advance(ms);
    await new Promise(setImmediate);
    signal.throwIfAborted();
    yield new Uint8Array();
  }
}

/** Fails the first calls. */
function failing(times: number, code: Code) {
  let left = times;
  return async function* fail(): AsyncIterable<Uint8Array> {
    if (left-- > 0) throw new StatusError(code, 'not now');
    yield new Uint8Array();
  };
}

test('a server that is slow, but goes on, breaks no rule; one that says nothing for 20 s does', async () => {
  const slow = await outcomesOf((...now) => after(...now, 15_000, 15_000, 15_000), [call]);
  assert.deepEqual(slow, [{ kind: 'pass' }]);
  const silent = await outcomesOf((...now) => after(...now, 15_000, 20_001), [call]);
  assert.deepEqual(silent, [{ kind: 'fail', expected: 'an answer', seen: 'none within 20 s' }]);
  const dripping = Array.from({ length: 20 }, () => 15_000);
  const endless = await outcomesOf((...now) => after(...now, ...dripping), [call]);
  assert.deepEqual(endless, [{ kind: 'fail', expected: 'an answer', seen: 'none within 120 s' }]);
});

test('a probe that the end of the run cuts short says nothing of the server', async () => {
  const timeoutMs = 20_000;
  const cut = await outcomesOf((...now) => after(...now, 15_000, 6_000), [call, call], {
    timeoutMs,
  });
  assert.deepEqual(cut, [{ kind: 'not run' }, { kind: 'not run' }]);
});

test('a probe runs once more when the server was unavailable for a moment', async () => {
  const refused: Probe['run'] = async (api) => {
    await expectRefusal(call(api), Code.INVALID_ARGUMENT, 'nonsense');
  };
  const [once] = await outcomesOf(failing(1, Code.UNAVAILABLE), [call]);
  assert.equal(once?.kind, 'pass');
  const [twice] = await outcomesOf(failing(2, Code.UNAVAILABLE), [call]);
  assert.equal(twice?.kind, 'fail');
  const [other] = await outcomesOf(failing(1, Code.INTERNAL), [call]);
  assert.equal(other?.kind, 'fail');
  const [wrongly] = await outcomesOf(failing(2, Code.UNAVAILABLE), [refused]);
  assert.deepEqual(wrongly, {
    kind: 'fail',
    expected: 'INVALID_ARGUMENT for nonsense',
    seen: 'UNAVAILABLE: not now',
  });
});

test('what an area needs is asked once, and when it is not there, no probe of it applies', async () => {
  let asked = 0;
  const prepare = async () => {
    asked += 1;
    throw new NotApplicable('no worker');
  };
  const outcomes = await outcomesOf((...now) => after(...now, 1), [call, call], { prepare });
  const left = { kind: 'not applicable', why: 'no worker' };
  assert.deepEqual(outcomes, [left, left]);
  assert.equal(asked, 1);
});

test('a connection that breaks for some seconds ends no run', async () => {
  const clock = new FakeClock();
  let left = 4;
  const wire: Wire = async function* (_path, requests) {
    for await (const request of requests) assert.ok(request);
    if (left-- > 0) throw new StatusError(Code.UNAVAILABLE, 'gone');
    yield new Uint8Array();
  };
  const probes = [{ ids: ['CAS-01'], title: 'probe', run: call }];
  const run = { tested, wire, seed: 1, clock, timeoutMs: 600_000 };
  const running = Array.fromAsync(runProbes([{ name: 'area', needs: [], probes }], run, never));
  for (let n = 0; n < 5; n++) {
    await new Promise(setImmediate);
    clock.advance(1000);
  }
  assert.equal((await running)[0]?.outcome.kind, 'fail');
});
