import { closeSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { StatusError } from '../base/status.ts';
import {
  type LauncherOrder,
  type LaunchRequest,
  messagesFrom,
  writeMessage,
} from './launcher-messages.ts';
import { type CommandMarks, signalCommand } from './processes.ts';
import { runCommand } from './run-command.ts';

/**
 * The body of a launcher: a small process that runs one command after the other for a worker, because
 * starting a process from a large one blocks it for tens of milliseconds (1.1 GB resident: 63 ms; a
 * launcher: below 1 ms). Takes orders from standard input and reports on standard output. When the
 * worker goes away, even by SIGKILL, standard input ends: the command is killed, and this resolves.
 */
export async function runLauncher(): Promise<void> {
  closeInherited();
  process.umask(0o022);
  endFirstWithoutMemory();
  // Whoever stops the worker and all its processes leaves it to the worker when this one shall go.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => {});
  // A worker that is gone reads no more: the end of standard input says the same.
  process.stdout.on('error', () => {});
  writeMessage(process.stdout, { kind: 'ready' });
  let stop = new AbortController();
  let marks: CommandMarks | undefined;
  let running = Promise.resolve();
  for await (const order of messagesFrom<LauncherOrder>(process.stdin)) {
    if (order.kind === 'cancel') {
      stop.abort();
      continue;
    }
    stop = new AbortController();
    running = report(order.request, stop.signal, (started) => (marks = started));
    void running.then(() => (marks = undefined));
  }
  stop.abort();
  if (marks) signalCommand(marks, 'SIGKILL');
  await running;
}

async function report(
  request: LaunchRequest,
  signal: AbortSignal,
  onStarted: (marks: CommandMarks) => void,
): Promise<void> {
  try {
    const end = await runCommand(request, signal, (marks) => {
      onStarted(marks);
      const { session, startTicks } = marks;
      writeMessage(process.stdout, { kind: 'started', session, startTicks });
    });
    writeMessage(process.stdout, end);
  } catch (error) {
    const { code, message } = StatusError.from(error);
    writeMessage(process.stdout, { kind: 'failed', code, message });
  }
}

/**
 * Closes what this process was started with beyond its standard streams: Node marks only the first
 * descriptors so that commands do not get them, and a service manager or shell may leave others open.
 */
function closeInherited(): void {
  for (const name of readdirSync('/proc/self/fd')) {
    const descriptor = Number(name);
    if (descriptor > 2 && !closesOnExec(descriptor)) closeSync(descriptor);
  }
}

/**
 * A machine without memory left ends what has the most points, of 1000 for all of the memory: commands
 * rather than the worker or the server (WK-26). What this one starts has its points.
 */
function endFirstWithoutMemory(): void {
  const file = '/proc/self/oom_score_adj';
  const points = 500;
  if (Number(readFileSync(file, 'utf8')) < points) writeFileSync(file, String(points));
}

function closesOnExec(descriptor: number): boolean {
  const closeOnExec = 0o2000000;
  try {
    const info = readFileSync(`/proc/self/fdinfo/${descriptor}`, 'utf8');
    const flags = /^flags:\s+(\d+)$/m.exec(info)?.[1] ?? '';
    return (Number.parseInt(flags, 8) & closeOnExec) !== 0;
  } catch {
    // It listed the folder and is closed by now.
    return true;
  }
}
