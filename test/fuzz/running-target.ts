import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import type { TargetReport } from './target.ts';

/** A server in a process of its own: what kills it, kills no test. */
export class RunningTarget {
  readonly #process: ChildProcess;
  #stderr = '';

  private constructor(child: ChildProcess) {
    this.#process = child;
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#stderr += text));
  }

  /** It keeps its data in `folder`, and its objects in `heapMiB`. */
  static async start(folder: string, heapMiB = 2048): Promise<RunningTarget> {
    const child = fork(path.join(import.meta.dirname, 'target.ts'), [folder], {
      execArgv: ['--expose-gc', `--max-old-space-size=${heapMiB}`],
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
      serialization: 'advanced',
    });
    const target = new RunningTarget(child);
    await target.#answer();
    return target;
  }

  /** How it ended, if it has: an exception or a rejection that nobody handles ends it too. */
  get death(): string | undefined {
    const { exitCode, signalCode } = this.#process;
    if (exitCode === null && signalCode === null) return undefined;
    return `the server's process ended with ${exitCode ?? signalCode}: ${this.#stderr}`;
  }

  /** What it says of itself, now or once it has stopped. */
  async report(question: 'now' | 'stop'): Promise<TargetReport> {
    if (this.death !== undefined) throw new Error(this.death);
    this.#process.send(question);
    return (await this.#answer()) as TargetReport;
  }

  async kill(): Promise<void> {
    if (this.death !== undefined) return;
    this.#process.kill('SIGKILL');
    await once(this.#process, 'exit');
  }

  async #answer(): Promise<unknown> {
    const ended = once(this.#process, 'close').then(() => {
      throw new Error(this.death);
    });
    const [answer] = (await Promise.race([once(this.#process, 'message'), ended])) as [unknown];
    ended.catch(() => {});
    return answer;
  }
}
