import type { Terminal } from '../../src/cli/terminal.ts';

/** A terminal that remembers what it was shown. */
export class FakeTerminal implements Terminal {
  readonly isWatched: boolean;
  /** The answer: lines and bytes, as a reader of standard output gets them. */
  stdout = '';
  /** What stands beside it. */
  stderr = '';
  readonly progressLines: string[] = [];

  constructor(isWatched = false) {
    this.isWatched = isWatched;
  }

  out(line: string): void {
    this.stdout += `${line}\n`;
  }

  note(line: string): void {
    this.stderr += `${line}\n`;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.stdout += Buffer.from(bytes).toString();
  }

  async writeBeside(bytes: Uint8Array): Promise<void> {
    this.stderr += Buffer.from(bytes).toString();
  }

  progress(line: string): void {
    if (line !== '') this.progressLines.push(line);
  }

  style(_style: unknown, text: string): string {
    return text;
  }
}
