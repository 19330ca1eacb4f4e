import type { ArgumentsCamelCase, Argv, CommandModule } from 'yargs';
import type { Clock } from '../base/clock.ts';
import type { NewId } from '../base/id.ts';
import type { Surroundings } from '../config/surroundings.ts';
import { UsageError } from './exit-codes.ts';
import type { Terminal } from './terminal.ts';

/** What a run of the program is given. Each command takes of it only what it uses. */
export interface Program {
  readonly terminal: Terminal;
  readonly surroundings: Surroundings;
  readonly clock: Clock;
  readonly newId: NewId;
  /** Aborts when the person wants to leave: Ctrl-C, or SIGTERM. */
  readonly leaving: AbortSignal;
}

/** The work of a command: options in, exit code out. */
export type Run<Options> = (options: Options) => Promise<number>;

/** The one flag that every command has. */
export const verboseFlag = {
  type: 'boolean',
  default: false,
  describe: 'Tell more: debug lines, and where errors come from',
} as const;

/** Makes a UsageError of what is no whole number from `min` to `max`, for `coerce` of a number. */
export const wholeNumber = (flag: string, min: number, max: number) => (value: number) => {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new UsageError(`${flag} must be a whole number from ${min} to ${max}`);
};

/** A command with its options still inside. */
export type AnyCommand = CommandModule<object, object>;

/** Flags to options, and nothing else. `run` gets what `flags` declares. */
export function command<Flags extends object>(
  definition: {
    readonly command: string;
    readonly describe: string | false;
    readonly flags: (yargs: Argv) => Argv<Flags>;
  },
  run: Run<ArgumentsCamelCase<Flags>>,
  end: (exitCode: number) => void,
): AnyCommand {
  const module: CommandModule<object, Flags> = {
    command: definition.command,
    describe: definition.describe,
    builder: (yargs) => definition.flags(yargs),
    handler: async (options) => end(await run(options)),
  };
  return module as unknown as AnyCommand;
}
