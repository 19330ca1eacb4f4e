import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { comesTrue, holdsLine } from '../support/appears.ts';
import { executableSkip } from '../support/executable.ts';
import { Farm, linesOf } from '../support/farm.ts';
import { holdingProxy, type HoldingProxy } from '../support/holding-proxy.ts';
import { inReverse } from '../support/in-reverse.ts';

/** Longer than a worker may be silent, 30 s; and for starting on a busy machine. */
const timeout = 180_000;

test(
  'SC-07, SC-08, SC-16: what workers run that are cut off or stand still is run by another, and ends with them once they are back',
  { skip: executableSkip(), timeout },
  async (c) => {
    const t = inReverse(c);
    const farm = await Farm.create(t);
    const server = await farm.startServer();
    const seen = farm.folder('seen');
    const lines = new Map<string, HoldingProxy>();
    const start = async (name: string) => {
      const proxy = await holdingProxy(t, farm.port);
      lines.set(name, proxy);
      // Blobs go their own way: what is not heard of can still run.
      const toml = `server_url = "127.0.0.1:${proxy.port}"\ncas_url = "127.0.0.1:${farm.port}"`;
      return farm.startWorker(name, { pool: name, toml });
    };
    /** Says when it runs, and ends once it is let go. */
    const script = (name: string) =>
      `echo x >> ${seen}/${name}; until [ -e ${seen}/go-${name} ]; do sleep 0.05; done; echo ${name}`;
    const letGo = (name: string) => writeFileSync(path.join(seen, `go-${name}`), '');
    const runsOf = (name: string) => linesOf(path.join(seen, name)).length;

    const cut = await start('cut');
    const stopped = await start('stopped');
    const unheard = await start('unheard');
    const mute = await start('mute');

    const running = new Map<string, ReturnType<Farm['run']>>();
    const run = (name: string, pool: string) => running.set(name, farm.run(script(name), { pool }));
    for (const [name, pool] of [
      ['ends', 'cut'],
      ['lasts', 'cut'],
      ['stopped', 'stopped'],
    ] as const) {
      const begun = holdsLine(seen, name);
      run(name, pool);
      await begun;
    }
    lines.get('cut')?.hold('up', 'down');
    stopped.signal('SIGSTOP');
    lines.get('unheard')?.hold('down');
    lines.get('mute')?.hold('up');
    run('unheard', 'unheard');
    const muteBegun = holdsLine(seen, 'mute');
    run('mute', 'mute');
    await muteBegun;
    const pool = ['cut', 'stopped', 'unheard', 'mute'];
    await farm.startWorker('rescuer', { pool, slots: 8 });

    await cut.printed(/no connection to the scheduler/);
    await server.printed(/worker disconnected.*cut|cut.*worker disconnected/);
    const all = ['ends', 'lasts', 'stopped', 'mute'];
    await comesTrue(seen, () => all.every((name) => runsOf(name) === 2) && runsOf('unheard') === 1);
    letGo('ends');
    await cut.printed(/action done/);
    for (const proxy of lines.values()) proxy.release();
    stopped.signal('SIGCONT');
    for (const role of [cut, stopped, mute]) await role.printed(/action cancelled/);
    for (const name of running.keys()) letGo(name);
    for (const [name, ending] of running) {
      const { stdout, stderr } = await ending;
      assert.equal(stdout, `${name}\n`, stderr);
      assert.match(stderr, /executed on rescuer/);
      assert.equal(runsOf(name), name === 'unheard' ? 1 : 2);
    }
    const outbox = path.join(farm.root, 'cut', 'outbox');
    await comesTrue(outbox, () => readdirSync(outbox).length === 0);
    assert.doesNotMatch(unheard.output(), /action running/);
  },
);
