import { inspect } from 'node:util';
import makeYargs from 'yargs';
import { version } from '../base/version.ts';
import { misspeltVariables } from '../config/misspelt-variables.ts';
import { nearest } from '../config/nearest.ts';
import { ConfigError } from '../config/read-config.ts';
import { capabilities, capabilitiesCommand } from './capabilities.ts';
import { type AnyCommand, command, type Program, verboseFlag } from './command.ts';
import { conformance, conformanceCommand } from './conformance.ts';
import { download, downloadCommand } from './download.ts';
import { execute, executeCommand } from './execute.ts';
import { ExitCode, exitCodeMeanings, exitCodeOf, UsageError } from './exit-codes.ts';
import { findMissing, findMissingCommand } from './find-missing.ts';
import { getActionResult, getActionResultCommand } from './get-action-result.ts';
import { logs, logsCommand } from './logs.ts';
import { printable } from '../base/printable.ts';
import { operations, operationsCommand } from './operations.ts';
import { ping, pingCommand } from './ping.ts';
import { prepareActionCommand, prepareActionRun } from './prepare-action.ts';
import { quarantine, quarantineCommand } from './quarantine.ts';
import { run, runCommand } from './run.ts';
import { workers, workersCommand } from './workers.ts';
import { worker, workerCommand } from './worker-command.ts';
import { server, serverCommand } from './server-command.ts';
import { up, upCommand } from './up.ts';
import { upload, uploadCommand } from './upload.ts';

/** Runs one command line and gives the exit code. Nothing is thrown: errors are told on the terminal. */
export async function expbuild(argv: readonly string[], program: Program): Promise<number> {
  let exitCode: number = ExitCode.OK;
  const commands = commandsOf(program, (code) => {
    exitCode = code;
  });
  for (const { name, meant } of misspeltVariables(program.surroundings.environment)) {
    program.terminal.note(`warning: variable ${name} is not known; did you mean ${meant}?`);
  }
  const isVerbose = argv.slice(0, argv.includes('--') ? argv.indexOf('--') : undefined);
  try {
    await parse(argv, program, commands);
    return exitCode;
  } catch (thrown) {
    tell(thrown, program, isVerbose.includes('--verbose'), meantBy(argv, commands));
    return exitCodeOf(thrown);
  }
}

function commandsOf(program: Program, end: (exitCode: number) => void): AnyCommand[] {
  return [
    command(upCommand, (options) => up(program, options), end),
    command(serverCommand, (options) => server(program, options), end),
    command(workerCommand, (options) => worker(program, options), end),
    command(runCommand, (options) => run(program, options), end),
    command(uploadCommand, (options) => upload(program, options), end),
    command(downloadCommand, (options) => download(program, options), end),
    command(pingCommand, (options) => ping(program, options), end),
    command(capabilitiesCommand, (options) => capabilities(program, options), end),
    command(conformanceCommand, (options) => conformance(program, options), end),
    command(prepareActionCommand, (options) => prepareActionRun(program, options), end),
    command(executeCommand, (options) => execute(program, options), end),
    command(logsCommand, (options) => logs(program, options), end),
    command(workersCommand, (options) => workers(program, options), end),
    command(operationsCommand, (options) => operations(program, options), end),
    command(quarantineCommand, (options) => quarantine(program, options), end),
    command(findMissingCommand, (options) => findMissing(program, options), end),
    command(getActionResultCommand, (options) => getActionResult(program, options), end),
  ];
}

async function parse(
  argv: readonly string[],
  { terminal }: Program,
  commands: readonly AnyCommand[],
): Promise<void> {
  const parser = makeYargs()
    .scriptName('expbuild')
    .usage('$0 COMMAND\n\nRemote execution and caching for Bazel and other clients.')
    .locale('en')
    .parserConfiguration({ 'populate--': true, 'boolean-negation': false, 'greedy-arrays': false })
    .option('verbose', verboseFlag)
    .completion('completion', 'Print a script for shell completion')
    .version(version)
    .help()
    .epilogue(exitCodesText())
    .strict()
    .exitProcess(false)
    .fail((message: string | null, error: Error | undefined) => {
      // What is wrong with the command line comes from yargs as text, or as an error of its own kind.
      if (error && error.name !== 'YError') throw error;
      throw new UsageError(withHint(message ?? error?.message ?? 'wrong usage', argv, commands));
    });
  for (const one of commands) parser.command(one);
  if (argv.length === 0) {
    terminal.note(await parser.getHelp());
    throw new UsageError('there is no command');
  }
  if (argv[0] === '--') {
    throw new UsageError('there is no command before "--"; did you mean expbuild run -- …?');
  }
  parser.demandCommand(1, 1, 'there is no command');
  let printed = '';
  await parser.parseAsync([...argv], {}, (_error, _parsed, output) => {
    printed = output;
  });
  if (printed !== '') terminal.out(printed);
}

/** Says which command was meant by one that is nearly it. */
function withHint(
  message: string,
  argv: readonly string[],
  commands: readonly AnyCommand[],
): string {
  const [, unknown] = /^Unknown argument: (\S+)$/.exec(message) ?? [];
  const meant = unknown === undefined ? undefined : nearest(unknown, commands.map(nameOf));
  return meant === undefined
    ? inOneLine(message, meantBy(argv, commands))
    : `${message}; did you mean ${meant}?`;
}

const nameOf = ({ command: usage }: AnyCommand) => String(usage).replace(/ .*/, '');

/** What yargs says of several arguments in as many lines. */
function inOneLine(message: string, meant: AnyCommand | undefined): string {
  const [, name, given, choices] =
    /^Invalid values:\n {2}Argument: (.+), Given: (.+), Choices: (.+)$/.exec(message) ?? [];
  if (name !== undefined) return `${name} is ${given}; it must be one of ${choices}`;
  if (!message.startsWith('Not enough non-option arguments')) return message;
  return `something is missing: expbuild ${String(meant?.command ?? 'COMMAND')}`;
}

function meantBy(
  [first]: readonly string[],
  commands: readonly AnyCommand[],
): AnyCommand | undefined {
  return commands.find((known) => nameOf(known) === first);
}

function exitCodesText(): string {
  const lines = [...exitCodeMeanings].map(
    ([code, meaning]) => `${code}`.padStart(5) + `  ${meaning}`,
  );
  return [
    'Exit codes (run and execute end with the exit code of the action):',
    ...lines,
    '',
    'expbuild COMMAND --help shows the flags of a command, and examples.',
  ].join('\n');
}

/** One clear line; whence it came only for who asks. */
function tell(
  thrown: unknown,
  { terminal, leaving }: Program,
  isVerbose: boolean,
  meant: AnyCommand | undefined,
): void {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const lines =
    thrown instanceof ConfigError ? thrown.problems : [printable(error.message || error.name)];
  const label = leaving.aborted ? 'interrupted' : 'error';
  for (const line of lines) terminal.note(`${terminal.style('red', `${label}:`)} ${line}`);
  const whose = meant ? `${nameOf(meant)} ` : '';
  if (thrown instanceof UsageError) terminal.note(`expbuild ${whose}--help tells the usage`);
  if (isVerbose) terminal.note(inspect(error));
}
