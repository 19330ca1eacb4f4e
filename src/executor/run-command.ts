import { type ChildProcess, spawn, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fchownSync, fstatSync, ftruncateSync, openSync, statSync } from 'node:fs';
import { Code, StatusError } from '../base/status.ts';
import { CommandCgroup } from './command-cgroup.ts';
import type { Outcome } from './executor.ts';
import { defaultPath, findExecutable } from './find-executable.ts';
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
import { killOfUser, removeBelongings } from './user-belongings.ts';

/** Short commands are measured too, and long ones cost nothing. */
const firstSampleMs = 10;
const sampleMsMax = 200;
/** A file that was just written may still be open in a process that is about to execute. */
const busyRetriesMax = 8;

/** 128 and the number of SIGKILL, as shells have it. */
const killedExitCode = 137;

type Cause = 'timed-out' | 'cancelled' | 'output-limit';

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
  const outputs: number[] = [];
  try {
    for (const file of [request.stdoutPath, request.stderrPath])
      outputs.push(openOutput(request, file));
    const before = childrenCpuTime();
    const cgroup = request.cgroup && CommandCgroup.make(request.cgroup);
    const child = await start(request, outputs, cgroup);
    const running = new Running(request, child, outputs, cgroup);
    onStarted(running.marks);
    const ended = await running.ended(signal);
    if (ended.kind === 'cancelled') return ended;
    const after = childrenCpuTime();
    const usage = {
      userTimeMs: after.userTimeMs - before.userTimeMs,
      systemTimeMs: after.systemTimeMs - before.systemTimeMs,
      maxResidentBytes: running.maxResidentBytes,
    };
    const outcome = { ...ended, usage, wallTimeMs: running.wallTimeMs } as Outcome;
    return { kind: 'ended', outcome };
  } finally {
    for (const output of outputs) closeSync(output);
  }
}

/** A command that has started. */
class Running {
  readonly marks: CommandMarks;
  maxResidentBytes: number | undefined;
  wallTimeMs = 0;
  readonly #request: LaunchRequest;
  readonly #outputs: readonly number[];
  readonly #cgroup: CommandCgroup | undefined;
  readonly #exit: Promise<unknown[]>;
  readonly #startedAt = performance.now();
  /** Aborts once the command's first process has ended. */
  readonly #over = new AbortController();
  #cause: Cause | undefined;

  constructor(
    request: LaunchRequest,
    child: ChildProcess,
    outputs: readonly number[],
    cgroup: CommandCgroup | undefined,
  ) {
    this.#request = request;
    this.#cgroup = cgroup;
    this.#outputs = outputs;
    const { folder, sandbox } = request;
    const session = child.pid ?? 0;
    // Nobody has waited for it yet, even if it has ended.
    const startTicks = startTicksOf(session);
    this.marks = { session, startTicks, folder, sandboxed: sandbox !== undefined };
    this.#exit = once(child, 'exit');
  }

  async ended(signal: AbortSignal) {
    const cancel = () => void this.#end('cancelled', this.#request.graceMs);
    signal.addEventListener('abort', cancel);
    if (signal.aborted) cancel();
    void this.#expire();
    void this.#sample();
    const [exitCode, killedBy] = await this.#exit;
    this.wallTimeMs = this.#ageMs;
    this.#over.abort();
    signal.removeEventListener('abort', cancel);
    // A sandbox that ends by itself has ended with all that was in it.
    const exceeded = this.#cgroup?.exceeded();
    if (!this.marks.sandboxed || killedBy !== null || this.#cgroup) await this.#endAll();
    await this.#removeCgroup();
    await this.#removeBelongings();
    const message = this.#trimOutputs();
    if (this.#cause === 'cancelled') return { kind: 'cancelled' } as const;
    if (message !== undefined) return { kind: 'output-limit', message } as const;
    if (this.#cause !== undefined) return { kind: this.#cause } as const;
    if (exceeded && exitCode !== 0) {
      const { kind, message: why, memoryBytesMax } = exceeded;
      const code = kind === 'memory' ? killedExitCode : Number(exitCode ?? killedExitCode);
      return { kind: 'resource-limit', exitCode: code, message: why, memoryBytesMax } as const;
    }
    const tooLarge = this.#fileTooLarge(exitCode, killedBy);
    if (tooLarge) return tooLarge;
    if (killedBy !== null && this.marks.sandboxed) throw sandboxKilled(killedBy);
    if (killedBy !== null) return { kind: 'killed', signal: killedBy } as const;
    // Memory is as full as the other processes make it: a command that does without one may do more tomorrow.
    const why = exceeded?.kind === 'memory' ? exceeded.message : undefined;
    return { kind: 'exited', exitCode, message: why } as const;
  }

  #fileTooLarge(exitCode: unknown, killedBy: unknown) {
    const { fileBytesMax } = this.#request;
    if (fileBytesMax === undefined) return undefined;
    if (killedBy !== 'SIGXFSZ' && exitCode !== fileTooLargeExitCode) return undefined;
    const message = fileTooLargeMessage(fileBytesMax);
    return { kind: 'resource-limit', exitCode: fileTooLargeExitCode, message } as const;
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
      // oxlint-disable-next-line no-await-in-loop -- samples are apart in time
      if (!(await passed(ms, this.#over.signal))) return;
      const peak = peakResidentBytes(this.marks.session);
      if (peak !== undefined) this.maxResidentBytes = Math.max(this.maxResidentBytes ?? 0, peak);
      if (this.#outputs.some((output) => fstatSync(output).size > this.#request.outputBytesMax)) {
        void this.#end('output-limit', 0);
      }
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
      await removeBelongings(owner, Date.now() - this.#ageMs);
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

  /** Cuts each output to the limit; says which was beyond it. */
  #trimOutputs(): string | undefined {
    const { outputBytesMax } = this.#request;
    const large = this.#outputs.map((output) => fstatSync(output).size > outputBytesMax);
    for (const [index, output] of this.#outputs.entries()) {
      if (large[index] === true) ftruncateSync(output, outputBytesMax);
    }
    if (!large.includes(true)) return undefined;
    return `standard ${large[0] === true ? 'output' : 'error'} is larger than ${outputBytesMax} bytes`;
  }
}

async function start(
  request: LaunchRequest,
  outputs: readonly number[],
  cgroup: CommandCgroup | undefined,
): Promise<ChildProcess> {
  const { argv, owner, sandbox } = request;
  refuseNul([...argv, ...request.environment.flat()]);
  if (!sandbox) return spawned(directly(request), outputs, owner, cgroup);
  const filter = openSync(sandbox.filterPath, 'r');
  try {
    const { file, args } = sandbox;
    const program = { file, args, options: { cwd: '/', env: {} } };
    return await spawned(program, [...outputs, filter], owner, cgroup);
  } finally {
    closeSync(filter);
  }
}

interface Program {
  readonly file: string;
  readonly args: readonly string[];
  readonly options: SpawnOptions;
}

function directly({ argv, environment, workingDirectory }: LaunchRequest): Program {
  if (statSync(workingDirectory, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `${workingDirectory} is not a directory to run in`,
    );
  }
  const variables = new Map(environment);
  const searchPath = variables.get('PATH') ?? defaultPath;
  const env = Object.fromEntries(variables.set('PATH', searchPath));
  return {
    file: findExecutable(argv[0], searchPath, workingDirectory),
    args: argv.slice(1),
    options: { argv0: argv[0], cwd: workingDirectory, env },
  };
}

async function spawned(
  { file, args, options }: Program,
  descriptors: readonly number[],
  owner: LaunchRequest['owner'],
  cgroup: CommandCgroup | undefined,
): Promise<ChildProcess> {
  const ids = owner && { uid: owner.uid, gid: owner.gid };
  for (let retries = 0; ; retries++) {
    try {
      const stdio = ['ignore' as const, ...descriptors];
      const fork = () => spawn(file, args, { ...options, stdio, detached: true, ...ids });
      const child = cgroup ? cgroup.around(fork) : fork();
      // oxlint-disable-next-line no-await-in-loop -- returned when it works
      await once(child, 'spawn');
      return child;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ETXTBSY' || retries === busyRetriesMax) throw whyNotStarted(file, error);
      // oxlint-disable-next-line no-await-in-loop -- 1 ms to 128 ms
      await passed(2 ** retries, new AbortController().signal);
    }
  }
}

/** A signal that ends its command is an exit code; this one came from outside. */
function sandboxKilled(signal: unknown): StatusError {
  return new StatusError(
    Code.INTERNAL,
    `the sandbox of the command was ended by ${String(signal)} from outside`,
  );
}

/** What a retry cannot help is the action's fault; the rest is the machine's (ACT-11, WRK-18). */
function whyNotStarted(file: string, error: unknown): StatusError {
  const codes: Readonly<Record<string, Code>> = {
    ENOENT: Code.INVALID_ARGUMENT,
    EACCES: Code.INVALID_ARGUMENT,
    ENOEXEC: Code.INVALID_ARGUMENT,
    ELOOP: Code.INVALID_ARGUMENT,
    E2BIG: Code.INVALID_ARGUMENT,
    EAGAIN: Code.RESOURCE_EXHAUSTED,
    ENOMEM: Code.RESOURCE_EXHAUSTED,
    EMFILE: Code.RESOURCE_EXHAUSTED,
  };
  const { code = '', message } = error as NodeJS.ErrnoException;
  const hint = code === 'E2BIG' ? ': its arguments and environment are too large' : '';
  return new StatusError(codes[code] ?? Code.INTERNAL, `cannot run ${file}: ${message}${hint}`);
}

/** Fails with INVALID_ARGUMENT for what no argument or variable can hold. */
export function refuseNul(texts: readonly string[]): void {
  const text = texts.find((other) => other.includes('\0'));
  if (text === undefined) return;
  throw new StatusError(
    Code.INVALID_ARGUMENT,
    `${JSON.stringify(text.slice(0, 200))} holds a NUL, which no argument or variable can`,
  );
}

/** Made here, so that nobody waits before it; the command may open it again as /dev/stdout. */
function openOutput({ owner }: LaunchRequest, file: string): number {
  const output = openSync(file, 'ax', 0o600);
  if (owner) fchownSync(output, owner.uid, owner.gid);
  return output;
}
