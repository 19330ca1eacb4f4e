import type { Terminal } from '../../src/cli/terminal.ts';

/** What a program shows takes seconds at most; one that never shows it must not hold up all tests. */
const SHOWN_TIMEOUT_MS = 60_000;

/** A terminal that remembers what it was shown. */
export class FakeTerminal implements Terminal {
  readonly isWatched: boolean;
  readonly width: number | undefined;
  /** The answer: lines and bytes, as a reader of standard output gets them. */
  stdout = '';
  /** What stands beside it. */
  stderr = '';
  /** What was written to standard output as bytes. */
  readonly written: Buffer[] = [];
  readonly progressLines: string[] = [];

  #waiting: (() => void)[] = [];

  constructor(isWatched = false, width?: number) {
    this.isWatched = isWatched;
    this.width = width;
  }

  /** Resolves once what was shown, in the answer or beside it, matches. Fails after a minute. */
  async shown(pattern: RegExp): Promise<void> {
    const late = AbortSignal.timeout(SHOWN_TIMEOUT_MS);
    while (!pattern.test(this.stdout) && !pattern.test(this.stderr)) {
      if (late.aborted) throw new Error(`no ${pattern} in:\n${this.stdout}${this.stderr}`);
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        late.addEventListener('abort', () => resolve(), { once: true });
      });
    }
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  out(line: string): void {
    this.stdout += `${line}\n`;
    this.#wake();
  }

  note(line: string): void {
    this.stderr += `${line}\n`;
    this.#wake();
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.written.push(Buffer.from(bytes));
    this.stdout += Buffer.from(bytes).toString();
    this.#wake();
  }

  async writeBeside(bytes: Uint8Array): Promise<void> {
    this.stderr += Buffer.from(bytes).toString();
    this.#wake();
  }

  progress(line: string): void {
    if (line !== '') this.progressLines.push(line);
  }

  style(_style: unknown, text: string): string {
    return text;
  }
}
