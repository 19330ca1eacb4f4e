import { writeFile } from 'node:fs/promises';
import { StatusError } from '../../src/base/status.ts';
import type { Command, Executor, Outcome } from '../../src/executor/executor.ts';

/** Runs nothing: a command ends when the test says so. */
export class HeldExecutor implements Executor {
  readonly owner = undefined;
  readonly protectsInputs = false;
  /** What runs, by the third argument: the script. */
  readonly running = new Map<string, (outcome: Partial<Outcome> | Error) => void>();
  #changed = Promise.withResolvers<void>();

  async run(command: Command, _inputRoot: string, signal: AbortSignal): Promise<Outcome> {
    await writeFile(command.stdoutPath, '');
    await writeFile(command.stderrPath, '');
    const script = command.argv[2] ?? '';
    const ended = Promise.withResolvers<Partial<Outcome> | Error>();
    signal.addEventListener('abort', () => ended.resolve(StatusError.from(signal.reason)));
    this.running.set(script, ended.resolve);
    this.#notify();
    const outcome = await ended.promise;
    this.running.delete(script);
    this.#notify();
    if (outcome instanceof Error) throw outcome;
    const usage = { userTimeMs: 0, systemTimeMs: 0, maxResidentBytes: undefined };
    return { usage, wallTimeMs: 1, kind: 'exited', exitCode: 0, ...outcome } as Outcome;
  }

  /** Resolves once the command runs, with what ends it. */
  async started(script: string): Promise<(outcome: Partial<Outcome> | Error) => void> {
    for (;;) {
      const end = this.running.get(script);
      if (end) return end;
      await this.#changed.promise;
    }
  }

  async ended(script: string): Promise<void> {
    while (this.running.has(script)) await this.#changed.promise;
  }

  #notify(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}
