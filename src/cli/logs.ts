import type { Argv } from 'yargs';
import { Code, StatusError } from '../base/status.ts';
import { allDigestFunctions } from '../digest/digest-functions.ts';
import type { OperationState } from '../scheduler/operations.ts';
import type { Program } from './command.ts';
import { ExitCode } from './exit-codes.ts';
import { operationName } from './operation-name.ts';
import {
  type DownloadFlags,
  downloadFlags,
  openSession,
  type Session,
  settingsOf,
} from './session.ts';
import { shownOutput } from './show-output.ts';

export interface LogsOptions extends DownloadFlags {
  readonly operation: string;
  readonly follow: boolean;
}

export const logsCommand = {
  command: 'logs <operation>',
  describe: 'Show the output of an action, also while it runs',
  flags: (yargs: Argv) =>
    downloadFlags(yargs)
      .positional('operation', {
        type: 'string',
        demandOption: true,
        describe: 'Its name, such as main/operations/0b7c…; or the last part of it',
      })
      .option('follow', {
        alias: 'f',
        type: 'boolean',
        default: false,
        describe: 'Go on until the action has ended',
      })
      .example('$0 logs -f main/operations/0b7c…', 'As "expbuild run --verbose" tells it'),
};

/** Standard output and standard error of an action, to ours. */
export async function logs(program: Program, options: LogsOptions): Promise<number> {
  const settings = settingsOf(program, options);
  const name = operationName(options.operation, settings.instanceName);
  using session = await openSession(program, settings, { execution: true });
  const { execution } = session.remote;
  const output = shownOutput(program, session);
  const { leaving } = program;
  try {
    for await (const state of execution.wait(name, leaving)) {
      if (state.response) return await showEnd(program, session, output, state);
      if (!options.follow) {
        await output.catchUp(state.metadata, leaving);
        return ExitCode.OK;
      }
      output.follow(state.metadata);
    }
  } finally {
    await output.stop();
  }
  throw new StatusError(Code.UNAVAILABLE, `operation ${name} cannot be followed any further`);
}

async function showEnd(
  { leaving }: Program,
  { digestFunction }: Session,
  output: ReturnType<typeof shownOutput>,
  { metadata, response }: OperationState,
): Promise<number> {
  const value = metadata.digestFunction;
  const used = allDigestFunctions.find((known) => known.value === value) ?? digestFunction;
  const isCutShort = (response?.status?.code ?? Code.OK) !== Code.OK;
  // What an action that was cancelled has printed is in its streams alone.
  if (isCutShort) output.follow(metadata);
  await output.finish(response?.result, isCutShort, used, leaving);
  return ExitCode.OK;
}
