import type { Argv } from 'yargs';
import { knowsOutputPaths } from '../client/check-capabilities.ts';
import { prepareAction } from '../client/prepare-action.ts';
import { type ActionFlags, actionFlags, actionSpecOf, outputFlags } from './action-flags.ts';
import type { Program } from './command.ts';
import { finishAction, type FinishOptions } from './finish-action.ts';
import { counted, formatSize } from './progress.ts';
import { type UploadFlags, uploadFlags, openSession, settingsOf } from './session.ts';

export interface RunCommandOptions extends UploadFlags, ActionFlags, FinishOptions {
  readonly priority: number;
}

export const runCommand = {
  command: 'run',
  describe: 'Run a command remotely, and bring its outputs back',
  flags: (yargs: Argv) =>
    outputFlags(actionFlags(uploadFlags(yargs)))
      .example('$0 run -- uname -a', 'A command without inputs')
      .example(
        '$0 run --input src --output-path hello -- cc -o hello hello.c',
        'Compile; the executable comes to this folder',
      ),
};

export async function run(program: Program, options: RunCommandOptions): Promise<number> {
  const { terminal, leaving, surroundings } = program;
  const spec = actionSpecOf(options, surroundings.environment);
  using session = await openSession(program, settingsOf(program, options), { execution: true });
  const { remote, digestFunction, instanceName } = session;
  const form = { digestFunction, knowsOutputPaths: knowsOutputPaths(remote.capabilities) };
  if (spec.inputFolder !== undefined) terminal.progress('hashing the inputs');
  const { digest, sources, totals } = await prepareAction(spec, form, leaving);
  const inputs = `${counted(totals.files, 'input file')} of ${formatSize(totals.bytes)}`;
  terminal.note(terminal.style('dim', `action ${digest}, ${inputs}`));
  const action = {
    instanceName,
    action: digest,
    sources,
    skipCacheLookup: options.noCache,
    priority: options.priority,
  };
  return await finishAction(program, session, action, options);
}
