import { quoted } from '../base/quoted.ts';
import { Code, StatusError } from '../base/status.ts';
import type {
  Command,
  Platform_Property,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { supportedNodeProperties } from '../tree/node-properties.ts';
import type { ExtentLimits } from '../tree/expanded-tree.ts';
import { resolveInRoot } from '../tree/output-path.ts';

type PathLimits = Pick<ExtentLimits, 'nameBytesMax' | 'pathBytesMax'>;

/** Of one argument, and of one variable with its name: Linux takes 128 KiB with the byte that ends it. */
const TEXT_BYTES_MAX = 128 * 1024 - 1;

/** Each is looked for by the worker, a millisecond or less; whoever makes more asks for their folder. */
const OUTPUTS_MAX = 50_000;

/** With the working directory before each. These take 0.3 s to look at, in which nothing else goes on. */
const OUTPUT_CHARACTERS_MAX = 8 * 2 ** 20;

/**
 * Fails with INVALID_ARGUMENT when no worker could run the command, whatever its inputs: better now than
 * after a wait in the queue (ACT-29). Output paths have the limits of those in input roots. The order of
 * its lists is taken as it is (ACT-12, ACT-18).
 */
export function checkCommand(command: Command, limits: PathLimits): void {
  if ((command.arguments[0] ?? '') === '') throw refused('the command has no arguments');
  for (const argument of command.arguments) {
    if (argument.includes('\0')) throw refused(`the argument ${quoted(argument)} has a NUL in it`);
    checkTextSize(argument, `the argument ${quoted(argument)}`);
  }
  for (const { name, value } of command.environmentVariables) {
    if (name === '' || name.includes('=') || name.includes('\0') || value.includes('\0')) {
      throw refused(`the environment variable ${quoted(name)} cannot be set`);
    }
    checkTextSize(`${name}=${value}`, `the environment variable ${quoted(name)}`);
  }
  checkWorkingDirectory(command, limits);
  const outputs =
    command.outputPaths.length > 0
      ? command.outputPaths
      : [...command.outputFiles, ...command.outputDirectories];
  if (outputs.length > OUTPUTS_MAX) {
    throw refused(
      `the command has ${outputs.length} output paths, more than ${OUTPUTS_MAX}; ask for the folder that they are in`,
    );
  }
  const characters = outputs.reduce(
    (sum, { length }) => sum + length + command.workingDirectory.length,
    0,
  );
  if (characters > OUTPUT_CHARACTERS_MAX) {
    throw refused(
      `the output paths of the command have more than ${OUTPUT_CHARACTERS_MAX} characters together, seen from ` +
        'the input root; ask for the folder that they are in',
    );
  }
  for (const output of outputs) checkOutputPath(command.workingDirectory, output, limits);
  const supported: readonly string[] = supportedNodeProperties;
  for (const name of command.outputNodeProperties) {
    if (!supported.includes(name)) {
      throw refused(
        `the output node property ${quoted(name)} is unknown; known are ${supported.join(', ')}`,
      );
    }
  }
}

/** Fails with INVALID_ARGUMENT when properties of the standard lexicon contradict themselves (ACT-07). */
export function checkPlatform(properties: readonly Platform_Property[]): void {
  const families = new Set(
    properties.filter(({ name }) => name === 'OSFamily').map(({ value }) => value),
  );
  if (families.size <= 1) return;
  throw refused(`OSFamily cannot be all of ${[...families].slice(0, 3).map(quoted).join(', ')}`);
}

function checkTextSize(text: string, what: string): void {
  const sizeBytes = Buffer.byteLength(text);
  if (sizeBytes <= TEXT_BYTES_MAX) return;
  throw refused(
    `${what} has ${sizeBytes} bytes, more than ${TEXT_BYTES_MAX}; put it into an input file`,
  );
}

function checkWorkingDirectory({ workingDirectory }: Command, { pathBytesMax }: PathLimits): void {
  if (Buffer.byteLength(workingDirectory) > pathBytesMax) {
    throw refused(
      `the working directory ${quoted(workingDirectory)} has more than ${pathBytesMax} bytes`,
    );
  }
  if (resolveInRoot('', workingDirectory) !== undefined) return;
  throw refused(`the working directory ${quoted(workingDirectory)} is outside the input root`);
}

function checkOutputPath(
  workingDirectory: string,
  output: string,
  { nameBytesMax, pathBytesMax }: PathLimits,
): void {
  if (output.startsWith('/') || output.endsWith('/')) {
    throw refused(`the output path ${quoted(output)} starts or ends with a slash`);
  }
  const tooLong = () =>
    refused(`the output path ${quoted(output)} has more than ${pathBytesMax} bytes`);
  if (Buffer.byteLength(output) > pathBytesMax) throw tooLong();
  const resolved = resolveInRoot(workingDirectory, output);
  if (resolved === undefined) {
    throw refused(`the output path ${quoted(output)} is outside the input root`);
  }
  if (Buffer.byteLength(resolved) > pathBytesMax) throw tooLong();
  if (resolved.split('/').some((name) => Buffer.byteLength(name) > nameBytesMax)) {
    throw refused(
      `the output path ${quoted(output)} has a name of more than ${nameBytesMax} bytes`,
    );
  }
}

function refused(why: string): StatusError {
  return new StatusError(Code.INVALID_ARGUMENT, why);
}
