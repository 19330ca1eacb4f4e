import type { Argv } from 'yargs';
import { allDigestFunctions } from '../digest/digest-functions.ts';
import type { QuarantinedAction } from '../proto/expbuild/admin/v1/admin.ts';
import { columns } from './columns.ts';
import type { Program } from './command.ts';
import { parseDigestText } from './digest-text.ts';
import { ExitCode, UsageError } from './exit-codes.ts';
import { jsonText } from './json-text.ts';
import { formatDuration } from './progress.ts';
import { type ServerFlags, serverFlags, openSession, settingsOf } from './session.ts';

const verbs = ['list', 'release'] as const;

export interface QuarantineOptions extends ServerFlags {
  readonly verb: (typeof verbs)[number];
  readonly actions: readonly string[];
  readonly json: boolean;
}

export const quarantineCommand = {
  command: 'quarantine <verb> [actions..]',
  describe:
    'Look at actions that are not run because workers were lost with them, and release them',
  flags: (yargs: Argv) =>
    serverFlags(yargs)
      .positional('verb', {
        choices: verbs,
        demandOption: true,
        describe: 'list: which, for how long, and why; release: they may run again at once',
      })
      .positional('actions', {
        type: 'string',
        array: true,
        default: [],
        describe: 'To release: their digests, as list prints them',
      })
      .option('json', { type: 'boolean', default: false, describe: 'Print one JSON object' })
      .example('$0 quarantine list', 'All instances')
      .example('$0 quarantine release 2cf24d…/140', 'It may run again at once'),
};

/** Operators' view of the quarantine. */
export async function quarantine(program: Program, options: QuarantineOptions): Promise<number> {
  const { verb, actions, json } = options;
  const { terminal, leaving } = program;
  const settings = settingsOf(program, options);
  if (verb === 'release' && actions.length === 0) {
    throw new UsageError('quarantine release needs the digest of an action');
  }
  const digests = actions.map((text) => parseDigestText(text, settings.digestFunction));
  using session = await openSession(program, settings, { execution: true });
  const { admin } = session.remote;
  if (verb === 'release') {
    for (const digest of digests) {
      const request = {
        actionDigest: digest.toMessage(),
        digestFunction: digest.function.value,
      };
      await admin.releaseAction(request, leaving);
    }
    return ExitCode.OK;
  }
  const { actions: found } = await admin.listQuarantinedActions(leaving);
  if (json) terminal.out(jsonText({ actions: found.map(plain) }));
  else {
    const rows = found.map((action) => {
      const { digest, leftMs, why } = plain(action);
      return [digest, formatDuration(leftMs), why];
    });
    for (const line of columns(['ACTION', 'LEFT', 'WHY'], rows)) terminal.out(line);
  }
  if (found.length === 0) terminal.note('no action is in quarantine');
  return ExitCode.OK;
}

function plain({ instanceName, digestFunction, actionDigest, why, left }: QuarantinedAction) {
  const known = allDigestFunctions.find(({ value }) => value === digestFunction);
  return {
    instanceName,
    digestFunction: known?.name ?? `${digestFunction}`,
    digest: `${actionDigest?.hash}/${actionDigest?.sizeBytes}`,
    why,
    leftMs: (left?.seconds ?? 0) * 1_000 + Math.round((left?.nanos ?? 0) / 1e6),
  };
}
