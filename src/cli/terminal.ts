import { styleText } from 'node:util';

type Style = Parameters<typeof styleText>[0];

/** What a command may do to the person or script in front of it. */
export interface Terminal {
  /** One line of the answer. */
  out(line: string): void;
  /** One line beside the answer: what goes on, warnings, errors. */
  note(line: string): void;
  /** Bytes of the answer as they are; resolves when they are taken. */
  write(bytes: Uint8Array): Promise<void>;
  /** The same, beside the answer. */
  writeBeside(bytes: Uint8Array): Promise<void>;
  /** Shows a line that the next one replaces; `''` removes it. Nothing when nobody watches. */
  progress(line: string): void;
  /** Colour, where it is wanted. For `note` only. */
  style(style: Style, text: string): string;
  /** Whether a person watches what stands beside the answer. */
  readonly isWatched: boolean;
  /** Characters in a line of the answer; undefined when no person reads it, but a file or a program. */
  readonly width: number | undefined;
}

/** The streams of this process. A reader that has gone, such as `head`, is no error. */
export function processTerminal(): Terminal {
  const { stdout, stderr } = process;
  stdout.on('error', ignoreGoneReader);
  stderr.on('error', ignoreGoneReader);
  let shown = '';
  const clear = () => {
    if (shown !== '') stderr.write('\r\u001B[K');
    shown = '';
  };
  const beside = (text: string) => {
    clear();
    stderr.write(text);
  };
  return {
    out: (line) => {
      clear();
      stdout.write(`${line}\n`);
    },
    note: (line) => beside(`${line}\n`),
    write: (bytes) => {
      clear();
      return taken(stdout, bytes);
    },
    writeBeside: (bytes) => {
      clear();
      return taken(stderr, bytes);
    },
    progress: (line) => {
      if (!stderr.isTTY) return;
      clear();
      shown = line.slice(0, Math.max(0, (stderr.columns || 80) - 1));
      stderr.write(shown);
    },
    style: (style, text) => styleText(style, text, { stream: stderr }),
    isWatched: stderr.isTTY,
    get width() {
      return stdout.isTTY ? stdout.columns || 80 : undefined;
    },
  };
}

function taken(stream: NodeJS.WriteStream, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    stream.write(bytes, () => resolve());
  });
}

function ignoreGoneReader(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
}
