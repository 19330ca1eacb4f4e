import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import type { RunningRole } from '../support/executable.ts';

/** A process that is started again and again, and killed between. */
export class Machine {
  readonly name: string;
  readonly #start: () => Promise<RunningRole>;
  #role: RunningRole | undefined;
  /** What processes of before printed. */
  #earlier = '';

  constructor(name: string, start: () => Promise<RunningRole>) {
    this.name = name;
    this.#start = start;
  }

  get pid(): number {
    return this.#role?.pid ?? 0;
  }

  get output(): string {
    return this.#earlier + (this.#role?.output() ?? '');
  }

  async start(): Promise<void> {
    this.#role = await this.#start();
  }

  async kill(): Promise<void> {
    await this.#role?.kill();
    this.#bury();
  }

  /** Asks it to end, and waits until it has. */
  async stop(): Promise<void> {
    this.#role?.signal('SIGTERM');
    await this.#role?.exited;
    this.#bury();
  }

  pause(): void {
    this.#role?.signal('SIGSTOP');
  }

  goOn(): void {
    this.#role?.signal('SIGCONT');
  }

  #bury(): void {
    this.#earlier += this.#role?.output() ?? '';
    this.#role = undefined;
  }
}

/** A small disk of its own, which can be filled. */
export class SmallDisk {
  readonly #folder: string;
  /** Moments since the Unix epoch. */
  readonly #full: { readonly from: number; to: number }[] = [];

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Undefined where this user may not mount one. */
  static mount(
    t: Pick<TestContext, 'after'>,
    folder: string,
    sizeMiB: number,
  ): SmallDisk | undefined {
    mkdirSync(folder, { recursive: true });
    try {
      const options = ['-t', 'tmpfs', '-o', `size=${sizeMiB}m,mode=755`];
      execFileSync('mount', [...options, 'tmpfs', folder], { stdio: 'ignore' });
    } catch {
      return undefined;
    }
    t.after(() => execFileSync('umount', ['--lazy', folder]));
    return new SmallDisk(folder);
  }

  fill(): void {
    this.#full.push({ from: Date.now(), to: Infinity });
    const part = Buffer.alloc(2 ** 16);
    const file = openSync(this.#ballast, 'w');
    try {
      for (;;) writeSync(file, part);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    } finally {
      closeSync(file);
    }
  }

  empty(): void {
    rmSync(this.#ballast, { force: true });
    for (const time of this.#full) time.to = Math.min(time.to, Date.now());
  }

  /** At some moment between the two, which are milliseconds since the Unix epoch. */
  wasFull(fromMs: number, toMs: number): boolean {
    return this.#full.some(({ from, to }) => from <= toMs && fromMs <= to);
  }

  get #ballast(): string {
    return path.join(this.#folder, 'ballast');
  }
}
