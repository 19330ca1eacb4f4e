import type { Argv } from 'yargs';
import type { ActionSpec } from '../client/prepare-action.ts';
import { parseDuration } from '../config/units.ts';
import { wholeNumber } from './command.ts';
import { UsageError } from './exit-codes.ts';
import { namesAndValues } from './names-and-values.ts';

/** A command and what it needs, as flags tell it. */
export interface ActionFlags {
  readonly input: string | undefined;
  readonly outputPath: readonly string[];
  readonly env: readonly string[];
  readonly platform: readonly string[];
  readonly timeout: string | undefined;
  readonly noCache: boolean;
  readonly workingDirectory: string;
  readonly salt: string;
  /** What stands after `--`. */
  readonly '--'?: readonly string[];
}

export const actionFlags = <T>(yargs: Argv<T>) =>
  yargs
    .option('input', { type: 'string', describe: 'Folder that becomes the input root' })
    .option('output-path', {
      type: 'string',
      array: true,
      default: [] as string[],
      describe: 'An output to bring back; may be given several times',
    })
    .option('env', {
      type: 'string',
      array: true,
      default: [] as string[],
      describe: 'NAME=VALUE of the environment; NAME alone passes your own on',
    })
    .option('platform', {
      type: 'string',
      array: true,
      default: [] as string[],
      describe: 'NAME=VALUE that a worker must have',
    })
    .option('timeout', { type: 'string', describe: 'How long the command may run, such as 60s' })
    .option('no-cache', {
      type: 'boolean',
      default: false,
      describe: 'Run the command even if its result is stored, and do not store it',
    })
    .option('working-directory', {
      type: 'string',
      default: '',
      describe: 'Where the command starts, relative to the input root',
    })
    .option('salt', {
      type: 'string',
      default: '',
      describe: 'Text that keeps this action apart from the same one with another salt',
    });

/** What happens to the result. */
export const outputFlags = <T>(yargs: Argv<T>) =>
  yargs
    .option('output', { type: 'string', default: '.', describe: 'Folder that outputs go to' })
    .option('priority', {
      type: 'number',
      default: 0,
      describe: 'Lower runs sooner',
      coerce: wholeNumber('--priority', -(2 ** 31), 2 ** 31 - 1),
    })
    .option('json', {
      type: 'boolean',
      default: false,
      describe: "Print one JSON object in place of the action's standard output",
    });

/** Fails with a UsageError that names the flag. */
export function actionSpecOf(
  flags: ActionFlags,
  environment: Readonly<Record<string, string | undefined>>,
): ActionSpec {
  const [first, ...rest] = flags['--'] ?? [];
  if (first === undefined) throw new UsageError('there is no command: put it after "--"');
  const timeoutMs = flags.timeout === undefined ? undefined : parseDuration(flags.timeout);
  if (flags.timeout !== undefined && timeoutMs === undefined) {
    throw new UsageError(`--timeout ${flags.timeout} is not a duration such as 60s or 5m`);
  }
  return {
    arguments: [first, ...rest],
    environment: new Map(flags.env.map((entry) => variableOf(entry, environment))),
    inputFolder: flags.input,
    workingDirectory: flags.workingDirectory,
    outputPaths: flags.outputPath,
    platform: namesAndValues('--platform', flags.platform),
    timeoutMs,
    doNotCache: flags.noCache,
    salt: Buffer.from(flags.salt),
  };
}

function variableOf(
  entry: string,
  environment: Readonly<Record<string, string | undefined>>,
): [string, string] {
  const [name, value] = split(entry);
  const known = value ?? environment[name];
  if (known !== undefined) return [name, known];
  throw new UsageError(`--env ${name} names a variable that you do not have; give NAME=VALUE`);
}

function split(entry: string): [string, string | undefined] {
  const at = entry.indexOf('=');
  if (at === 0) throw new UsageError(`${JSON.stringify(entry)} has no name before "="`);
  return at < 0 ? [entry, undefined] : [entry.slice(0, at), entry.slice(at + 1)];
}
