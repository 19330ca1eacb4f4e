import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { inReverse } from '../support/in-reverse.ts';
import { sandboxSkip } from '../support/sandbox.ts';
import { tempDir } from '../support/temp-dir.ts';

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** The program as a process of its own, gone after the test. */
function startProcess(
  t: Pick<TestContext, 'after'>,
  argv: readonly string[],
  home: string,
  environment: Readonly<Record<string, string>> = {},
) {
  const child = spawn(process.execPath, [main, ...argv], {
    env: { HOME: home, ...environment },
    cwd: home,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(child, 'exit');
  t.after(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return { child, ended };
}

/** Reads what the process says until it matches. */
async function said({ stdout, stderr }: ChildProcess, pattern: RegExp): Promise<string> {
  let text = '';
  const found = Promise.withResolvers<void>();
  for (const stream of [stdout, stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      if (pattern.test(text)) found.resolve();
    });
    stream?.on('end', () => found.reject(new Error(`it ended without ${pattern}:\n${text}`)));
  }
  await found.promise;
  return text;
}

test('SIGTERM stops expbuild up in good order, and a second signal at once', async (context) => {
  const t = inReverse(context);
  const home = tempDir(t);
  const up = startProcess(t, ['up', '--address', '127.0.0.1:0', '--slots', '1'], home);
  const text = await said(up.child, /Ctrl-C stops it/);
  assert.match(text, new RegExp(`data +${path.join(home, '.local/share/expbuild')}$`, 'm'));
  const [, address = ''] = /grpc:\/\/(\S+)/.exec(text) ?? [];
  const run = startProcess(t, ['run', '--remote', address, '--', 'sleep', '60'], home);
  await said(run.child, /executing/);
  up.child.kill('SIGTERM');
  await said(up.child, /draining/);
  up.child.kill('SIGTERM');
  assert.deepEqual(await up.ended, [130, null]);
});

test('a Ctrl-C that npm passes on as well does not end a drain', async (context) => {
  const t = inReverse(context);
  const home = tempDir(t);
  const up = startProcess(t, ['up', '--address', '127.0.0.1:0', '--slots', '1'], home);
  const [, address = ''] = /grpc:\/\/(\S+)/.exec(await said(up.child, /Ctrl-C stops it/)) ?? [];
  const run = startProcess(t, ['run', '--remote', address, '--', 'sleep', '2'], home);
  await said(run.child, /executing/);
  up.child.kill('SIGINT');
  up.child.kill('SIGINT');
  assert.deepEqual(await up.ended, [0, null]);
});

test('CLI-13: Ctrl-C at expbuild run cancels the operation, and the server can stop', async (context) => {
  const t = inReverse(context);
  const home = tempDir(t);
  const up = startProcess(t, ['up', '--address', '127.0.0.1:0', '--slots', '1'], home);
  const [, address = ''] = /grpc:\/\/(\S+)/.exec(await said(up.child, /Ctrl-C stops it/)) ?? [];
  const run = startProcess(t, ['run', '--remote', address, '--', 'sleep', '60'], home);
  await said(run.child, /executing/);
  const cancelled = said(up.child, /action cancelled/);
  run.child.kill('SIGINT');
  assert.deepEqual(await run.ended, [130, null]);
  await cancelled;
  up.child.kill('SIGINT');
  assert.deepEqual(await up.ended, [0, null]);
});

test('the exit code of an action is that of the process', async (context) => {
  const t = inReverse(context);
  const home = tempDir(t);
  const up = startProcess(t, ['up', '--address', '127.0.0.1:0', '--slots', '1'], home);
  const [, address = ''] = /grpc:\/\/(\S+)/.exec(await said(up.child, /Ctrl-C stops it/)) ?? [];
  const run = startProcess(t, ['run', '--remote', address, '--', 'sh', '-c', 'exit 7'], home);
  assert.deepEqual(await run.ended, [7, null]);
});

test(
  'commands in a sandbox find their folder also where the data are behind a link',
  { skip: sandboxSkip },
  async (context) => {
    const t = inReverse(context);
    const home = tempDir(t);
    mkdirSync(path.join(home, 'real'));
    symlinkSync('real', path.join(home, 'link'));
    const data = path.join(home, 'link', 'data');
    const environment = { PATH: process.env['PATH'] ?? '', EXPBUILD_EXECUTOR_TYPE: 'sandbox' };
    const argv = ['up', '--address', '127.0.0.1:0', '--slots', '1', '--data', data];
    const up = startProcess(t, argv, home, environment);
    const [, address = ''] = /grpc:\/\/(\S+)/.exec(await said(up.child, /Ctrl-C stops it/)) ?? [];
    const run = startProcess(t, ['run', '--remote', address, '--', 'pwd'], home);
    assert.match(await said(run.child, /exit code|^error/m), /^\/build$/m);
    assert.deepEqual(await run.ended, [0, null]);
  },
);

test(
  'WK-31: no folder of inputs goes from one action to the next on the host, where another user may have it open',
  { skip: process.getuid?.() !== 0 && 'needs root to run commands as users of their own' },
  async (context) => {
    const t = inReverse(context);
    const home = tempDir(t);
    const input = path.join(home, 'input');
    mkdirSync(path.join(input, 'lib'), { recursive: true });
    for (const name of ['a', 'b', 'c', 'd']) writeFileSync(path.join(input, 'lib', name), name);
    const argv = ['up', '--address', '127.0.0.1:0', '--slots', '1', '--data', `${home}/data`];
    const up = startProcess(t, argv, home, { EXPBUILD_EXECUTOR_TYPE: 'host' });
    const [, address = ''] = /grpc:\/\/(\S+)/.exec(await said(up.child, /Ctrl-C stops it/)) ?? [];
    // The slot is free for the second one when all is done with the first.
    for (const name of ['one', 'two']) {
      const command = ['--input', input, '--', 'ls', 'lib', name];
      const run = startProcess(t, ['run', '--remote', address, ...command], home);
      assert.deepEqual(await run.ended, [2, null]);
    }
    assert.deepEqual(readdirSync(path.join(home, 'data/worker/kept')), ['tick']);
  },
);
