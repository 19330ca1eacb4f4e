import assert from 'node:assert/strict';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { FakeTerminal } from '../support/fake-terminal.ts';
import { inReverse } from '../support/in-reverse.ts';
import { runCli } from '../support/run-cli.ts';
import { tempDir } from '../support/temp-dir.ts';

const example = (name: string) => fileURLToPath(new URL(`../../configs/${name}`, import.meta.url));

/** Runs a role until the test ends; resolves with the terminal once it has shown `pattern`. */
async function startRole(
  t: Pick<TestContext, 'after'>,
  argv: readonly string[],
  environment: Readonly<Record<string, string>>,
  pattern: RegExp,
): Promise<FakeTerminal> {
  const terminal = new FakeTerminal();
  const leaving = new AbortController();
  const options = { folder: tempDir(t), environment, leaving: leaving.signal, terminal };
  const ending = runCli(argv, options);
  t.after(async () => {
    leaving.abort();
    assert.equal((await ending).exitCode, 0, terminal.stderr);
  });
  const failed = ending.then(({ stderr }) => Promise.reject(new Error(`it ended: ${stderr}`)));
  await Promise.race([terminal.shown(pattern), failed]);
  return terminal;
}

test('each role starts from its example, and they work together', async (context) => {
  const t = inReverse(context);
  const data = tempDir(t);
  const at = (name: string) => path.join(data, name);
  const serving = await startRole(
    t,
    ['server', '--config', example('server/server.toml'), '--address', '127.0.0.1:0'],
    {
      EXPBUILD_CAS_STORAGE_ROOT_PATH: at('cas'),
      EXPBUILD_ACTION_CACHE_ROOT_PATH: at('action_cache'),
      EXPBUILD_SCHEDULER_ROOT_PATH: at('scheduler'),
      EXPBUILD_REMOTE_ASSET_ROOT_PATH: at('remote_asset'),
      EXPBUILD_LOGS_ROOT_PATH: at('logs'),
    },
    /"message":"serving"/,
  );
  const [, address = ''] = /"address":"([^"]+)"/.exec(serving.stderr) ?? [];
  const working = await startRole(
    t,
    ['worker', '--config', example('worker/worker.toml'), '--join', address],
    { EXPBUILD_ROOT_PATH: at('worker'), EXPBUILD_SLOTS: '1' },
    /"message":"connected to the scheduler"/,
  );
  const client = ['--config', example('client/expbuild.toml'), '--remote', address];
  const argv = ['run', ...client, '--platform', 'os=linux', '--', 'echo', 'hello'];
  const ended = await runCli(argv, { folder: data });
  assert.equal(ended.stdout, 'hello\n', ended.stderr);
  const [, worker = ''] = /"worker":"([^"]+)"/.exec(working.stderr) ?? [];
  assert.match(ended.stderr, new RegExp(`executed on ${worker},`));
});
