import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type CommandMarks, signalCommand, startTicksOf } from '../../src/executor/processes.ts';

// The program of a test, alone in a namespace of processes: their numbers are given as it wants.

/** Threads take numbers too. */
const triesMax = 1_000;

function begin(...argv: readonly [string, ...string[]]): ChildProcess {
  const [file, ...args] = argv;
  return spawn(file, args, { stdio: ['ignore', 'pipe', 'ignore'], detached: true });
}

function marksOf({ pid = 0 }: ChildProcess, sandboxed = false): CommandMarks {
  const startTicks = startTicksOf(pid);
  assert.ok(startTicks !== undefined);
  return { session: pid, startTicks, folder: '/nowhere', sandboxed };
}

/**
 * A process of a session of its own that has the number of one that was there before. The kernel counts time
 * in hundredths of a second, in which it gives fewer numbers than there are.
 */
async function beginAs({ session: number, startTicks }: CommandMarks): Promise<ChildProcess> {
  for (let tries = 0; tries < triesMax; tries++) {
    writeFileSync('/proc/sys/kernel/ns_last_pid', String(number - 1));
    const child = begin('sleep', '1000');
    if (child.pid === number && startTicksOf(number) !== startTicks) return child;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  throw new Error(`no process was given the number ${number}`);
}

async function endsBySignal(child: ChildProcess): Promise<string | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return child.signalCode;
}

const running = begin('sleep', '1000');
signalCommand(marksOf(running), 'SIGTERM');
assert.equal(await endsBySignal(running), 'SIGTERM', 'a command that runs is signalled');

const parent = begin('sh', '-c', 'sleep 1000 & exit 7');
const left = marksOf(parent);
await once(parent, 'exit');
// Closed by whoever has it last.
const closed = once(parent.stdout?.resume() ?? parent, 'close');
signalCommand(left, 'SIGKILL');
await closed;

for (const sandboxed of [false, true]) {
  const gone = begin('true');
  const marks = marksOf(gone, sandboxed);
  await once(gone, 'exit');
  const stranger = await beginAs(marks);
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    assert.equal(signalCommand(marks, signal), false, 'nothing of it is left');
  }
  stranger.kill('SIGHUP');
  assert.equal(await endsBySignal(stranger), 'SIGHUP', 'no other signal came before');
}
process.stdout.write('spared\n');
