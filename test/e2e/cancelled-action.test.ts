import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { Code } from '../../src/base/status.ts';
import {
  type Digest,
  ExecuteOperationMetadata,
  ExecutionStage_Value,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Operation } from '../../src/proto/google/longrunning/operations.ts';
import { ApiClient, responseOf } from '../support/api-client.ts';
import { becomes } from '../support/appears.ts';
import { executableSkip } from '../support/executable.ts';
import { Farm } from '../support/farm.ts';
import { holdingProxy } from '../support/holding-proxy.ts';
import { inReverse } from '../support/in-reverse.ts';
import { processesNaming } from '../support/processes.ts';

const phases = ['queued', 'fetching', 'running', 'uploading'] as const;
/** Time to be watched, on a busy machine, once it was accepted. */
const grace = '1500ms';
const ways = ['CancelOperation', 'a reset', 'its deadline'] as const;
type Way = (typeof ways)[number];

/** A client that waits for an action, and stops as it is told. */
interface Waiting {
  readonly name: string;
  readonly operations: AsyncGenerator<Operation>;
  readonly leave: () => Promise<void>;
}

async function start(client: ApiClient, actionDigest: Digest, way?: Way): Promise<Waiting> {
  const leaving = new AbortController();
  const { signal } = leaving;
  // On a busy machine the first answer may come too late.
  for (let deadlineMs = 500; ; deadlineMs *= 2) {
    const limit = way === 'its deadline' ? { deadlineMs } : {};
    const operations = client.execute({ actionDigest }, { signal, ...limit });
    try {
      const { name, done } = (await operations.next()).value as Operation;
      assert.equal(done, false, 'it waits');
      const leave = async () => {
        if (way === 'CancelOperation') await client.cancel(name);
        if (way === 'a reset') leaving.abort();
      };
      return { name, operations, leave };
    } catch (error) {
      if ((error as { code?: Code }).code !== Code.DEADLINE_EXCEEDED) throw error;
    }
  }
}

async function isCancelled(client: ApiClient, name: string): Promise<boolean> {
  const operation = await client.getOperation(name);
  if (!operation.done) return false;
  assert.equal(responseOf([operation]).status?.code, Code.CANCELLED);
  return true;
}

async function isExecuting(client: ApiClient, name: string): Promise<boolean> {
  const { metadata } = await client.getOperation(name);
  const { stage } = ExecuteOperationMetadata.decode(metadata?.value ?? new Uint8Array());
  return stage === ExecutionStage_Value.EXECUTING;
}

const isGone = (script: string) => processesNaming(script).length === 0;

const options = { skip: executableSkip(), timeout: 180_000, concurrency: true };

describe('clients stop waiting', options, () => {
  for (const phase of phases) {
    it(`SC-21: while actions are ${phase}: who stays gets the result, and what nobody wants is gone`, async (c) => {
      const t = inReverse(c);
      const farm = await Farm.create(t);
      const graces = `abandon_queued_after = "${grace}"\nabandon_running_after = "${grace}"`;
      await farm.startServer(undefined, `[execution]\n${graces}`);
      const store = await holdingProxy(t, farm.port);
      const toml = `server_url = "127.0.0.1:${farm.port}"\ncas_url = "127.0.0.1:${store.port}"`;
      const startWorker = () => farm.startWorker('one', { toml, slots: ways.length + 1 });
      if (phase !== 'queued') await startWorker();
      if (phase === 'fetching') store.hold('up', 'down');
      const seen = farm.folder('seen');
      const client = new ApiClient(t, `127.0.0.1:${farm.port}`);
      const scripts = [...ways, 'kept'].map(
        (_, n) => `touch ${seen}/${n}; until [ -e ${seen}/go ]; do sleep 0.05; done; echo ${n}`,
      );
      const letGo = () => writeFileSync(path.join(seen, 'go'), '');
      const actions = await Promise.all(
        scripts.map((script) =>
          client.putAction({
            command: {
              arguments: ['sh', '-c', script],
              platform: { properties: [{ name: 'pool', value: 'any' }] },
            },
          }),
        ),
      );
      const stayers = await Promise.all(actions.map((action) => start(client, action)));
      if (phase === 'fetching') {
        for (const { name } of stayers) await becomes(() => isExecuting(client, name), Boolean);
        await store.asked();
      }
      if (phase === 'running' || phase === 'uploading') {
        await becomes(
          () => readdirSync(seen).length,
          (count) => count === scripts.length,
        );
      }
      if (phase === 'uploading') {
        store.hold('up', 'down');
        letGo();
        await becomes(() => scripts.every(isGone), Boolean);
        await store.asked();
      }

      const leaveAll = async (names: readonly Waiting[]) => {
        for (const { leave } of names) await leave();
        for (const { name } of names) await becomes(() => isCancelled(client, name), Boolean);
      };
      const [kept] = stayers.splice(-1);
      const sharing = actions.at(-1);
      assert.ok(kept && sharing);
      await leaveAll(await Promise.all(ways.map((way) => start(client, sharing, way))));
      const last = await Promise.all(
        actions.slice(0, -1).map((action, n) => start(client, action, ways[n] ?? 'a reset')),
      );
      for (const { name } of stayers) await client.cancel(name);
      await leaveAll(last);
      await becomes(() => scripts.slice(0, -1).every(isGone), Boolean);
      assert.equal((await client.getOperation(kept.name)).done, false);

      store.release();
      letGo();
      if (phase === 'queued') await startWorker();
      const { result, status } = responseOf(await Array.fromAsync(kept.operations));
      assert.equal(result?.exitCode, 0, status?.message ?? '');
      await becomes(
        () => readdirSync(path.join(farm.root, 'one', 'actions')),
        (left) => left.length === 0,
      );
      const again = await Promise.all(scripts.map((_, n) => farm.run(`echo again ${n}`)));
      for (const [n, { stdout }] of again.entries()) assert.equal(stdout, `again ${n}\n`);
    });
  }
});
