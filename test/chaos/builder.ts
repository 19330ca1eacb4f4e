import { systemClock } from '../../src/base/clock.ts';
import { newId } from '../../src/base/id.ts';
import { Code, StatusError } from '../../src/base/status.ts';
import { connectRemote, type Remote } from '../../src/cli/remote.ts';
import { prepareAction } from '../../src/client/prepare-action.ts';
import { runAction } from '../../src/client/run-action.ts';
import { Digest } from '../../src/digest/digest.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import type {
  ActionResult,
  ExecutedActionMetadata,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Step } from './build-steps.ts';
import type { SmallDisk } from './machine.ts';

/** What a client may be told while something is broken, and then does again. */
const passing: ReadonlySet<Code> = new Set([
  Code.UNAVAILABLE,
  Code.RESOURCE_EXHAUSTED,
  Code.DEADLINE_EXCEEDED,
  Code.ABORTED,
]);

/** What happened to all builds so far. */
export class History {
  /** Builds that came to their end, and those that somebody interrupted. */
  builds = { ended: 0, interrupted: 0 };
  steps = { executed: 0, cached: 0 };
  /** By what was said, how often something had to be done again. */
  readonly again = new Map<string, number>();
  /** What must not happen. */
  readonly findings: string[] = [];
  /** By the digest of its action, each step that had a result. */
  readonly done = new Map<string, { readonly action: Digest; readonly step: Step }>();
  readonly #disks: ReadonlyMap<string, SmallDisk>;

  /** `disks`: those of workers. */
  constructor(disks: ReadonlyMap<string, SmallDisk>) {
    this.#disks = disks;
  }

  /** Whether the disk of the worker was full while it ran the command. */
  wasDiskFull(ran: ExecutedActionMetadata | undefined): boolean {
    const { workerStartTimestamp: from, workerCompletedTimestamp: to } = ran ?? {};
    const disk = this.#disks.get(ran?.worker ?? '');
    return disk?.wasFull((from?.seconds ?? 0) * 1_000, ((to?.seconds ?? 0) + 1) * 1_000) ?? false;
  }
}

/** Somebody who builds, by way of the client's library. */
export class Builder {
  readonly #port: number;
  readonly #mark: string;
  readonly #history: History;
  #remote: Remote | undefined;

  /** `mark`: an argument of every command, by which its processes are known. */
  constructor(port: number, mark: string, history: History) {
    this.#port = port;
    this.#mark = mark;
    this.#history = history;
  }

  close(): void {
    this.#remote?.[Symbol.dispose]();
  }

  async build(rounds: readonly (readonly Step[])[], signal: AbortSignal): Promise<void> {
    const { builds, findings } = this.#history;
    try {
      for (const steps of rounds) {
        await Promise.all(steps.map((step) => this.#run(step, signal)));
      }
      builds.ended += 1;
    } catch (error) {
      if (signal.aborted) builds.interrupted += 1;
      else findings.push(`a build failed: ${String(error)}`);
    }
  }

  /** Whether what the steps made is there and right. */
  async check(signal: AbortSignal): Promise<void> {
    const { done, findings } = this.#history;
    const { actions } = await this.#connected(signal);
    for (const { action, step } of done.values()) {
      const result = await actions.find(action, signal);
      if (!result) findings.push(`the result of ${step.name} is lost`);
      else await this.#compare(step, result, signal);
    }
  }

  /** Until it has a result. */
  async #run(step: Step, signal: AbortSignal): Promise<void> {
    for (let tries = 0; ; tries += 1) {
      try {
        await this.#runOnce(step, signal);
        return;
      } catch (thrown) {
        signal.throwIfAborted();
        const error = StatusError.from(thrown);
        const { again } = this.#history;
        const what = `${nameOf(error.code)}: ${error.message.replaceAll(/[0-9a-f-]{8,}\S*/g, '…').slice(0, 120)}`;
        again.set(what, (again.get(what) ?? 0) + 1);
        if (tries >= 100) throw error;
        if (!passing.has(error.code) && !(await this.#released(error, signal))) throw error;
        await systemClock.sleep(500, signal);
      }
    }
  }

  async #runOnce(step: Step, signal: AbortSignal): Promise<void> {
    const remote = await this.#connected(signal);
    const { digest, sources } = await prepareAction(
      {
        arguments: ['sh', '-c', step.script, this.#mark],
        environment: new Map([['LC_ALL', 'C']]),
        inputFolder: step.folder,
        workingDirectory: '',
        outputPaths: ['out'],
        platform: [{ name: 'pool', value: 'any' }],
        timeoutMs: undefined,
        doNotCache: false,
        salt: Buffer.from(this.#mark),
      },
      { digestFunction: sha256, knowsOutputPaths: true },
      signal,
    );
    const outcome = await runAction(
      remote,
      { instanceName: 'main', action: digest, sources, skipCacheLookup: false, priority: 0 },
      { uploading: () => {}, state: () => {}, postponed: () => {}, uploadingAgain: () => {} },
      signal,
    );
    if (outcome.kind === 'unfinished') throw outcome.error;
    const { stderrRaw, exitCode, executionMetadata } = outcome.result;
    // A command that finds no room ends as it likes: that is not the worker's to judge (DF-08).
    if (exitCode !== 0 && this.#history.wasDiskFull(executionMetadata)) {
      throw new StatusError(
        Code.RESOURCE_EXHAUSTED,
        `exit code ${exitCode} where the disk was full`,
      );
    }
    if (exitCode !== 0) {
      const said = Buffer.from(stderrRaw).toString();
      throw new StatusError(Code.INTERNAL, `${step.name} ended with ${exitCode}: ${said}`);
    }
    const { steps, done } = this.#history;
    if (outcome.isCached) steps.cached += 1;
    else steps.executed += 1;
    await this.#compare(step, outcome.result, signal);
    done.set(digest.key, { action: digest, step });
  }

  async #compare(step: Step, result: ActionResult, signal: AbortSignal): Promise<void> {
    const { findings } = this.#history;
    const [file] = result.outputFiles;
    if (!file?.digest) {
      findings.push(`${step.name} ended with ${result.exitCode} and made nothing`);
      return;
    }
    const { blobs } = await this.#connected(signal);
    const digest = Digest.fromMessage(sha256, file.digest, 'out');
    const bytes = Buffer.concat(await Array.fromAsync(blobs.read(digest, 0, signal)));
    if (!bytes.equals(step.expected)) findings.push(`${step.name} made something else: ${digest}`);
  }

  /** Lets actions run again that had bad luck with three workers in a row; whether that was it. */
  async #released({ message }: StatusError, signal: AbortSignal): Promise<boolean> {
    if (!message.includes('it appears to take them down')) return false;
    const { admin } = await this.#connected(signal);
    const { actions } = await admin.listQuarantinedActions(signal);
    for (const { actionDigest, digestFunction } of actions) {
      await admin.releaseAction({ actionDigest, digestFunction }, signal);
    }
    return true;
  }

  async #connected(signal: AbortSignal): Promise<Remote> {
    this.#remote ??= await connectRemote(
      {
        address: { host: '127.0.0.1', port: this.#port },
        instanceName: 'main',
        compression: 'off',
        chunking: 'off',
      },
      { clock: systemClock, newId },
      signal,
    );
    return this.#remote;
  }
}

function nameOf(code: Code): string {
  return Object.entries(Code).find(([, value]) => value === code)?.[0] ?? String(code);
}
