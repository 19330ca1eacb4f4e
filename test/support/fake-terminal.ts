import type { Terminal } from '../../src/cli/terminal.ts';

/** A terminal that remembers what it was shown. */
export class FakeTerminal implements Terminal {
  readonly isWatched: boolean;
  /** The answer: lines and bytes, as a reader of standard output gets them. */
  stdout = '';
  /** What stands beside it. */
  stderr = '';
  /** What was written to standard output as bytes. */
  readonly written: Buffer[] = [];
  readonly progressLines: string[] = [];

  #waiting: (() => void)[] = [];

  constructor(isWatched = false) {
    this.isWatched = isWatched;
  }

  /** Resolves once what was shown, in the answer or beside it, matches. */
  async shown(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.stdout) && !pattern.test(this.stderr)) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
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
