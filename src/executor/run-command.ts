import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Code, StatusError } from '../base/status.ts';
import { CommandCgroup, type ExceededLimit } from './command-cgroup.ts';
import { CommandOutput } from './command-output.ts';
import type { Outcome } from './executor.ts';
import type { LauncherReport, LaunchRequest } from './launcher-messages.ts';
import { fileTooLargeExitCode, fileTooLargeMessage } from './own-limits.ts';
import {
  childrenCpuTime,
  type CommandMarks,
  killSandboxed,
  peakResidentBytes,
  signalCommand,
  startTicksOf,
} from './processes.ts';
import { killWaitMs, passed, repeatedly } from './repeatedly.ts';
import { startCommand } from './start-command.ts';
import { killOfUser, removeBelongings } from './user-belongings.ts';

/** Short commands are measured too, and long ones cost nothing. */
const firstSampleMs = 10;
const sampleMsMax = 200;

/** 128 and the number of SIGKILL, as shells have it. */
const killedExitCode = 137;

/** Why it was ended here. */
type Cause = 'timed-out' | 'cancelled' | 'output-limit';

/** Of its first process. */
type Exit =
  | readonly [code: number, killedBy: null]
  | readonly [code: null, killedBy: NodeJS.Signals];

type WithoutUsage<O> = O extends unknown ? Omit<O, 'usage' | 'wallTimeMs'> : never;
type End = WithoutUsage<Outcome> | { readonly kind: 'cancelled' };

/**
 * Runs one command in a session of its own and ends all its processes, however the command ends
 * (WRK-07, WRK-10, OPS-06). Its standard input is empty, and nothing of this process reaches it but what the
 * request says (ACT-13, WRK-08, WRK-23). Throws when it cannot be run.
 */
export async function runCommand(
  request: LaunchRequest,
  signal: AbortSignal,
  onStarted: (marks: CommandMarks) => void,
): Promise<LauncherReport> {
  using output = CommandOutput.open(request);
  const before = childrenCpuTime();
  const cgroup = request.cgroup && CommandCgroup.make(request.cgroup);
  const child = await startCommand(request, output.descriptors, cgroup);
  const running = new Running(request, child, output, cgroup);
  onStarted(running.marks);
  const end = await running.ended(signal);
  if (end.kind === 'cancelled') return end;
  const after = childrenCpuTime();
  const usage = {
    userTimeMs: after.userTimeMs - before.userTimeMs,
    systemTimeMs: after.systemTimeMs - before.systemTimeMs,
    maxResidentBytes: running.maxResidentBytes,
  };
  return { kind: 'ended', outcome: { ...end, usage, wallTimeMs: running.wallTimeMs } };
}

/** A command that has started. */
class Running {
  readonly marks: CommandMarks;
  maxResidentBytes: number | undefined;
  wallTimeMs = 0;
  readonly #request: LaunchRequest;
  readonly #output: CommandOutput;
  readonly #cgroup: CommandCgroup | undefined;
  readonly #exit: Promise<unknown>;
  readonly #startedAt = performance.now();
  /** Aborts once the command's first process has ended. */
  readonly #over = new AbortController();
  #cause: Cause | undefined;
  /** Which output was larger than it may be, at any look. */
  #excess: string | undefined;

  constructor(
    request: LaunchRequest,
    child: ChildProcess,
    output: CommandOutput,
    cgroup: CommandCgroup | undefined,
  ) {
    this.#request = request;
    this.#cgroup = cgroup;
    this.#output = output;
    const { folder, sandbox } = request;
    const session = child.pid ?? 0;
    // Nobody has waited for it yet, even if it has ended.
    const startTicks = startTicksOf(session);
    this.marks = { session, startTicks, folder, sandboxed: sandbox !== undefined };
    this.#exit = once(child, 'exit');
  }

  /** Settles when nothing of the command is left. */
  async ended(signal: AbortSignal): Promise<End> {
    const cancel = () => void this.#end('cancelled', this.#request.graceMs);
    signal.addEventListener('abort', cancel);
    if (signal.aborted) cancel();
    void this.#expire();
    void this.#sample();
    const exit = (await this.#exit) as Exit;
    this.wallTimeMs = this.#ageMs;
    this.#over.abort();
    signal.removeEventListener('abort', cancel);
    const exceeded = this.#cgroup?.exceeded();
    const [, killedBy] = exit;
    // A sandbox that ends by itself has ended with all that was in it.
    if (!this.marks.sandboxed || killedBy !== null || this.#cgroup) await this.#endAll();
    await this.#removeCgroup();
    await this.#removeBelongings();
    this.#excess ??= this.#output.excess();
    this.#output.trim();
    return this.#endOf(exit, exceeded);
  }

  /** What of all that happened to the command is how it ended. */
  #endOf([exitCode, killedBy]: Exit, exceeded: ExceededLimit | undefined): End {
    if (this.#cause === 'cancelled') return { kind: 'cancelled' };
    if (this.#excess !== undefined) return { kind: 'output-limit', message: this.#excess };
    if (this.#cause === 'timed-out') return { kind: 'timed-out' };
    if (exceeded && exitCode !== 0) {
      const { kind, message, memoryBytesMax } = exceeded;
      const code = kind === 'memory' ? killedExitCode : (exitCode ?? killedExitCode);
      return { kind: 'resource-limit', exitCode: code, message, memoryBytesMax };
    }
    const { fileBytesMax } = this.#request;
    const isFileTooLarge = killedBy === 'SIGXFSZ' || exitCode === fileTooLargeExitCode;
    if (isFileTooLarge && fileBytesMax !== undefined) {
      const message = fileTooLargeMessage(fileBytesMax);
      return { kind: 'resource-limit', exitCode: fileTooLargeExitCode, message };
    }
    if (killedBy !== null && this.marks.sandboxed) throw sandboxKilled(killedBy);
    if (killedBy !== null) return { kind: 'killed', signal: killedBy };
    // Memory is as full as the other processes make it: a command that does without one may do more tomorrow.
    const message = exceeded?.kind === 'memory' ? exceeded.message : undefined;
    return { kind: 'exited', exitCode, message };
  }

  get #ageMs(): number {
    return performance.now() - this.#startedAt;
  }

  async #expire(): Promise<void> {
    if (await passed(this.#request.timeoutMs, this.#over.signal)) {
      await this.#end('timed-out', this.#request.graceMs);
    }
  }

  /** Asks all its processes to end, and ends them when they do not within `graceMs`. */
  async #end(cause: Cause, graceMs: number): Promise<void> {
    if (this.#cause !== undefined) return;
    this.#cause = cause;
    signalCommand(this.marks, 'SIGTERM');
    if (await passed(graceMs, this.#over.signal)) signalCommand(this.marks, 'SIGKILL');
  }

  async #sample(): Promise<void> {
    for (let ms = firstSampleMs; ; ms = Math.min(2 * ms, sampleMsMax)) {
      if (!(await passed(ms, this.#over.signal))) return;
      const peak = peakResidentBytes(this.marks.session);
      if (peak !== undefined) this.maxResidentBytes = Math.max(this.maxResidentBytes ?? 0, peak);
      this.#excess ??= this.#output.excess();
      if (this.#excess !== undefined) void this.#end('output-limit', 0);
    }
  }

  /** Ends what the command left behind. */
  async #endAll(): Promise<void> {
    if (await repeatedly(() => !this.#isAnyLeft())) return;
    throw new StatusError(
      Code.INTERNAL,
      `processes of session ${this.marks.session} did not end within ${killWaitMs} ms of SIGKILL`,
    );
  }

  /** A sandbox takes with it what was made in it. */
  async #removeBelongings(): Promise<void> {
    const { owner, sandbox } = this.#request;
    if (owner?.isPrivate === true && !sandbox) {
      await removeBelongings(owner);
    }
  }

  /** The kernel may take a moment to be done with what ended. What stays is removed by the next command. */
  async #removeCgroup(): Promise<void> {
    const cgroup = this.#cgroup;
    if (cgroup) await repeatedly(() => cgroup.remove());
  }

  /** Ends what is left once the first process has ended; false when nothing is. */
  #isAnyLeft(): boolean {
    const { marks } = this;
    const isAnyCounted = this.#cgroup?.kill();
    // Only who has the rights of the worker can leave its cgroup.
    const isAllCounted = marks.sandboxed || this.#request.owner !== undefined;
    if (isAnyCounted === true || (isAnyCounted === false && isAllCounted)) return isAnyCounted;
    if (marks.sandboxed) return killSandboxed(marks.folder);
    const isAnySignalled = signalCommand(marks, 'SIGKILL', this.#ageMs);
    const { owner } = this.#request;
    return (owner?.isPrivate === true && killOfUser(owner)) || isAnySignalled;
  }
}

/** A signal that ends its command is an exit code; this one came from outside. */
function sandboxKilled(signal: NodeJS.Signals): StatusError {
  return new StatusError(
    Code.INTERNAL,
    `the sandbox of the command was ended by ${signal} from outside`,
  );
}
