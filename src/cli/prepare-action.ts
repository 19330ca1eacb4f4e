import type { Argv } from 'yargs';
import { knowsOutputPaths } from '../client/check-capabilities.ts';
import { type ActionSpec, prepareAction, type PreparedAction } from '../client/prepare-action.ts';
import { uploadMissing } from '../tree/upload-files.ts';
import { type ActionFlags, actionFlags, actionSpecOf } from './action-flags.ts';
import type { Program } from './command.ts';
import { ExitCode } from './exit-codes.ts';
import { counted, formatSize } from './progress.ts';
import { type UploadFlags, uploadFlags, openSession, settingsOf } from './session.ts';

export interface PrepareActionOptions extends UploadFlags, ActionFlags {
  readonly dryRun: boolean;
  readonly json: boolean;
}

export const prepareActionCommand = {
  command: 'prepare-action',
  describe: 'Upload an action with its inputs, and print its digest',
  flags: (yargs: Argv) =>
    actionFlags(uploadFlags(yargs))
      .option('dry-run', {
        type: 'boolean',
        default: false,
        describe: 'Only print the digest; needs no server',
      })
      .option('json', { type: 'boolean', default: false, describe: 'Print one JSON object' })
      .example(
        '$0 prepare-action --input src --output-path out -- cc -o out main.c',
        'For "expbuild execute"',
      ),
};

export async function prepareActionRun(
  program: Program,
  options: PrepareActionOptions,
): Promise<number> {
  const { terminal, surroundings } = program;
  const spec = actionSpecOf(options, surroundings.environment);
  const prepared = await (options.dryRun ? hash : send)(program, options, spec);
  const { digest, command, inputRoot, totals } = prepared;
  if (options.json) {
    const digests = { action: `${digest}`, command: `${command}`, inputRoot: `${inputRoot}` };
    terminal.out(JSON.stringify({ ...digests, inputs: totals }));
    return ExitCode.OK;
  }
  terminal.out(`${digest}`);
  terminal.note(`inputs: ${counted(totals.files, 'file')} of ${formatSize(totals.bytes)}`);
  return ExitCode.OK;
}

function hash(
  program: Program,
  options: PrepareActionOptions,
  spec: ActionSpec,
): Promise<PreparedAction> {
  const { digestFunction } = settingsOf(program, options);
  return prepareAction(spec, { digestFunction, knowsOutputPaths: true }, program.leaving);
}

async function send(
  program: Program,
  options: PrepareActionOptions,
  spec: ActionSpec,
): Promise<PreparedAction> {
  using session = await openSession(program, settingsOf(program, options), { execution: false });
  const { remote, digestFunction } = session;
  const form = { digestFunction, knowsOutputPaths: knowsOutputPaths(remote.capabilities) };
  const prepared = await prepareAction(spec, form, program.leaving);
  await uploadMissing(remote.blobs, prepared.sources, program.leaving);
  return prepared;
}
