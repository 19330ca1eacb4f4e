import type { Argv } from 'yargs';
import { StatusError } from '../base/status.ts';
import { formatAddress } from '../config/address.ts';
import { type Program, wholeNumber } from './command.ts';
import { ExitCode } from './exit-codes.ts';
import { type ServerFlags, serverFlags, openSession, settingsOf } from './session.ts';

export interface PingOptions extends ServerFlags {
  readonly count: number;
  readonly json: boolean;
}

export const pingCommand = {
  command: 'ping',
  describe: 'Measure the round trip to the server',
  flags: (yargs: Argv) =>
    serverFlags(yargs)
      .option('count', {
        type: 'number',
        default: 4,
        describe: 'How many round trips',
        coerce: wholeNumber('--count', 1, 1_000_000),
      })
      .option('json', { type: 'boolean', default: false, describe: 'Print one JSON object' })
      .example('$0 ping --remote build-server:50051', 'Four round trips'),
};

/** Over a connection that stands already. */
export async function ping(program: Program, options: PingOptions): Promise<number> {
  const { terminal, leaving } = program;
  using session = await openSession(program, settingsOf(program, options), { execution: false });
  const address = formatAddress(session.address);
  const timesMs: number[] = [];
  for (let i = 1; i <= options.count; i++) {
    const startedAt = performance.now();
    try {
      await session.remote.ping(leaving);
    } catch (thrown) {
      throw StatusError.during(`no answer from ${address}`, thrown);
    }
    const ms = performance.now() - startedAt;
    timesMs.push(ms);
    if (!options.json) terminal.out(`${address} ${i}/${options.count} ${ms.toFixed(1)} ms`);
  }
  const { minMs, medianMs, maxMs } = summaryOf(timesMs);
  if (options.json) {
    terminal.out(JSON.stringify({ address, timesMs, minMs, medianMs, maxMs }));
  } else if (timesMs.length > 0) {
    const parts = [minMs, medianMs, maxMs].map((ms) => (ms ?? 0).toFixed(1));
    terminal.out(`min/median/max ${parts.join('/')} ms`);
  }
  return ExitCode.OK;
}

function summaryOf(timesMs: readonly number[]) {
  const sorted = timesMs.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const low = sorted[Math.floor(middle)];
  const high = sorted[Math.ceil(middle)];
  const medianMs = low === undefined || high === undefined ? undefined : (low + high) / 2;
  return { minMs: sorted[0], medianMs, maxMs: sorted.at(-1) };
}
