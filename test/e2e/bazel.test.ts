import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import {
  type BazelResult,
  type BazelVersion,
  type BazelWorkspace,
  bazelSkip,
  bazelWorkspace,
  succeeded,
} from '../support/bazel.ts';
import { executableSkip, startRole, startUp } from '../support/executable.ts';
import { sandboxSkip } from '../support/sandbox.ts';
import { tempDir } from '../support/temp-dir.ts';

/** A library, a tool and a test: compiling, linking, running. */
const few = ['//:shouted', '//:shout_test'];

const versions: readonly BazelVersion[] = ['2.1.0', '4.2.3'];

/** Everything runs remotely, or the build fails. */
const remotely = (port: number) => [
  `--remote_executor=grpc://127.0.0.1:${port}`,
  '--spawn_strategy=remote',
  '--remote_local_fallback=false',
  '--jobs=8',
];

function assertSucceeded(result: BazelResult): void {
  assert.equal(result.exitCode, 0, `${result.stderr}\n${result.stdout}`);
}

function actionsOf({ processes }: BazelResult): number {
  return Object.values(processes).reduce((sum, count) => sum + count, 0);
}

function output(workspace: BazelWorkspace, name: string): string {
  return readFileSync(path.join(workspace.folder, 'bazel-bin', name), 'utf8');
}

function assertOutputs(workspace: BazelWorkspace): void {
  assert.equal(output(workspace, 'greeting.txt'), 'Hello, world!\n');
  assert.equal(output(workspace, 'shouted.txt'), 'HELLO, WORLD!\n');
  assert.equal(output(workspace, 'name list.txt'), 'three\none\ntwo\n');
  assert.equal(output(workspace, 'pages/latest'), 'This is first.\n');
  assert.deepEqual(output(workspace, 'page_list.txt').trim().split('\n'), [
    './first.txt',
    './latest',
    './more/first.txt',
    './more/second.txt',
    './more/third.txt',
    './second.txt',
    './third.txt',
  ]);
}

for (const bazel of versions) {
  describe(`Bazel ${bazel}`, { skip: executableSkip() || bazelSkip(bazel) }, () => {
    test('BZL-01: builds and tests remotely, and a second time from the cache alone', async (t) => {
      const { port } = await startUp(t);
      const workspace = bazelWorkspace(t, { bazel });

      const first = await workspace.run('test', '//...', ...remotely(port));
      assertSucceeded(first);
      assertOutputs(workspace);
      assert.deepEqual(Object.keys(first.processes), ['remote']);
      assert.equal(succeeded(first, 'Execute'), actionsOf(first));
      assert.equal(succeeded(first, 'GetActionResult'), 0);

      workspace.forget();
      const second = await workspace.run('test', '//...', ...remotely(port));
      assertSucceeded(second);
      assertOutputs(workspace);
      assert.deepEqual(second.processes, { 'remote cache hit': first.processes['remote'] });
      assert.equal(succeeded(second, 'GetActionResult'), actionsOf(first));
      assert.ok(!second.calls.some(({ method }) => method === 'Execute'), second.stderr);
    });

    test('BZL-01: uses the cache for actions that run locally', async (t) => {
      const { port } = await startUp(t);
      const workspace = bazelWorkspace(t, { bazel });
      const cache = `--remote_cache=grpc://127.0.0.1:${port}`;

      const first = await workspace.run('test', '//...', cache);
      assertSucceeded(first);
      assert.equal(first.processes['remote cache hit'], undefined);

      workspace.forget();
      const second = await workspace.run('test', '//...', cache);
      assertSucceeded(second);
      assertOutputs(workspace);
      assert.deepEqual(second.processes, { 'remote cache hit': actionsOf(first) });
      assert.equal(succeeded(second, 'GetActionResult'), actionsOf(first));
    });

    test('WRK-12, EXE-47: shows the log of a failing test, and never takes it from the cache', async (t) => {
      const { port } = await startUp(t);
      const workspace = bazelWorkspace(t, { bazel });
      for (let attempt = 1; attempt <= 2; attempt++) {
        const result = await workspace.run(
          'test',
          '//:failing_test',
          '--test_output=errors',
          ...remotely(port),
        );
        assert.equal(result.exitCode, 3, result.stderr);
        assert.match(result.stdout, /This line must reach the person who looks at the failure\./);
        assert.ok((result.processes['remote'] ?? 0) > 0, result.stderr);
        workspace.forget();
      }
    });

    test('GEN-01: builds in another instance, which shares nothing with the first', async (t) => {
      const { port } = await startUp(t);
      const workspace = bazelWorkspace(t, { bazel });
      const target = '//:page_list';

      assertSucceeded(await workspace.run('build', target, ...remotely(port)));
      workspace.forget();
      const other = await workspace.run(
        'build',
        target,
        ...remotely(port),
        '--remote_instance_name=main',
      );
      assertSucceeded(other);
      assert.deepEqual(other.processes, { remote: 2 });
    });
  });
}

/** All that these Bazels have of digest functions besides the default. */
const startup = ['--digest_function=SHA1'];
const instance = 'team/linux/release';

for (const bazel of versions) {
  const skip = executableSkip() || bazelSkip(bazel);
  test(
    `DIG-10, GEN-01, BZL-01: Bazel ${bazel} builds with SHA1 in an instance of several segments`,
    { skip },
    async (t) => {
      const settings = [`--set=instance_names=main,${instance}`, '--set=digest.functions=SHA1'];
      const { port } = await startUp(t, ...settings);
      const workspace = bazelWorkspace(t, { bazel, startup });
      const flags = [...remotely(port), `--remote_instance_name=${instance}`];

      const first = await workspace.run('test', ...few, ...flags);
      assertSucceeded(first);
      assert.deepEqual(Object.keys(first.processes), ['remote']);
      workspace.forget();
      const second = await workspace.run('test', ...few, ...flags);
      assertSucceeded(second);
      assert.equal(output(workspace, 'shouted.txt'), 'HELLO, WORLD!\n');
      assert.deepEqual(second.processes, { 'remote cache hit': first.processes['remote'] });
    },
  );
}

const bothSkip = executableSkip() || bazelSkip('2.1.0') || bazelSkip('4.2.3');
test(
  'DIG-10, CAP-21: two Bazels with different digest functions use one instance at once',
  { skip: bothSkip },
  async (t) => {
    const { port } = await startUp(t, '--set=digest.functions=SHA256,SHA1');
    const builder = bazelWorkspace(t, { bazel: '4.2.3' });
    // These Bazels execute only with the one function that an old server would name, SHA256.
    const cacher = bazelWorkspace(t, { bazel: '2.1.0', startup });
    const caching = ['test', ...few, `--remote_cache=grpc://127.0.0.1:${port}`] as const;

    const [built, cached] = await Promise.all([
      builder.run('test', ...few, ...remotely(port)),
      cacher.run(...caching),
    ]);
    assertSucceeded(built);
    assertSucceeded(cached);
    assert.deepEqual(Object.keys(built.processes), ['remote']);
    assert.equal(cached.processes['remote cache hit'], undefined);
    cacher.forget();
    const again = await cacher.run(...caching);
    assertSucceeded(again);
    assert.deepEqual(again.processes, { 'remote cache hit': actionsOf(cached) });
    assert.equal(output(cacher, 'shouted.txt'), 'HELLO, WORLD!\n');
  },
);

/** All but the directory with a symlink in it, which this Bazel cannot leave where it is. */
const withoutSymlinks = ['//:shouted', '//:names', '//:greeting_test', '//:shout_test'];

const minimalSkip = executableSkip() || bazelSkip('4.2.3');
test(
  'BZL-17: Bazel 4.2.3 builds without downloading what it builds',
  { skip: minimalSkip },
  async (t) => {
    const { port } = await startUp(t);
    const workspace = bazelWorkspace(t, { bazel: '4.2.3' });
    const minimal = [...remotely(port), '--remote_download_minimal'];

    const first = await workspace.run('test', ...withoutSymlinks, ...minimal);
    assertSucceeded(first);
    assert.ok(!existsSync(path.join(workspace.folder, 'bazel-bin/greeting.txt')));

    // Its outputs are inputs now that only the server has.
    writeFileSync(path.join(workspace.folder, 'shouter.cc'), changedShouter);
    const changed = await workspace.run('test', ...withoutSymlinks, ...minimal);
    assertSucceeded(changed);
    assert.ok((changed.processes['remote'] ?? 0) > 0, changed.stderr);

    const whole = await workspace.run('build', '//:shouted', ...remotely(port));
    assertSucceeded(whole);
    assert.equal(output(workspace, 'shouted.txt'), 'HELLO, WORLD!?\n');
  },
);

const changedShouter = `
#include <iostream>

#include "shout.h"

int main() {
  for (std::string line; std::getline(std::cin, line);) std::cout << shout(line) << "?\\n";
}
`;

for (const [type, skip] of [
  ['sandbox', sandboxSkip],
  ['host', false],
] as const) {
  test(
    `WRK-20: Bazel 4.2.3 builds and tests in the executor ${type}`,
    { skip: minimalSkip || skip },
    async (t) => {
      const args = ['up', '--address', '127.0.0.1:0', '--data', path.join(tempDir(t), 'data')];
      const variables = { EXPBUILD_EXECUTOR_TYPE: type };
      const ready = /grpc:\/\/127\.0\.0\.1:(\d+)/;
      const { found, printed } = await startRole(t, args, ready, variables);
      await printed(new RegExp(`executor +${type}`));
      const port = Number(found);
      const workspace = bazelWorkspace(t, { bazel: '4.2.3' });
      const built = await workspace.run('test', '//...', ...remotely(port));
      assertSucceeded(built);
      assert.deepEqual(Object.keys(built.processes), ['remote']);
    },
  );
}
