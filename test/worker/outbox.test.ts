import assert from 'node:assert/strict';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { createLog } from '../../src/base/log.ts';
import { HeldLease, HeldLease_Phase } from '../../src/proto/expbuild/worker/v1/worker.ts';
import { defaultOutboxOptions, Outbox, type OutboxOptions } from '../../src/worker/outbox.ts';
import { tempDir } from '../support/temp-dir.ts';

function resultOf(leaseId: string, message = ''): HeldLease {
  return HeldLease.fromPartial({
    leaseId,
    epoch: 3,
    phase: HeldLease_Phase.PHASE_DONE,
    response: { result: { exitCode: 7 }, message },
  });
}

function bench(t: TestContext) {
  const folder = path.join(tempDir(t), 'outbox');
  const lines: string[] = [];
  const write = (line: string) => lines.push(line);
  const log = createLog({ level: 'warn', format: 'text', write, now: () => 0 });
  const open = (limits: Partial<OutboxOptions> = {}) =>
    Outbox.open({ ...defaultOutboxOptions, folder, log, ...limits });
  const files = () => readdirSync(folder).map((name) => path.join(folder, name));
  return { folder, lines, open, files };
}

describe('an outbox', () => {
  it('keeps results for the next process, whatever their leases are called', async (t) => {
    const { open, lines, files } = bench(t);
    const outbox = await open();
    assert.deepEqual(outbox.left, []);
    const results = ['a', '../../b', 'c'.repeat(1_000)].map((id) => resultOf(id));
    for (const result of results) await outbox.put(result);
    assert.equal(files().length, 3);
    const { left } = await open();
    assert.deepEqual(
      new Map(left.map((one) => [one.leaseId, one])),
      new Map(results.map((one) => [one.leaseId, one])),
    );
    assert.deepEqual(lines, []);
  });

  it('forgets what is removed, also what an earlier process left', async (t) => {
    const { open, files } = bench(t);
    const outbox = await open();
    await outbox.put(resultOf('a'));
    await outbox.put(resultOf('b'));
    await outbox.remove('a');
    await outbox.remove('never there');
    const next = await open();
    assert.deepEqual(next.left, [resultOf('b')]);
    await next.remove('b');
    assert.deepEqual(files(), []);
  });

  it('warns of a file that is torn, changed or none of its own, and removes it', async (t) => {
    const { open, lines, files, folder } = bench(t);
    const outbox = await open();
    for (const id of ['whole', 'torn', 'changed']) await outbox.put(resultOf(id));
    const fileOf = (id: string) => files().find((file) => readFileSync(file).includes(id)) ?? '';
    truncateSync(fileOf('torn'), 40);
    const changed = readFileSync(fileOf('changed'));
    changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
    writeFileSync(fileOf('changed'), changed);
    writeFileSync(path.join(folder, 'empty'), '');
    mkdirSync(path.join(folder, 'folder'));
    const next = await open();
    assert.deepEqual(next.left, [resultOf('whole')]);
    assert.equal(lines.length, 4);
    assert.match(lines.join(''), /a result of an earlier start is lost .*torn or was changed/);
    assert.equal(files().length, 1);
  });

  it('takes no more than it may, and says what that means', async (t) => {
    const { open, lines } = bench(t);
    const outbox = await open({ entriesMax: 2, bytesMax: 1_000 });
    await outbox.put(resultOf('large', 'x'.repeat(1_000)));
    for (const id of ['a', 'b', 'c']) await outbox.put(resultOf(id));
    assert.equal(lines.length, 2);
    assert.match(lines[0] ?? '', /the outbox is full: a crash now would lose a result lease=large/);
    await outbox.remove('a');
    await outbox.put(resultOf('c'));
    assert.deepEqual(
      new Set((await open()).left.map(({ leaseId }) => leaseId)),
      new Set(['b', 'c']),
    );
  });

  it('takes over no more than it may', async (t) => {
    const { lines, open } = bench(t);
    const outbox = await open();
    for (const id of ['a', 'b']) await outbox.put(resultOf(id));
    assert.equal((await open({ entriesMax: 1 })).left.length, 1);
    assert.match(lines.join(''), /the outbox is full/);
    assert.equal((await open()).left.length, 1, 'the other one is removed');
  });

  it('goes on when the disk does not take a result', async (t) => {
    const { open, folder, lines } = bench(t);
    const outbox = await open();
    renameSync(folder, `${folder}.away`);
    await outbox.put(resultOf('a'));
    assert.match(lines.join(''), /a result cannot be kept.*ENOENT/);
    renameSync(`${folder}.away`, folder);
    await outbox.put(resultOf('a'));
    assert.deepEqual((await open()).left, [resultOf('a')]);
  });
});
