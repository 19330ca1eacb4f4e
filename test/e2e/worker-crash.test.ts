import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { appears, comesTrue, holdsLine } from '../support/appears.ts';
import { executableSkip } from '../support/executable.ts';
import { FakeTerminal } from '../support/fake-terminal.ts';
import { Farm, linesOf } from '../support/farm.ts';
import { holdingProxy } from '../support/holding-proxy.ts';
import { inReverse } from '../support/in-reverse.ts';

const skip = executableSkip();

describe('a worker that is killed', { skip, timeout: 180_000 }, () => {
  it('SC-01: with a lease that it has not begun: another start of it runs the action', async (c) => {
    const farm = await Farm.create(inReverse(c));
    await farm.startServer();
    const worker = await farm.startWorker('one');
    worker.signal('SIGSTOP');
    const terminal = new FakeTerminal();
    const running = farm.run('echo ran', { terminal });
    await terminal.shown(/^queued/m);
    await worker.kill();
    await farm.startWorker('one');
    assert.equal((await running).stdout, 'ran\n');
  });

  for (const [phase, runs] of [
    ['fetching', 1],
    ['uploading', 2],
  ] as const) {
    it(`SC-01: while it is ${phase}: another start of it runs the action`, async (c) => {
      const t = inReverse(c);
      const farm = await Farm.create(t);
      await farm.startServer();
      const store = await holdingProxy(t, farm.port);
      const toml = `server_url = "127.0.0.1:${farm.port}"\ncas_url = "127.0.0.1:${store.port}"`;
      const worker = await farm.startWorker('one', { toml });
      const seen = farm.folder('seen');
      if (phase === 'fetching') store.hold('up', 'down');
      const started = holdsLine(seen, 'runs');
      const running = farm.run(
        `echo x >> ${seen}/runs; until [ -e ${seen}/go ]; do sleep 0.05; done; echo out`,
      );
      if (phase === 'uploading') {
        await started;
        store.hold('up', 'down');
      }
      writeFileSync(path.join(seen, 'go'), '');
      await store.asked();
      await worker.kill();
      store.release();
      await farm.startWorker('one', { toml });
      const ended = await running;
      assert.equal(ended.stdout, 'out\n', ended.stderr);
      assert.equal(linesOf(path.join(seen, 'runs')).length, runs);
    });
  }

  it('SC-01, SC-04: after it finished, while the server is down: the result arrives, nothing runs again', async (c) => {
    const farm = await Farm.create(inReverse(c));
    const server = await farm.startServer();
    const worker = await farm.startWorker('one');
    const seen = farm.folder('seen');
    const started = holdsLine(seen, 'runs');
    // The blobs are taken until the server ends, so the command says nothing and makes nothing.
    const script = `echo x >> ${seen}/runs; until [ -e ${seen}/go ]; do sleep 0.05; done; exit 7`;
    const running = farm.run(script);
    await started;
    await server.kill();
    writeFileSync(path.join(seen, 'go'), '');
    await worker.printed(/action done/);
    await worker.kill();
    const outbox = path.join(farm.root, 'one', 'outbox');
    assert.equal(readdirSync(outbox).length, 1);
    const again = await farm.startServer();
    const back = await farm.startWorker('one');
    const ended = await running;
    assert.equal(ended.exitCode, 7, ended.stderr);
    assert.deepEqual(linesOf(path.join(seen, 'runs')), ['x']);
    assert.match(back.output(), /results of an earlier start are there.*results/);
    assert.match(again.output(), /brings results of before/);
    // The client hears of it before the worker hears that it may forget it.
    await comesTrue(outbox, () => readdirSync(outbox).length === 0);
  });

  it('SC-02: together with its server, as when a host reboots: the action runs again', async (c) => {
    const farm = await Farm.create(inReverse(c));
    const roles = [await farm.startServer(), await farm.startWorker('one')];
    const seen = farm.folder('seen');
    const started = holdsLine(seen, 'runs');
    const script = `echo x >> ${seen}/runs; [ -e ${seen}/go ] || sleep 600; echo out`;
    const running = farm.run(script);
    await started;
    await Promise.all(roles.map((role) => role.kill()));
    writeFileSync(path.join(seen, 'go'), '');
    await farm.startServer();
    await farm.startWorker('one');
    const ended = await running;
    assert.equal(ended.stdout, 'out\n', ended.stderr);
    assert.equal(linesOf(path.join(seen, 'runs')).length, 2);
  });

  it('SC-02, SC-06: told to stop, with an action that takes too long: it exits with 0, and another runs it', async (c) => {
    const farm = await Farm.create(inReverse(c));
    await farm.startServer();
    const worker = await farm.startWorker('one', { toml: 'drain_timeout = "1s"' });
    const seen = farm.folder('seen');
    const started = holdsLine(seen, 'runs');
    const script = `echo x >> ${seen}/runs; [ $(wc -l < ${seen}/runs) = 2 ] || sleep 600; echo out`;
    const running = farm.run(script);
    await started;
    worker.signal('SIGTERM');
    assert.equal(await worker.exited, 0);
    await farm.startWorker('two');
    const ended = await running;
    assert.equal(ended.stdout, 'out\n', ended.stderr);
    assert.match(ended.stderr, /executed on two/);
  });

  it('SC-06: told to stop twice under load: it ends at once, and another runs all', async (c) => {
    const farm = await Farm.create(inReverse(c));
    await farm.startServer();
    const worker = await farm.startWorker('one');
    const seen = farm.folder('seen');
    const started = appears(seen, '1');
    const scripts = [1, 2, 3, 4].map(
      (n) => `touch ${seen}/${n}; until [ -e ${seen}/go ]; do sleep 0.05; done; echo ${n}`,
    );
    const [first = '', ...others] = scripts;
    const running = [farm.run(first)];
    await started;
    running.push(...others.map((script) => farm.run(script)));
    worker.signal('SIGTERM');
    await worker.printed(/draining/);
    worker.signal('SIGTERM');
    assert.equal(await worker.exited, 130);
    assert.ok(readdirSync(seen).length <= 2, 'no more than it had slots for');
    writeFileSync(path.join(seen, 'go'), '');
    await farm.startWorker('two', { slots: 4 });
    const ended = await Promise.all(running);
    assert.deepEqual(
      ended.map(({ stdout }) => stdout.trim()),
      ['1', '2', '3', '4'],
    );
  });

  it('SC-04: a hundred actions survive the death of their server, and each runs once', async (c) => {
    const farm = await Farm.create(inReverse(c));
    const server = await farm.startServer();
    await farm.startWorker('one');
    const seen = farm.folder('seen');
    const enough = appears(seen, 'enough');
    const script = (n: number) =>
      `echo ${n} >> ${seen}/runs; [ $(wc -l < ${seen}/runs) -lt 20 ] || touch ${seen}/enough; echo ${n}`;
    const running = Array.from({ length: 100 }, (_, n) => farm.run(script(n)));
    await enough;
    await server.kill();
    await farm.startServer();
    const ended = await Promise.all(running);
    for (const [n, { stdout, stderr }] of ended.entries()) assert.equal(stdout, `${n}\n`, stderr);
    const runs = linesOf(path.join(seen, 'runs'));
    assert.equal(new Set(runs).size, 100);
    assert.equal(runs.length, 100, 'what ran while the server was away was not run again');
  });
});
