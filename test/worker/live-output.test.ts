import assert from 'node:assert/strict';
import { appendFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { collect } from '../../src/base/chunks.ts';
import { Code, StatusError } from '../../src/base/status.ts';
import type { LocalLogStreams } from '../../src/logs/local-log-streams.ts';
import type { LogStreams } from '../../src/logs/log-streams.ts';
import { LiveOutput, type OutputStreamNames } from '../../src/worker/live-output.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { memoryLogStreams } from '../support/memory-log-streams.ts';
import { never } from '../support/never.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Log streams some calls of which go otherwise. */
type Changes = (real: LocalLogStreams) => Partial<LogStreams>;

async function bench(t: TestContext, changes: Changes = () => ({})) {
  const folder = tempDir(t);
  const clock = new FakeClock();
  const real = await memoryLogStreams(t);
  const told: OutputStreamNames[] = [];
  const changed = Promise.withResolvers<void>();
  const logs: LogStreams = {
    create: (parent) => real.create(parent),
    write: (...rest) => real.write(...rest),
    status: (name) => real.status(name),
    read: (...rest) => real.read(...rest),
    ...changes(real),
  };
  const stdoutPath = path.join(folder, 'stdout');
  const stderrPath = path.join(folder, 'stderr');
  const live = new LiveOutput({
    logs,
    instanceName: 'main',
    stdoutPath,
    stderrPath,
    clock,
    onStreams: (names) => {
      told.push(names);
      if (names.stdout !== '' && names.stderr !== '') changed.resolve();
    },
  });
  /** Lets the command run for long enough to have streams. */
  const begin = async () => {
    clock.advance(100);
    await changed.promise;
    return told.at(-1) as OutputStreamNames;
  };
  /** Moves time on until it is done. */
  const ticking = async <T>(work: Promise<T>): Promise<T> => {
    const over = new AbortController();
    const done = work.finally(() => over.abort());
    while (!over.signal.aborted) {
      await setImmediate();
      clock.advance(100);
    }
    return done;
  };
  const readAll = async (id: string) => {
    const range = { offset: 0, limitBytes: 0 };
    const bytes = await collect(real.read(`main/logstreams/${id}`, range, never));
    return Buffer.from(bytes).toString();
  };
  return { live, clock, real, told, begin, ticking, readAll, stdoutPath, stderrPath };
}

test('a command that ends at once has no streams', async (t) => {
  const { live, told, stdoutPath } = await bench(t);
  writeFileSync(stdoutPath, 'quick');
  await live.end();
  assert.deepEqual(told, []);
});

test('EXE-63: what is printed arrives while the command runs, and the rest when it ends', async (t) => {
  const { live, begin, ticking, real, readAll, stdoutPath, stderrPath } = await bench(t);
  const { stdout, stderr } = await begin();
  writeFileSync(stdoutPath, 'one ');
  writeFileSync(stderrPath, '');
  const reader = real.read(stdout, { offset: 0, limitBytes: 0 }, never)[Symbol.asyncIterator]();
  const { value } = await ticking(reader.next());
  assert.equal(Buffer.from(value as Uint8Array).toString(), 'one ');
  appendFileSync(stdoutPath, 'two');
  appendFileSync(stderrPath, 'three');
  await live.end();
  assert.equal(await readAll(stdout), 'one two');
  assert.equal(await readAll(stderr), 'three');
  await reader.return?.();
});

test('a write that breaks goes on at what is committed', async (t) => {
  let breaks = 3;
  const { live, begin, clock, readAll, stdoutPath } = await bench(t, (real) => ({
    write: async (name, write, chunks, signal) => {
      async function* broken() {
        for await (const chunk of chunks) {
          yield chunk.subarray(0, 5);
          if (breaks-- > 0) throw new StatusError(Code.UNAVAILABLE, 'the connection broke');
          yield chunk.subarray(5);
        }
      }
      return real.write(name, write, broken(), signal);
    },
  }));
  const { stdout } = await begin();
  writeFileSync(stdoutPath, 'some output that takes four writes');
  const ended = live.end();
  for (let retries = 0; retries < 3; retries++) {
    // Beside the retry there is what ends the wait for all of it.
    await clock.asleep(2);
    clock.advance(1_000);
  }
  await ended;
  assert.equal(await readAll(stdout), 'some output that takes four writes');
});

test('a server that was started anew gets all of it again, under another name', async (t) => {
  const { live, begin, told, ticking, readAll, real, stdoutPath } = await bench(t);
  const first = await begin();
  writeFileSync(stdoutPath, 'before ');
  const range = { offset: 0, limitBytes: 1 };
  await ticking(collect(real.read(first.stdout, range, never)));
  await real.close();
  appendFileSync(stdoutPath, 'after');
  const renamed = async () => {
    while (told.at(-1)?.stdout === first.stdout) await setImmediate();
  };
  await ticking(renamed());
  await live.end();
  assert.equal(await readAll(told.at(-1)?.stdout ?? ''), 'before after');
});

for (const code of [Code.UNIMPLEMENTED, Code.RESOURCE_EXHAUSTED]) {
  test(`a server that has no streams (code ${code}) holds nothing up`, async (t) => {
    const asked: string[] = [];
    const { live, clock, told, stdoutPath } = await bench(t, () => ({
      create: async (parent) => {
        asked.push(parent);
        throw new StatusError(code, 'no streams here');
      },
    }));
    writeFileSync(stdoutPath, 'output');
    clock.advance(100);
    while (asked.length < 2) await setImmediate();
    await live.end();
    assert.deepEqual([asked, told], [['main', 'main'], []]);
  });
}

test('a server that does not answer holds up the result for some seconds at most', async (t) => {
  const { live, begin, clock } = await bench(t, () => ({
    write: (_name, _write, _chunks, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error));
      }),
  }));
  await begin();
  let hasEnded = false;
  const ended = live.end().then(() => (hasEnded = true));
  clock.advance(4_999);
  await setImmediate();
  assert.equal(hasEnded, false);
  clock.advance(1);
  await ended;
});

test('a command that puts something else in place of its output gives nothing away', async (t) => {
  const { live, begin, readAll, stdoutPath, stderrPath } = await bench(t);
  symlinkSync('/etc/hostname', stdoutPath);
  const { stdout, stderr } = await begin();
  writeFileSync(stderrPath, 'said');
  await live.end();
  rmSync(stdoutPath);
  assert.deepEqual([await readAll(stdout), await readAll(stderr)], ['', 'said']);
});
