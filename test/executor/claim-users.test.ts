import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { claimUsers } from '../../src/executor/claim-users.ts';

/** Claimed by no other test, and no worker. */
const first = 50_000 + (process.pid % 500) * 10;
const idsOf = (claimed: Awaited<ReturnType<typeof claimUsers>>) => claimed.map(({ uid }) => uid);

test('users that one has, no other gets, until it ends', async () => {
  await using closing = new AsyncDisposableStack();
  const other = new AsyncDisposableStack();
  assert.deepEqual(idsOf(await claimUsers(first, 2, false, other)), [first, first + 1]);
  assert.deepEqual(idsOf(await claimUsers(first + 1, 2, false, closing)), [first + 2, first + 3]);
  await assert.rejects(claimUsers(first, 1, true, closing), {
    code: Code.FAILED_PRECONDITION,
    message: `commands of another worker on this machine run as user ${first}: configure another executor.uid`,
  });
  await other.disposeAsync();
  assert.deepEqual(idsOf(await claimUsers(first, 2, true, closing)), [first, first + 1]);
});

const ownNetwork = ['unshare', '--net'];
const emptyRun = [
  'unshare',
  '--mount',
  'sh',
  '-c',
  'mount -t tmpfs -o ro none /run && exec "$@"',
  '-',
];
const skipWithout = ([file = '', ...args]: readonly string[]) =>
  spawnSync(file, [...args, 'true']).status === 0 ? false : 'cannot make such namespaces';

for (const [where, before, options] of [
  ['', [], {}],
  [' in a network namespace of its own', ownNetwork, { skip: skipWithout(ownNetwork) }],
  [' that can write nothing in /run', emptyRun, { skip: skipWithout(emptyRun) }],
] as const) {
  test(`users of another process${where} are free once it was killed`, options, async () => {
    await using closing = new AsyncDisposableStack();
    const uid = first + 9 - Math.min(before.length, 3);
    const module = path.resolve('src/executor/claim-users.ts');
    const script = `
      import { claimUsers } from ${JSON.stringify(module)};
      await claimUsers(${uid}, 1, true, new AsyncDisposableStack());
      process.stdout.write('claimed');
      setInterval(() => {}, 1_000);`;
    const [file, ...args] = [...before, process.execPath, '--input-type=module', '-e', script];
    const other = spawn(file, args);
    await once(other.stdout, 'data');
    await assert.rejects(claimUsers(uid, 1, true, closing), { code: Code.FAILED_PRECONDITION });
    const exited = once(other, 'exit');
    other.kill('SIGKILL');
    await exited;
    assert.deepEqual(await claimUsers(uid, 1, true, closing), [{ uid, hasAccount: false }]);
  });
}

test('whoever has an account is left out, unless it was chosen', async () => {
  await using closing = new AsyncDisposableStack();
  const [found] = await claimUsers(1, 1, false, closing);
  assert.ok(found && found.uid > 1 && !found.hasAccount);
  assert.deepEqual(await claimUsers(1, 1, true, closing), [{ uid: 1, hasAccount: true }]);
  await assert.rejects(claimUsers(65_530, 5, false, closing), {
    code: Code.FAILED_PRECONDITION,
    message: /there are no 5 users for commands from 65530 to 65533 .* configure executor.uid/,
  });
});
