import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test, type TestContext } from 'node:test';
import { FakeTerminal } from '../support/fake-terminal.ts';
import { startFleet } from '../support/fleet.ts';
import { gate } from '../support/gate.ts';

const hashOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

/** The name of the operation that a client with --verbose tells of. */
async function operationShown(terminal: FakeTerminal): Promise<string> {
  const pattern = /\(operation (\S+)\)/;
  await terminal.shown(pattern);
  return pattern.exec(terminal.stderr)?.[1] ?? '';
}

async function start(t: TestContext, script: string) {
  const fleet = await startFleet(t);
  await fleet.worker('one');
  const terminal = new FakeTerminal();
  const ran = fleet.cli(['run', '--verbose', '--', 'sh', '-c', script], { terminal });
  return { ...fleet, terminal, ran };
}

test('LOG-10, EXE-63, RCL-08: output is shown while the command runs, and once', async (t) => {
  const { wait, open } = gate(t);
  const script = `echo one; echo beside >&2; ${wait}; echo two; exit 3`;
  const { terminal, ran } = await start(t, script);
  await terminal.shown(/^one$/m);
  await terminal.shown(/^beside$/m);
  assert.equal(terminal.stdout, 'one\n');
  await open();
  const { exitCode, stdout, stderr } = await ran;
  assert.equal(exitCode, 3, stderr);
  assert.equal(stdout, 'one\ntwo\n');
  assert.equal(stderr.match(/^beside$/gm)?.length, 1);
});

test('LOG-06, LOG-07: logs -f follows an action to its end, logs shows what is there', async (t) => {
  const { wait, open } = gate(t);
  const { cli, terminal, ran } = await start(t, `echo one; ${wait}; echo two; echo err >&2`);
  await terminal.shown(/^one$/m);
  const name = await operationShown(terminal);
  const now = await cli(['logs', name]);
  assert.deepEqual([now.exitCode, now.stdout, now.stderr], [0, 'one\n', '']);
  const follower = new FakeTerminal();
  const followed = cli(['logs', '-f', name], { terminal: follower });
  await follower.shown(/^one$/m);
  await open();
  await ran;
  const ended = await followed;
  assert.deepEqual([ended.exitCode, ended.stdout, ended.stderr], [0, 'one\ntwo\n', 'err\n']);
  const later = await cli(['logs', name.slice(name.lastIndexOf('/') + 1)]);
  assert.deepEqual([later.exitCode, later.stdout, later.stderr], [0, 'one\ntwo\n', 'err\n']);
});

test('bytes that are no text come through as they are', async (t) => {
  const { wait, open } = gate(t);
  const script = `printf '\\377\\000\\r\\n'; ${wait}; head -c 3000000 /dev/zero; printf '\\200'`;
  const { terminal, ran } = await start(t, script);
  await terminal.shown(/\r\n/);
  await open();
  assert.equal((await ran).exitCode, 0);
  const expected = Buffer.concat([
    Buffer.from([255, 0, 13, 10]),
    Buffer.alloc(3_000_000),
    Buffer.from([128]),
  ]);
  assert.equal(hashOf(Buffer.concat(terminal.written)), hashOf(expected));
});
