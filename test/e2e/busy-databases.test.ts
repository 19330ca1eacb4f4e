import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import type { Operation } from '../../src/proto/google/longrunning/operations.ts';
import { ApiClient, responseOf } from '../support/api-client.ts';
import { executableSkip, startRole } from '../support/executable.ts';
import { Farm, linesOf } from '../support/farm.ts';
import { inReverse } from '../support/in-reverse.ts';

test(
  'SC-29: while a backup reads the databases and others write to them, no operation and no result is lost',
  { skip: executableSkip(), timeout: 180_000 },
  async (c) => {
    const t = inReverse(c);
    const farm = await Farm.create(t);
    const server = await farm.startServer();
    await farm.startWorker('one', { slots: 4 });
    const seen = farm.folder('seen');
    // What keeps a second server out is no data.
    const databases = globSync('*/**/*.db', { cwd: farm.root })
      .filter((file) => path.basename(file) !== 'lock.db')
      .map((file) => path.join(farm.root, file));
    assert.ok(databases.some((file) => file.endsWith('scheduler/operations.db')));
    const program = [process.execPath, path.resolve('test/support/hold-databases.ts')];
    const holding = await startRole(
      t,
      [farm.folder('copies'), ...databases],
      /reading/,
      {},
      program,
    );

    const client = new ApiClient(t, `127.0.0.1:${farm.port}`);
    const execute = async (n: number) => {
      const script = `echo ${n} >> ${seen}/runs; echo out ${n}`;
      const platform = { properties: [{ name: 'pool', value: 'any' }] };
      const command = { arguments: ['sh', '-c', script], platform };
      const actionDigest = await client.putAction({ command });
      const operations = await Array.fromAsync(client.execute({ actionDigest }));
      const { result, status } = responseOf(operations);
      assert.equal(result?.exitCode, 0, status?.message ?? '');
      return { actionDigest, name: (operations.at(-1) as Operation).name };
    };
    const names = new Set<string>();
    const actions: Awaited<ReturnType<typeof execute>>[] = [];
    // Some before, some during, some after each transaction.
    for (let n = 0; !/wrote 2/.test(holding.output()) || n < 20; n += 4) {
      const wave = await Promise.all([0, 1, 2, 3].map((more) => execute(n + more)));
      for (const { name } of wave) names.add(name);
      actions.push(...wave);
    }
    assert.equal(names.size, actions.length);
    assert.doesNotMatch(server.output(), /SQLITE|cannot be recorded|locked/);

    await server.kill();
    await farm.startServer();
    for (const { name, actionDigest } of actions) {
      const operation = await client.getOperation(name);
      assert.equal(responseOf([operation]).result?.exitCode, 0, name);
      assert.equal((await client.getActionResult({ actionDigest })).exitCode, 0);
    }
    assert.equal(linesOf(path.join(seen, 'runs')).length, actions.length);
  },
);
