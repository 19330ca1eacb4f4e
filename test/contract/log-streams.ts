import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { type Chunks, chunksOf, collect } from '../../src/base/chunks.ts';
import { Code } from '../../src/base/status.ts';
import type { LogStreams } from '../../src/logs/log-streams.ts';
import { never } from '../support/never.ts';

type Make = (t: TestContext) => LogStreams | Promise<LogStreams>;

const textOf = (bytes: Uint8Array) => Buffer.from(bytes).toString();
const from = (offset: number) => ({ offset, limitBytes: 0 });

/** Writes one part, the last one or not. */
function put(logs: LogStreams, writeName: string, offset: number, text: string, isLast: boolean) {
  const write = { offset, isLast: () => isLast };
  return logs.write(writeName, write, chunksOf(Buffer.from(text)), never);
}

async function readAll(logs: LogStreams, name: string, offset = 0): Promise<string> {
  return textOf(await collect(logs.read(name, from(offset), never)));
}

/** A source whose chunks the test gives one by one. */
class Source {
  #next = Promise.withResolvers<string | undefined>();

  give(text: string | undefined): void {
    this.#next.resolve(text);
  }

  async *chunks(): Chunks {
    for (;;) {
      const text = await this.#next.promise;
      this.#next = Promise.withResolvers();
      if (text === undefined) return;
      yield Buffer.from(text);
    }
  }
}

/** What every LogStreams promises. `make` gives one whose streams may be of the parents '' and `main`. */
export function logStreamsContract(title: string, make: Make): void {
  describe(`${title} as LogStreams`, () => {
    writing(make);
    reading(make);
    names(make);
  });
}

function names(make: Make): void {
  it('LOG-01: gives names below the parent, with a token for writing', async (t) => {
    const logs = await make(t);
    const one = await logs.create('main', never);
    assert.match(one.name, /^main\/logstreams\/[^/]+$/);
    assert.ok(one.writeName.startsWith(`${one.name}/`));
    assert.match(one.writeName.slice(one.name.length + 1), /^[0-9a-f-]{36}$/);
    const other = await logs.create('', never);
    assert.match(other.name, /^logstreams\/[^/]+$/);
    assert.notEqual(one.name.split('/').at(-1), other.name.split('/').at(-1));
  });

  it('LOG-02, LOG-03: neither reads under the name for writing, nor the other way round', async (t) => {
    const logs = await make(t);
    const { name, writeName } = await logs.create('main', never);
    await assert.rejects(put(logs, name, 0, 'x', true), { code: Code.INVALID_ARGUMENT });
    await assert.rejects(readAll(logs, writeName), { code: Code.INVALID_ARGUMENT });
  });

  it('LOG-14: knows no stream but those it made', async (t) => {
    const logs = await make(t);
    const { name, writeName } = await logs.create('main', never);
    const id = name.slice('main/logstreams/'.length);
    const token = writeName.slice(name.length);
    for (const unknown of ['main/logstreams/none', `logstreams/${id}`]) {
      await assert.rejects(readAll(logs, unknown), { code: Code.NOT_FOUND });
      await assert.rejects(logs.status(unknown, never), { code: Code.NOT_FOUND });
      await assert.rejects(put(logs, unknown + token, 0, 'x', true), { code: Code.NOT_FOUND });
    }
    await assert.rejects(put(logs, `${name}/guess`, 0, 'x', true), { code: Code.NOT_FOUND });
    assert.deepEqual(await logs.status(name, never), { committedBytes: 0, isFinished: false });
  });
}

function writing(make: Make): void {
  it('LOG-05, LOG-13: takes several writes, each at the committed size', async (t) => {
    const logs = await make(t);
    const { name, writeName } = await logs.create('main', never);
    assert.equal(await put(logs, writeName, 0, 'one ', false), 4);
    assert.equal(await put(logs, writeName, 4, 'two ', false), 8);
    const status = { committedBytes: 8, isFinished: false };
    assert.deepEqual(await logs.status(writeName, never), status);
    assert.equal(await put(logs, writeName, 8, 'three', true), 13);
    assert.deepEqual(await logs.status(name, never), { committedBytes: 13, isFinished: true });
    assert.equal(await readAll(logs, name), 'one two three');
  });

  it('LOG-05: refuses a gap and an overlap', async (t) => {
    const logs = await make(t);
    const { name, writeName } = await logs.create('main', never);
    await put(logs, writeName, 0, 'four', false);
    for (const offset of [3, 5]) {
      await assert.rejects(put(logs, writeName, offset, 'x', true), { code: Code.OUT_OF_RANGE });
    }
    await put(logs, writeName, 4, '', true);
    assert.equal(await readAll(logs, name), 'four');
  });

  it('LOG-04: appends nothing to a finished stream', async (t) => {
    const logs = await make(t);
    const { name, writeName } = await logs.create('', never);
    await put(logs, writeName, 0, 'all', true);
    await assert.rejects(put(logs, writeName, 3, '!', true), { code: Code.FAILED_PRECONDITION });
    assert.equal(await readAll(logs, name), 'all');
  });

  it('LOG-05: goes on after a write that broke off', async (t) => {
    const logs = await make(t);
    const { name, writeName } = await logs.create('', never);
    const source = new Source();
    const stop = new AbortController();
    const write = { offset: 0, isLast: () => true };
    const broken = logs.write(writeName, write, source.chunks(), stop.signal);
    source.give('half');
    const reader = logs.read(name, from(0), never)[Symbol.asyncIterator]();
    const first: IteratorResult<Uint8Array, unknown> = await reader.next();
    assert.equal(textOf(first.value as Uint8Array), 'half');
    stop.abort();
    await assert.rejects(broken);
    assert.deepEqual(await logs.status(writeName, never), { committedBytes: 4, isFinished: false });
    await put(logs, writeName, 4, ' and half', true);
    assert.equal(await readAll(logs, name), 'half and half');
    await reader.return?.();
  });
}

function reading(make: Make): void {
  it('LOG-04, LOG-06: gives bytes as they come, and ends when the stream is finished', async (t) => {
    const logs = await make(t);
    const { name, writeName } = await logs.create('main', never);
    const source = new Source();
    const reader = logs.read(name, from(0), never)[Symbol.asyncIterator]();
    const write = { offset: 0, isLast: () => true };
    const written = logs.write(writeName, write, source.chunks(), never);
    for (const text of ['one', 'two', 'three']) {
      source.give(text);
      const { value }: IteratorResult<Uint8Array, unknown> = await reader.next();
      assert.equal(textOf(value as Uint8Array), text);
    }
    const end = reader.next();
    source.give(undefined);
    assert.equal((await end).done, true);
    assert.equal(await written, 11);
  });

  it('LOG-07: gives a finished stream from any offset, as often as is wanted', async (t) => {
    const logs = await make(t);
    const { name, writeName } = await logs.create('main', never);
    await put(logs, writeName, 0, 'hello', true);
    assert.equal(await readAll(logs, name), 'hello');
    assert.equal(await readAll(logs, name, 2), 'llo');
    assert.equal(await readAll(logs, name, 5), '');
    await assert.rejects(readAll(logs, name, 6), { code: Code.OUT_OF_RANGE });
    const range = { offset: 1, limitBytes: 3 };
    assert.equal(textOf(await collect(logs.read(name, range, never))), 'ell');
  });

  it('LOG-06: ends a limited read where its limit is, finished or not', async (t) => {
    const logs = await make(t);
    const { name, writeName } = await logs.create('main', never);
    await put(logs, writeName, 0, 'hello', false);
    const range = { offset: 1, limitBytes: 3 };
    assert.equal(textOf(await collect(logs.read(name, range, never))), 'ell');
  });

  it('LOG-08: serves many readers, of which one reads nothing', async (t) => {
    const logs = await make(t);
    const { name, writeName } = await logs.create('main', never);
    const paused = logs.read(name, from(0), never)[Symbol.asyncIterator]();
    const reads = Array.from({ length: 20 }, () => readAll(logs, name));
    const piece = 'x'.repeat(1 << 20);
    for (let part = 0; part < 8; part++) {
      await put(logs, writeName, part * piece.length, piece, part === 7);
    }
    const all = piece.repeat(8);
    for (const read of reads) assert.ok((await read) === all);
    const { value }: IteratorResult<Uint8Array, unknown> = await paused.next();
    assert.ok((value as Uint8Array).length > 0);
    await paused.return?.();
  });

  it('ends a read that waits when its signal aborts', async (t) => {
    const logs = await make(t);
    const { name } = await logs.create('main', never);
    const stop = new AbortController();
    const waiting = collect(logs.read(name, from(0), stop.signal));
    stop.abort();
    await assert.rejects(waiting);
  });
}
