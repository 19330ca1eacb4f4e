import type { Argv } from 'yargs';
import { outputFlags } from './action-flags.ts';
import type { Program } from './command.ts';
import { parseDigestText } from './digest-text.ts';
import { finishAction, type FinishOptions } from './finish-action.ts';
import { type DownloadFlags, downloadFlags, openSession, settingsOf } from './session.ts';

export interface ExecuteCommandOptions extends DownloadFlags, FinishOptions {
  readonly action: string;
  readonly noCache: boolean;
  readonly priority: number;
}

export const executeCommand = {
  command: 'execute',
  describe: 'Run an action that is on the server already',
  flags: (yargs: Argv) =>
    outputFlags(downloadFlags(yargs))
      .option('action', { type: 'string', demandOption: true, describe: 'Its digest' })
      .option('no-cache', {
        type: 'boolean',
        default: false,
        describe: 'Run it even if its result is stored',
      })
      .example('$0 execute --action 9b1c…/142 --output out', 'As "expbuild prepare-action" told'),
};

export async function execute(program: Program, options: ExecuteCommandOptions): Promise<number> {
  const settings = settingsOf(program, options);
  const { instanceName } = settings;
  const action = parseDigestText(options.action, settings.digestFunction);
  const needs = { digestFunction: action.function, execution: true };
  using session = await openSession(program, settings, needs);
  const { noCache: skipCacheLookup, priority } = options;
  const run = { instanceName, action, sources: [], skipCacheLookup, priority };
  return await finishAction(program, session, run, options);
}
