import type { Argv } from 'yargs';
import { Code, StatusError } from '../base/status.ts';
import type { Program } from './command.ts';
import { describeResult, resultLines } from './describe-result.ts';
import { parseDigestText } from './digest-text.ts';
import { ExitCode } from './exit-codes.ts';
import { type ServerFlags, serverFlags, openSession, settingsOf } from './session.ts';

export interface GetActionResultOptions extends ServerFlags {
  readonly action: string;
  readonly json: boolean;
}

export const getActionResultCommand = {
  command: 'get-action-result <action>',
  describe: 'Show the stored result of an action',
  flags: (yargs: Argv) =>
    serverFlags(yargs)
      .positional('action', { type: 'string', demandOption: true, describe: 'Its digest' })
      .option('json', { type: 'boolean', default: false, describe: 'Print one JSON object' })
      .example('$0 get-action-result 9b1c…/142 --json', 'For scripts'),
};

export async function getActionResult(
  program: Program,
  options: GetActionResultOptions,
): Promise<number> {
  const settings = settingsOf(program, options);
  const action = parseDigestText(options.action, settings.digestFunction);
  using session = await openSession(program, settings, { execution: false });
  const result = await session.remote.actions.find(action, program.leaving);
  if (!result) {
    const message = `no result of action ${action} is stored in "${session.instanceName}"`;
    throw new StatusError(Code.NOT_FOUND, message);
  }
  const { terminal } = program;
  if (options.json) terminal.out(JSON.stringify(describeResult(result), undefined, 2));
  else for (const line of resultLines(result)) terminal.out(line);
  return ExitCode.OK;
}
