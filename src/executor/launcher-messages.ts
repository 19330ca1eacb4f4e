import type { Readable, Writable } from 'node:stream';
import type { Code } from '../base/status.ts';
import type { CgroupRequest } from './command-cgroup.ts';
import type { Outcome, Owner } from './executor.ts';

/** A program that shuts a command in, and what it needs. */
export interface SandboxedLaunch {
  readonly file: string;
  /** The command among them. */
  readonly args: readonly string[];
  /** What it is given as its descriptor 3. */
  readonly filterPath: string;
}

/** What a launcher needs to run one command. */
export interface LaunchRequest {
  readonly argv: readonly [string, ...string[]];
  readonly environment: readonly (readonly [string, string])[];
  readonly workingDirectory: string;
  readonly folder: string;
  readonly stdoutPath: string;
  readonly stderrPath: string;
  readonly timeoutMs: number;
  /** How long the command may take to end after SIGTERM. */
  readonly graceMs: number;
  /** For standard output and standard error each. */
  readonly outputBytesMax: number;
  /** The limit that is set for each file that it writes, to tell who met it; undefined for none. */
  readonly fileBytesMax: number | undefined;
  /** Undefined: the command is started as it is. */
  readonly sandbox: SandboxedLaunch | undefined;
  /** Undefined: it is not counted, and known by its session and its files alone. */
  readonly cgroup: CgroupRequest | undefined;
  readonly owner: Owner | undefined;
}

/** To a launcher. The end of the stream ends the command at once, and the launcher. */
export type LauncherOrder =
  | { readonly kind: 'run'; readonly request: LaunchRequest }
  | { readonly kind: 'cancel' };

/** From a launcher: `ready` once, then for each command `started` at most once and one of the rest. */
export type LauncherReport =
  | { readonly kind: 'ready' }
  | {
      readonly kind: 'started';
      readonly session: number;
      readonly startTicks: string | undefined;
    }
  | { readonly kind: 'ended'; readonly outcome: Outcome }
  | { readonly kind: 'cancelled' }
  | { readonly kind: 'failed'; readonly code: Code; readonly message: string };

/** Messages go as one line of JSON each: nothing else is needed between two ends of one program. */
export function writeMessage(to: Writable, message: LauncherOrder | LauncherReport): void {
  to.write(`${JSON.stringify(message)}\n`);
}

/** The other end's messages, until it closes. Not `readline`: that splits at U+2028 as well. */
export async function* messagesFrom<T extends LauncherOrder | LauncherReport>(
  from: Readable,
): AsyncGenerator<T, void> {
  let parts: string[] = [];
  from.setEncoding('utf8');
  for await (const chunk of from) {
    const lines = String(chunk).split('\n');
    for (const line of lines.slice(0, -1)) {
      yield JSON.parse([...parts, line].join('')) as T;
      parts = [];
    }
    parts.push(lines.at(-1) ?? '');
  }
}
