import assert from 'node:assert/strict';
import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { holdsLine } from '../support/appears.ts';
import { executableSkip } from '../support/executable.ts';
import { Farm, linesOf } from '../support/farm.ts';
import { inReverse } from '../support/in-reverse.ts';
import { tempDir } from '../support/temp-dir.ts';

/** An ExpBuild whose worker protocol has another version: this one's sources with that number changed. */
function otherVersion(t: Pick<TestContext, 'after'>): readonly string[] {
  const folder = tempDir(t);
  for (const name of ['src', 'package.json'])
    cpSync(name, path.join(folder, name), { recursive: true });
  symlinkSync(path.resolve('node_modules'), path.join(folder, 'node_modules'));
  const file = path.join(folder, 'src/scheduler/work-queue.ts');
  const text = readFileSync(file, 'utf8');
  const changed = text.replace('workerProtocolVersion = 1;', 'workerProtocolVersion = 2;');
  assert.notEqual(changed, text);
  writeFileSync(file, changed);
  return [process.execPath, path.join(folder, 'src/main.ts')];
}

describe('a worker that is refused', { skip: executableSkip(), timeout: 120_000 }, () => {
  it('speaks another version: both logs name both, it goes on trying, and works once the server is upgraded', async (c) => {
    const t = inReverse(c);
    const farm = await Farm.create(t);
    const program = otherVersion(t);
    const server = await farm.startServer();
    const ready = /refuses this worker/;
    const worker = await farm.startWorker('new', { program, ready });
    const both = /worker new speaks version 2 of the worker protocol, this scheduler version 1/;
    await server.printed(both);
    await worker.printed(both);
    await worker.printed(/refuses this worker[^]*refuses this worker/);
    await server.kill();
    await farm.startServer(program);
    assert.match((await farm.run('echo ran')).stderr, /executed on new/);
    assert.match(worker.output(), /connected to the scheduler/);
  });

  it('is behind after an upgrade of the server: what it runs goes on, and the next start of it brings the result', async (c) => {
    const t = inReverse(c);
    const farm = await Farm.create(t);
    const server = await farm.startServer();
    const worker = await farm.startWorker('old');
    const seen = farm.folder('seen');
    const started = holdsLine(seen, 'runs');
    const script = `echo x >> ${seen}/runs; until [ -e ${seen}/go ]; do sleep 0.05; done; exit 7`;
    const running = farm.run(script);
    await started;
    await server.kill();
    const program = otherVersion(t);
    const upgraded = await farm.startServer(program);
    await worker.printed(/speaks version 1 of the worker protocol, this scheduler version 2/);
    await upgraded.printed(/speaks version 1 of the worker protocol, this scheduler version 2/);
    writeFileSync(path.join(seen, 'go'), '');
    await worker.printed(/action done/);
    worker.signal('SIGTERM');
    worker.signal('SIGHUP');
    await worker.exited;
    await farm.startWorker('old', { program });
    const ended = await running;
    assert.equal(ended.exitCode, 7, ended.stderr);
    assert.deepEqual(linesOf(path.join(seen, 'runs')), ['x']);
  });

  it('SC-10: has the name of another: it is told so, and the other keeps its work', async (c) => {
    const farm = await Farm.create(inReverse(c));
    const server = await farm.startServer();
    await farm.startWorker('one');
    const seen = farm.folder('seen');
    const started = holdsLine(seen, 'runs');
    const script = `echo x >> ${seen}/runs; until [ -e ${seen}/go ]; do sleep 0.05; done; echo out`;
    const running = farm.run(script);
    await started;
    const ready = /refuses this worker.*another worker named one is connected/;
    const second = await farm.startWorker('one', { folder: 'two', ready });
    await server.printed(/a worker was refused.*another worker named one/);
    writeFileSync(path.join(seen, 'go'), '');
    assert.equal((await running).stdout, 'out\n');
    assert.deepEqual(linesOf(path.join(seen, 'runs')), ['x']);
    assert.doesNotMatch(second.output(), /action running/);
  });
});
