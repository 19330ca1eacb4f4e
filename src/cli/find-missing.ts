import type { Argv } from 'yargs';
import type { Program } from './command.ts';
import { parseDigestText } from './digest-text.ts';
import { ExitCode } from './exit-codes.ts';
import { type ServerFlags, serverFlags, openSession, settingsOf } from './session.ts';

export interface FindMissingOptions extends ServerFlags {
  readonly digests: readonly string[];
  readonly json: boolean;
}

export const findMissingCommand = {
  command: 'find-missing <digests..>',
  describe: 'Print those of the given digests whose blobs the server lacks',
  flags: (yargs: Argv) =>
    serverFlags(yargs)
      .positional('digests', {
        type: 'string',
        array: true,
        demandOption: true,
        describe: 'As upload and others print them: HASH/SIZE',
      })
      .option('json', { type: 'boolean', default: false, describe: 'Print one JSON object' })
      .example('$0 find-missing 2cf24d…/5', 'Prints nothing if the server has it'),
};

export async function findMissing(program: Program, options: FindMissingOptions): Promise<number> {
  const settings = settingsOf(program, options);
  const digests = options.digests.map((text) => parseDigestText(text, settings.digestFunction));
  using session = await openSession(program, settings, { execution: false });
  const missing = await session.remote.blobs.findMissing(digests, program.leaving);
  if (options.json) {
    program.terminal.out(JSON.stringify({ missing: missing.map(String) }));
  } else {
    for (const digest of missing) program.terminal.out(`${digest}`);
  }
  return ExitCode.OK;
}
