import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { newId } from '../../src/base/id.ts';
import { connectRemote } from '../../src/cli/remote.ts';
import { Digest } from '../../src/digest/digest.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import type { OperationState } from '../../src/scheduler/operations.ts';
import { ApiClient } from '../support/api-client.ts';
import { executableSkip } from '../support/executable.ts';
import { Farm, linesOf } from '../support/farm.ts';
import { inReverse } from '../support/in-reverse.ts';
import { never } from '../support/never.ts';

const clients = 500;
const actions = 50;

test(
  'SC-22: five hundred clients lose their server at once: each is back soon, not all in one moment, and nothing runs twice',
  { skip: executableSkip(), timeout: 240_000 },
  async (c) => {
    const t = inReverse(c);
    const farm = await Farm.create(t);
    const config = '[execution]\nworker_grace = "10m"\nabandon_queued_after = "10m"';
    const server = await farm.startServer(undefined, config);
    const seen = farm.folder('seen');
    const api = new ApiClient(t, `127.0.0.1:${farm.port}`);
    const digests = await Promise.all(
      Array.from({ length: actions }, (_, n) =>
        api.putAction({
          command: {
            arguments: ['sh', '-c', `echo ${n} >> ${seen}/runs`],
            platform: { properties: [{ name: 'pool', value: 'any' }] },
          },
        }),
      ),
    );
    let backAt: number[] = [];
    const all = await Promise.all(
      Array.from({ length: clients }, async (_, n) => {
        const address = { host: '127.0.0.1', port: farm.port };
        const remote = await connectRemote(
          { address, instanceName: 'main', compression: 'off', chunking: 'off' },
          { clock: systemClock, newId },
          never,
        );
        t.after(() => remote[Symbol.dispose]());
        const action = Digest.fromMessage(sha256, digests[n % actions], 'action');
        const hints = { inlineStdout: false, inlineStderr: false, inlineOutputFiles: [] };
        const request = { instanceName: 'main', action, skipCacheLookup: false, priority: 0 };
        const options = { ...request, ...hints, requestMetadata: undefined };
        return remote.execution.execute(options, never)[Symbol.asyncIterator]();
      }),
    );
    const next = async (states: AsyncIterator<OperationState>) => {
      const { value } = await states.next();
      backAt.push(performance.now());
      return value as OperationState;
    };
    const first = await Promise.all(all.map(next));
    backAt = [];
    const second = all.map(next);
    await server.kill();
    const killedAt = performance.now();
    await farm.startServer(undefined, config);
    for (const [n, { name }] of (await Promise.all(second)).entries()) {
      assert.equal(name, first[n]?.name, 'it waits for the same operation');
    }
    backAt.sort((a, b) => a - b);
    const p99Ms = (backAt[Math.floor(clients * 0.99)] ?? Infinity) - killedAt;
    const spreadMs = (backAt.at(-1) ?? 0) - (backAt[0] ?? 0);
    c.diagnostic(`p99 ${p99Ms.toFixed(0)} ms, within ${spreadMs.toFixed(0)} ms of each other`);
    assert.ok(p99Ms < 60_000, `${p99Ms} ms`);
    assert.ok(spreadMs > 200, `all within ${spreadMs} ms`);

    await farm.startWorker('one', { slots: 4 });
    const ends = all.map(async (states) => {
      for (;;) {
        const { response } = await next(states);
        if (response) return response;
      }
    });
    for (const { result, status } of await Promise.all(ends)) {
      assert.equal(result?.exitCode, 0, status?.message ?? '');
    }
    const runs = linesOf(path.join(seen, 'runs'));
    assert.equal(runs.length, actions);
    assert.equal(new Set(runs).size, actions);
  },
);
