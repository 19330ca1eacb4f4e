import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { Code } from '../../src/base/status.ts';
import { becomes } from '../support/appears.ts';
import { Chance } from './chance.ts';
import { goodCalls, seedingRequests, Seeds } from './good-requests.ts';
import { framed, RawCalls, type RawRequest } from './raw-calls.ts';
import { RunningTarget } from './running-target.ts';
import type { TargetMethod } from './target.ts';

const HEAP_MIB = 256;
const CONNECTIONS = 8;
const CALLS_OF_EACH_METHOD = 8;
/** They are held for as long, unless they are refused. */
const HELD_MS = 10_000;
const LOOK_EVERY_MS = 1500;
/** The heap of a server without calls, and what it may take for those that are open. */
const HEAP_BYTES_MAX = HEAP_MIB * 2 ** 20;
/** Below the size that is refused for calls that stay open, and far above. */
const fillerBytes = [30_000, 60_000, 60_000, 200_000, 1_500_000];

/** Two bytes of each become an object, where they are taken: unknown fields, and empty messages. */
function filler(chance: Chance): Buffer {
  const unit = chance.oneIn(3) ? [0x78, 0] : [(chance.below(12) + 1) * 8 + 2, 0];
  return Buffer.alloc(chance.pick(fillerBytes), Buffer.from(unit));
}

function denseCall({ path: method }: TargetMethod, seeds: Seeds, chance: Chance): RawRequest {
  const [first = Buffer.of()] = goodCalls.get(method)?.(seeds, chance).messages ?? [];
  const isStream = /Write$|Connect$|Info$/.test(method);
  const message = Buffer.concat([first, filler(chance)]);
  const ending = isStream ? { ending: 'none' as const } : {};
  return { path: method, pieces: [framed(message)], patienceMs: HELD_MS, ...ending };
}

async function startTarget(t: TestContext): Promise<RunningTarget> {
  const folder = mkdtempSync(path.join(tmpdir(), 'expbuild-held-'));
  const target = await RunningTarget.start(folder, HEAP_MIB);
  t.after(async () => {
    await target.kill();
    rmSync(folder, { recursive: true });
  });
  return target;
}

async function checkHealth(calls: RawCalls): Promise<void> {
  const { code } = await calls.call({
    path: '/grpc.health.v1.Health/Check',
    pieces: [framed(Buffer.of())],
    patienceMs: 60_000,
  });
  assert.equal(code, Code.OK);
}

test('HI-31: a server with a small heap outlives calls of all methods that are dense and stay open', async (t) => {
  const seed = Number(process.env['EXPBUILD_SEED'] ?? process.hrtime.bigint() % 1_000_000n);
  t.diagnostic(`seed ${seed}`);
  const chance = new Chance(seed);
  const target = await startTarget(t);
  const { address, methods } = await target.report('now');
  const seeds = new Seeds();
  const connections = await Promise.all(
    Array.from({ length: CONNECTIONS }, () => RawCalls.open(address)),
  );
  const [connection] = connections;
  assert.ok(connection);
  for (const [method, bytes] of seedingRequests(seeds)) {
    await connection.call({ path: method, pieces: [framed(bytes)], patienceMs: HELD_MS });
  }
  const all = methods.flatMap((method) =>
    Array.from({ length: CALLS_OF_EACH_METHOD }, () => denseCall(method, seeds, chance)),
  );
  const held = Promise.all(chance.shuffled(all).map((call) => chance.pick(connections).call(call)));
  const isOver = held.then(() => true);
  const heapBytes: number[] = [];
  do heapBytes.push((await target.report('now')).heapBytes);
  while (!(await Promise.race([isOver, wait(LOOK_EVERY_MS, false)])));
  const seen = new Set((await held).map(({ code }) => code));
  t.diagnostic(
    `${all.length} calls, codes ${[...seen].join(' ')}, ${Math.max(...heapBytes)} bytes`,
  );
  assert.ok(Math.max(...heapBytes) < HEAP_BYTES_MAX, heapBytes.join(' '));
  assert.ok(seen.has(Code.INVALID_ARGUMENT));
  await checkHealth(connection);
  for (const each of connections) each.close();
});

/** Of what is sent to be held: twice what the server has. */
const INCOMPLETE_CALLS = 128;
const INCOMPLETE_BYTES = 4 * 2 ** 20;

test('a server with a small heap outlives calls whose messages stop before their last byte', async (t) => {
  const target = await startTarget(t);
  const { address, heapBytes: restingBytes } = await target.report('now');
  const attackers = await Promise.all(Array.from({ length: 4 }, () => RawCalls.open(address)));
  const other = await RawCalls.open(address);
  let ended = 0;
  const cut = framed(Buffer.alloc(INCOMPLETE_BYTES)).subarray(0, -1);
  const calls = Array.from({ length: INCOMPLETE_CALLS }, async (_, index) => {
    await attackers[index % attackers.length]?.call({
      path: '/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs',
      pieces: [cut],
      ending: 'none',
      patienceMs: 300_000,
    });
    ended += 1;
  });
  let mostBytes = 0;
  // What the limit leaves: the calls that were heard last.
  const leftMax = (64 * 2 ** 20) / INCOMPLETE_BYTES;
  await becomes(
    async () => {
      await checkHealth(other);
      mostBytes = Math.max(mostBytes, (await target.report('now')).heapBytes);
    },
    () => ended >= INCOMPLETE_CALLS - leftMax,
  );
  t.diagnostic(`${mostBytes} bytes`);
  assert.ok(mostBytes < HEAP_BYTES_MAX, `${mostBytes} bytes`);
  for (const each of attackers) each.close();
  await Promise.all(calls);
  await becomes(
    async () => (await target.report('now')).heapBytes,
    (bytes) => bytes < restingBytes + 16 * 2 ** 20,
  );
  await checkHealth(other);
  other.close();
});
