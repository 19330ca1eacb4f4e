import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import type { Operation } from '../../src/proto/google/longrunning/operations.ts';
import { ApiClient } from '../support/api-client.ts';
import { becomes, holdsLine } from '../support/appears.ts';
import { executableSkip } from '../support/executable.ts';
import { Farm, linesOf } from '../support/farm.ts';
import { inReverse } from '../support/in-reverse.ts';
import { processesNaming } from '../support/processes.ts';

/** Long enough for a busy machine to take one more Execute in. */
const graceMs = 3_000;

test(
  'SC-13: a thousand Executes of one action run it once, until a while after the last client has left',
  { skip: executableSkip(), timeout: 180_000 },
  async (c) => {
    const t = inReverse(c);
    const farm = await Farm.create(t);
    await farm.startServer(undefined, `[execution]\nabandon_running_after = "${graceMs}ms"`);
    const worker = await farm.startWorker('one');
    const seen = farm.folder('seen');
    const script = `echo x >> ${seen}/runs; sleep 600`;
    const address = `127.0.0.1:${farm.port}`;
    // A connection has a thousand calls at most.
    const clients = Array.from({ length: 4 }, () => new ApiClient(t, address));
    const [client] = clients;
    assert.ok(client);
    const actionDigest = await client.putAction({
      command: {
        arguments: ['sh', '-c', script],
        platform: { properties: [{ name: 'pool', value: 'any' }] },
      },
    });
    const begun = holdsLine(seen, 'runs');
    const execute = async (by: ApiClient) => {
      const leaving = new AbortController();
      const states = by.execute({ actionDigest }, { signal: leaving.signal });
      const { value } = await states.next();
      return { name: (value as Operation).name, leave: () => leaving.abort() };
    };
    const all = await Promise.all(
      Array.from({ length: 1_000 }, (_, n) => execute(clients[n % clients.length] ?? client)),
    );
    assert.equal(new Set(all.map(({ name }) => name)).size, 1_000);
    await begun;
    for (const { leave } of all) leave();

    const joined = await execute(client);
    await becomes(
      () => client.getOperation(all.at(-1)?.name ?? ''),
      ({ done }) => done,
    );
    assert.equal(processesNaming(script).length > 0, true, 'it runs for who came');
    const leftAt = performance.now();
    joined.leave();
    await worker.printed(/action cancelled/);
    assert.ok(performance.now() - leftAt >= graceMs);
    assert.deepEqual(processesNaming(script), []);
    assert.deepEqual(linesOf(path.join(seen, 'runs')), ['x']);
  },
);
