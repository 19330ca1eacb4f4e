import { type ChildProcessByStdio, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { promisify } from 'node:util';
import { systemClock } from '../base/clock.ts';
import { Code, StatusError } from '../base/status.ts';
import { type CgroupRequest, endLeft, leastOf } from './command-cgroup.ts';
import { endStrays } from './end-strays.ts';
import type { Command, Executor, Outcome, Owner } from './executor.ts';
import { defaultPath } from './find-executable.ts';
import {
  type LauncherReport,
  type LaunchRequest,
  messagesFrom,
  writeMessage,
} from './launcher-messages.ts';
import { passed } from './repeatedly.ts';
import { type CommandMarks, sessionsWritingTo, signalCommand } from './processes.ts';
import type { Sandbox } from './sandbox.ts';
import { removeAllOf } from './user-belongings.ts';

export interface HostExecutorOptions {
  /** The program and arguments that call `runLauncher()`. */
  readonly launcherCommand: readonly [string, ...string[]];
  /** Whom the commands run as; undefined for the worker's own user. Needs the rights of root. */
  readonly owner: Owner | undefined;
  /** What commands are shut in; undefined for nothing. */
  readonly sandbox: Sandbox | undefined;
  /** Where commands are counted; undefined for nowhere. */
  readonly cgroup: CgroupRequest | undefined;
  /** What `prlimit` sets for the launcher, which commands inherit. */
  readonly resourceLimits: readonly string[];
  /** For each file that a command writes; undefined for as much as the disk holds. */
  readonly fileBytesMax: number | undefined;
  /** How long a command may take to end after SIGTERM. */
  readonly graceMs: number;
  /** For standard output and standard error each. */
  readonly outputBytesMax: number;
  /** How long after a command had to be gone its launcher may take to tell. Then it hangs, and is killed. */
  readonly reportMsMax: number;
}

export const defaultHostExecutorOptions = {
  owner: undefined,
  sandbox: undefined,
  cgroup: undefined,
  resourceLimits: [],
  fileBytesMax: undefined,
  // Enough to remove temporary files and print a last line.
  graceMs: 2_000,
  // Test logs reach tens of megabytes; beyond this it is a loop.
  outputBytesMax: 256 * 1024 * 1024,
  // Removing what a command left takes seconds on a busy machine.
  reportMsMax: 60_000,
} as const;

/** A launcher answers within 100 ms; a machine in trouble gets more. */
const startMsMax = 30_000;

interface Launcher {
  readonly process: ChildProcessByStdio<Writable, Readable, null>;
  readonly reports: AsyncIterator<LauncherReport, void>;
}

/**
 * Runs commands as processes of this machine, in a sandbox if it is given one, by a launcher of its own:
 * one command at a time.
 */
export class HostExecutor implements Executor {
  readonly owner: Owner | undefined;
  readonly protectsInputs: boolean;
  readonly #options: HostExecutorOptions;
  #launcher: Launcher | undefined;
  /** Where the last command ran, if it did not end as it should. */
  #left: Pick<LaunchRequest, 'folder' | 'cgroup'> | undefined;

  private constructor(options: HostExecutorOptions) {
    this.#options = options;
    this.owner = options.owner;
    this.protectsInputs = options.owner !== undefined && options.owner.uid !== process.getuid?.();
  }

  /** Starts the launcher. To be called before this process grows: that is what it is for. */
  static async start(options: HostExecutorOptions): Promise<HostExecutor> {
    const executor = new HostExecutor(options);
    await executor.#startLauncher();
    return executor;
  }

  async run(command: Command, inputRoot: string, signal: AbortSignal): Promise<Outcome> {
    signal.throwIfAborted();
    const launcher = this.#launcher ?? (await this.#startLauncher());
    const { owner, graceMs, outputBytesMax, fileBytesMax } = this.#options;
    const cgroup = cgroupWithin(this.#options.cgroup, command);
    const sandbox = this.#options.sandbox?.launchOf(command, inputRoot);
    const environment = Object.entries({ TMPDIR: command.temporary, ...command.environment });
    const limits = { graceMs, outputBytesMax, fileBytesMax };
    const request = { ...command, environment, sandbox, cgroup, owner, ...limits };
    const over = new AbortController();
    const expectEnd = (ms: number) => void this.#killIfLate(launcher, ms + graceMs, over.signal);
    const cancel = () => {
      writeMessage(launcher.process.stdin, { kind: 'cancel' });
      expectEnd(0);
    };
    writeMessage(launcher.process.stdin, { kind: 'run', request });
    expectEnd(command.timeoutMs);
    signal.addEventListener('abort', cancel);
    try {
      return await outcomeFrom(launcher.reports, command);
    } catch (error) {
      this.#left = { folder: command.folder, cgroup };
      // It removed it, unless it was killed.
      if (cgroup) await endLeft(cgroup, new AbortController().signal);
      throw error;
    } finally {
      over.abort();
      signal.removeEventListener('abort', cancel);
    }
  }

  /** A launcher that was stopped, or hangs, would hold its command for ever. */
  async #killIfLate({ process: late }: Launcher, ms: number, over: AbortSignal): Promise<void> {
    if (await passed(ms + this.#options.reportMsMax, over)) late.kill('SIGKILL');
  }

  async clean(): Promise<void> {
    if (!this.#left) return;
    const { folder, cgroup } = this.#left;
    await endStrays([folder]);
    if (cgroup) await endLeft(cgroup, new AbortController().signal);
    const { owner } = this.#options;
    if (owner?.isPrivate === true) await removeAllOf(owner);
    this.#left = undefined;
  }

  /** Ends the launcher, and a command that still runs; waits until both are gone. */
  async close(): Promise<void> {
    const launcher = this.#launcher?.process;
    this.#launcher = undefined;
    if (!launcher || launcher.exitCode !== null || launcher.signalCode !== null) return;
    const exited = once(launcher, 'exit');
    launcher.stdin.end();
    await exited;
  }

  /** Afterwards: Node raises the number of files that it may open when it starts. */
  async #limit(launcher: number): Promise<void> {
    const { resourceLimits, fileBytesMax } = this.#options;
    const fileLimit = fileBytesMax === undefined ? [] : [`--fsize=${fileBytesMax}`];
    const limits = [...resourceLimits, ...fileLimit];
    if (limits.length === 0) return;
    const args = ['--pid', String(launcher), ...limits];
    await promisify(execFile)('prlimit', args, { env: { PATH: defaultPath } });
  }

  async #startLauncher(): Promise<Launcher> {
    const [file, ...args] = this.#options.launcherCommand;
    // Its own session: Ctrl-C at the worker's terminal is not for the commands that still run.
    const started = spawn(file, args, {
      // By which `setpriv` is found.
      env: { PATH: defaultPath },
      stdio: ['pipe', 'pipe', 'inherit'],
      detached: true,
    });
    const launcher = { process: started, reports: messagesFrom<LauncherReport>(started.stdout) };
    const gone = () => {
      if (this.#launcher === launcher) this.#launcher = undefined;
    };
    started.on('error', gone);
    started.on('exit', gone);
    started.stdout.on('end', gone);
    // What is written to a launcher that is gone is lost; the end of its reports tells it.
    started.stdin.on('error', gone);
    if (!(await isReady(launcher))) {
      started.kill('SIGKILL');
      throw new StatusError(Code.INTERNAL, `the launcher of commands, ${file}, did not start`);
    }
    await this.#limit(started.pid ?? 0);
    this.#launcher = launcher;
    return launcher;
  }
}

function cgroupWithin(
  cgroup: CgroupRequest | undefined,
  { memoryBytesMax, cpusMax }: Command,
): CgroupRequest | undefined {
  if (!cgroup) return undefined;
  const { limits } = cgroup;
  const asked = {
    memoryBytesMax: leastOf(limits.memoryBytesMax, memoryBytesMax),
    cpusMax: leastOf(limits.cpusMax, cpusMax),
  };
  return { ...cgroup, limits: { ...limits, ...asked } };
}

async function isReady({ reports }: Launcher): Promise<boolean> {
  const waiting = new AbortController();
  const first = reports.next().then(({ value }) => value?.kind === 'ready');
  const late = systemClock.sleep(startMsMax, waiting.signal).then(() => false);
  try {
    return await Promise.race([first, late]);
  } catch {
    return false;
  } finally {
    late.catch(() => {});
    waiting.abort();
  }
}

/** Waits for the command to end. When the launcher goes first, its command is ended here. */
async function outcomeFrom(
  reports: AsyncIterator<LauncherReport, void>,
  { folder, stdoutPath }: Command,
): Promise<Outcome> {
  let started: Pick<CommandMarks, 'session' | 'startTicks'> | undefined;
  for (;;) {
    const { value: report, done } = await reports.next();
    if (done === true) {
      // It may have gone after the command started and before it said so.
      const found = () =>
        sessionsWritingTo(stdoutPath).map((session) => ({ session, startTicks: undefined }));
      for (const one of started ? [started] : found()) {
        signalCommand({ ...one, folder, sandboxed: false }, 'SIGKILL');
      }
      throw new StatusError(Code.INTERNAL, 'the launcher of commands ended while one was running');
    }
    if (report.kind === 'ended') return report.outcome;
    if (report.kind === 'started') started = report;
    if (report.kind === 'failed') throw new StatusError(report.code, report.message);
    if (report.kind === 'cancelled') {
      throw new StatusError(Code.CANCELLED, 'the command was cancelled');
    }
  }
}
