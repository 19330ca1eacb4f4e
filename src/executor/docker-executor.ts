import { readFileSync, statSync } from 'node:fs';
import type { NewId } from '../base/id.ts';
import { Code, StatusError } from '../base/status.ts';
import { imageAsked, refuseDangerous } from './docker-properties.ts';
import { memoryMessage, processesMessage } from './cgroup-files.ts';
import { leastOf } from './command-cgroup.ts';
import { type ContainerCgroups, ContainerMeter } from './container-cgroup.ts';
import { type ContainerLimits, containerOf } from './docker-container.ts';
import type { ContainerEnd, DockerEngine } from './docker-engine.ts';
import type { DockerImages } from './docker-images.ts';
import { copyOutput } from './docker-output.ts';
import type { Command, Executor, Outcome, Owner } from './executor.ts';
import { fileTooLargeExitCode, fileTooLargeMessage } from './own-limits.ts';
import { refuseNul } from './refuse-nul.ts';
import { passed } from './repeatedly.ts';

export interface DockerExecutorOptions {
  readonly engine: DockerEngine;
  readonly images: DockerImages;
  /** Of all containers of the daemon: what one executor learns, the others need not ask. */
  readonly cgroups: ContainerCgroups;
  /** Whom the commands run as, as they see it; undefined for the worker's own user. */
  readonly user: Owner | undefined;
  /** Who root of the containers is on this machine, where the daemon remaps users: others follow. */
  readonly rootInside?: Owner | undefined;
  readonly runtime: string;
  /** The network that actions get which ask for one; undefined when none does. */
  readonly network: string | undefined;
  readonly limits: ContainerLimits;
  /** For Podman: a file with its filter of system calls, by `seccompProfile`. Docker has its own. */
  readonly podmanFilterPath?: string | undefined;
  /** What all containers of this worker are known by, and those of this run of it. */
  readonly labels: Readonly<Record<string, string>>;
  /** How long a command may take to end after SIGTERM. */
  readonly graceMs: number;
  /** For standard output and standard error each. */
  readonly outputBytesMax: number;
  readonly newId: NewId;
}

const nothingToRun =
  /^(?:\[FATAL tini \(\d+\)\] exec .* failed|ERROR \(catatonit:\d+\): failed to exec pid1): (.*)\n$/m;

type Cause = 'timed-out' | 'cancelled' | { readonly message: string };

/** Runs each command in a container of its own, which is gone when it has ended. */
export class DockerExecutor implements Executor {
  readonly owner: Owner | undefined;
  readonly protectsInputs: boolean;
  readonly #options: DockerExecutorOptions;
  /** Containers that could not be removed. */
  readonly #left = new Set<string>();
  /** The daemon did not answer, and has not answered since. */
  #isDaemonAway = false;

  constructor(options: DockerExecutorOptions) {
    this.#options = options;
    const { user, rootInside = { uid: 0, gid: 0 } } = options;
    this.owner = user && { uid: rootInside.uid + user.uid, gid: rootInside.gid + user.gid };
    this.protectsInputs = this.owner !== undefined && this.owner.uid !== process.getuid?.();
  }

  async run(command: Command, inputRoot: string, signal: AbortSignal): Promise<Outcome> {
    try {
      return await this.#run(command, inputRoot, signal);
    } catch (error) {
      if (StatusError.from(error).code === Code.UNAVAILABLE) this.#isDaemonAway = true;
      throw error;
    }
  }

  async #run(command: Command, inputRoot: string, signal: AbortSignal): Promise<Outcome> {
    signal.throwIfAborted();
    const { engine, images, newId, network, limits } = this.#options;
    refuseNul([...command.argv, ...Object.entries(command.environment).flat()]);
    const properties = command.properties ?? new Map<string, string>();
    refuseDangerous(properties);
    if (command.network && network === undefined) {
      throw new StatusError(
        Code.INVALID_ARGUMENT,
        'the action asks for the network (platform property network=on), which this worker does not ' +
          'give: executor.network must be "on-request" there',
      );
    }
    const image = await images.find(images.choose(imageAsked(properties)), signal);
    await this.clean();
    const name = `expbuild-${newId()}`;
    const memoryBytesMax = leastOf(limits.memoryBytesMax, command.memoryBytesMax);
    const body = containerOf(command, inputRoot, {
      ...this.#options,
      name,
      image,
      user: this.#options.user ?? ownUser(),
      network: (command.network ? network : undefined) ?? 'none',
      limits: { ...limits, memoryBytesMax, cpusMax: leastOf(limits.cpusMax, command.cpusMax) },
    });
    // From here on it may exist, whatever the daemon answers.
    this.#left.add(name);
    try {
      const id = await engine.create(body);
      const made = { name, id, memoryBytesMax };
      const run = new ContainerRun(made, command, this.#options);
      const outcome = await run.ended(signal);
      await this.#tryToClean();
      return outcome;
    } catch (error) {
      // To ask a daemon that hangs once more would take as long again.
      if (StatusError.from(error).code !== Code.UNAVAILABLE) await this.#tryToClean();
      throw error;
    }
  }

  /** Removes what `run` could not, when the daemon did not answer; fails while it does not. */
  async clean(): Promise<void> {
    if (this.#isDaemonAway) await this.#options.engine.ping();
    this.#isDaemonAway = false;
    for (const name of this.#left) {
      await this.#options.engine.remove(name);
      this.#left.delete(name);
    }
  }

  /** What cannot be removed now is left to `clean`: the command has ended all the same. */
  async #tryToClean(): Promise<void> {
    await this.clean().catch(() => {});
  }
}

/** The worker's own user, when it cannot choose others. */
function ownUser(): Owner {
  return { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
}

interface MadeContainer {
  readonly name: string;
  readonly id: string;
  readonly memoryBytesMax: number | undefined;
}

/** One command in its container, from its start to its end. */
class ContainerRun {
  readonly #made: MadeContainer;
  readonly #name: string;
  readonly #command: Command;
  readonly #options: DockerExecutorOptions;
  readonly #meter = new ContainerMeter();
  /** Aborts once the container has ended. */
  readonly #over = new AbortController();
  /** Settles, with an error, when the container could not be ended. */
  readonly #stuck = Promise.withResolvers<never>();
  #cause: Cause | undefined;

  constructor(made: MadeContainer, command: Command, options: DockerExecutorOptions) {
    this.#made = made;
    this.#name = made.name;
    this.#command = command;
    this.#options = options;
    this.#stuck.promise.catch(() => {});
  }

  /** The container exists. Its output is attached to before it starts, so that none is lost (DK-06). */
  async ended(signal: AbortSignal): Promise<Outcome> {
    const { engine, outputBytesMax } = this.#options;
    const { stdoutPath, stderrPath, timeoutMs } = this.#command;
    const frames = await engine.attach(this.#name);
    const files = { stdoutPath, stderrPath, bytesMax: outputBytesMax };
    const copied = copyOutput(frames, files, (message) => this.#end({ message }, 0));
    copied.catch(() => {});
    const cancel = () => this.#end('cancelled', this.#options.graceMs);
    try {
      await engine.start(this.#name);
      void this.#measure();
      signal.addEventListener('abort', cancel);
      if (signal.aborted) cancel();
      void this.#expire(timeoutMs);
      void this.#watchDaemon();
      await Promise.race([copied.catch(brokenOutput), this.#stuck.promise]);
      await engine.ended(this.#name);
    } catch (error) {
      await this.#options.cgroups.kill(this.#made.id);
      throw error;
    } finally {
      this.#over.abort();
      signal.removeEventListener('abort', cancel);
      frames.destroy();
      await copied.catch(() => {});
    }
    return this.#outcomeOf(await engine.endOf(this.#name));
  }

  async #expire(timeoutMs: number): Promise<void> {
    if (await passed(timeoutMs, this.#over.signal)) this.#end('timed-out', this.#options.graceMs);
  }

  /** One that hangs keeps the stream of output open: nothing else would end the wait before the timeout (DK-05). */
  async #watchDaemon(): Promise<void> {
    const { engine } = this.#options;
    try {
      while (await passed(engine.callMsMax / 2, this.#over.signal)) await engine.ping();
    } catch (error) {
      this.#stuck.reject(error);
    }
  }

  /** What cannot be measured is left out: the command runs all the same. */
  async #measure(): Promise<void> {
    const { engine, cgroups } = this.#options;
    const findProcess = () => engine.processOf(this.#name).catch(() => undefined);
    const folders = await cgroups.find(this.#made.id, findProcess);
    await this.#meter.watch(folders, this.#over.signal);
  }

  /** Asks the command to end, and ends it when it does not within `graceMs`. */
  #end(cause: Cause, graceMs: number): void {
    if (this.#cause !== undefined) return;
    this.#cause = cause;
    void this.#kill(graceMs).catch((error: unknown) => this.#stuck.reject(error));
  }

  async #kill(graceMs: number): Promise<void> {
    const { engine } = this.#options;
    if (graceMs > 0) await engine.kill(this.#name, 'SIGTERM');
    if (await passed(graceMs, this.#over.signal)) await engine.kill(this.#name, 'SIGKILL');
  }

  #outcomeOf({ exitCode, isOutOfMemory, wallTimeMs }: ContainerEnd): Outcome {
    const cause = this.#cause;
    if (cause === 'cancelled') throw new StatusError(Code.CANCELLED, 'the command was cancelled');
    const { memoryPeakBytes, oomKills, refusedForks, ...cpu } = this.#meter.use;
    const usage = { ...cpu, maxResidentBytes: memoryPeakBytes };
    const measured = { usage, wallTimeMs };
    if (cause === 'timed-out') return { kind: 'timed-out', ...measured };
    if (cause !== undefined) return { kind: 'output-limit', ...cause, ...measured };
    this.#refuseUnstarted(exitCode);
    // Podman does not always say so.
    if (isOutOfMemory || oomKills > 0) {
      // What was seen before is not the peak.
      const peakBytes = oomKills > 0 ? memoryPeakBytes : undefined;
      const { memoryBytesMax } = this.#made;
      const message = memoryMessage(memoryBytesMax, peakBytes);
      if (exitCode === 0) return { kind: 'exited', exitCode, message, ...measured };
      return { kind: 'resource-limit', exitCode, message, memoryBytesMax, ...measured };
    }
    if (exitCode !== 0 && refusedForks > 0) {
      const message = processesMessage(this.#options.limits.processesMax);
      return { kind: 'resource-limit', exitCode, message, ...measured };
    }
    if (exitCode === fileTooLargeExitCode) {
      const message = fileTooLargeMessage(this.#options.limits.fileBytesMax);
      return { kind: 'resource-limit', exitCode, message, ...measured };
    }
    return { kind: 'exited', exitCode, ...measured };
  }

  /** The first process, tini or Podman's catatonit, says so when it finds nothing to run (ACT-11). */
  #refuseUnstarted(exitCode: number): void {
    const { stderrPath } = this.#command;
    if (![1, 126, 127].includes(exitCode) || statSync(stderrPath).size > 1_000) return;
    const [, why] = nothingToRun.exec(readFileSync(stderrPath, 'utf8')) ?? [];
    if (why === undefined) return;
    const name = JSON.stringify(this.#command.argv[0].slice(0, 200));
    throw new StatusError(Code.INVALID_ARGUMENT, `cannot run ${name} in the container: ${why}`);
  }
}

function brokenOutput(error: Error): never {
  const message = `the output of a container broke off: ${error.message}`;
  throw new StatusError(Code.UNAVAILABLE, message, { cause: error });
}
