import { randomInt } from 'node:crypto';
import type { Argv } from 'yargs';
import { printable } from '../base/printable.ts';
import { Code, StatusError } from '../base/status.ts';
import { formatAddress } from '../config/address.ts';
import { parseDuration } from '../config/units.ts';
import { areas } from '../conformance/areas.ts';
import { chooseProbes } from '../conformance/choose-probes.ts';
import type { Area } from '../conformance/probe.ts';
import { countsOf, jsonOf, linesOf, rulesOf } from '../conformance/report.ts';
import { type Finding, runProbes } from '../conformance/run-probes.ts';
import { testedOf } from '../conformance/tested-of.ts';
import { type Program, wholeNumber } from './command.ts';
import { ExitCode, UsageError } from './exit-codes.ts';
import { namesAndValues } from './names-and-values.ts';
import { type ServerFlags, serverFlags, settingsOf } from './session.ts';

export interface ConformanceOptions extends ServerFlags {
  readonly endpoint: string | undefined;
  readonly json: boolean;
  readonly execute: boolean;
  readonly platform: readonly string[];
  readonly only: readonly string[];
  readonly seed: number | undefined;
  readonly timeout: string;
}

const SEED_MAX = 2 ** 32 - 1;

export const conformanceCommand = {
  command: 'conformance [endpoint]',
  describe: 'Test whether a server keeps the rules of the API',
  flags: (yargs: Argv) =>
    serverFlags(yargs)
      .positional('endpoint', { type: 'string', describe: 'The server; as --remote' })
      .option('execute', {
        type: 'boolean',
        default: false,
        describe: 'Run tiny actions too, where the server can',
      })
      .option('platform', {
        type: 'string',
        array: true,
        default: [] as string[],
        describe: 'NAME=VALUE that a worker must have, with --execute',
      })
      .option('only', {
        type: 'string',
        array: true,
        default: [] as string[],
        describe: 'A rule such as CAS-01, a section such as CAS, or an area such as find-missing',
      })
      .option('seed', {
        type: 'number',
        describe: 'Upload the same random blobs as the run that printed it, to another server',
        coerce: (seed: number | undefined) =>
          seed === undefined ? undefined : wholeNumber('--seed', 0, SEED_MAX)(seed),
      })
      .option('timeout', { type: 'string', default: '10m', describe: 'For the whole run' })
      .option('json', { type: 'boolean', default: false, describe: 'Print one JSON object' })
      .example('$0 conformance build-server:8980 --instance-name ""', 'Any server of the API')
      .example('$0 conformance localhost:50051 --execute', 'With actions')
      .example('$0 conformance localhost:50051 --only BS', 'ByteStream alone'),
};

/**
 * Uploads some MiB of random blobs at most. The action results and assets that it stores have random names,
 * and nothing is fetched from anywhere.
 */
export async function conformance(program: Program, options: ConformanceOptions): Promise<number> {
  const { terminal, clock, leaving } = program;
  const remote = options.endpoint ?? options.remote;
  const { address, instanceName, digestFunction } = settingsOf(program, { ...options, remote });
  const chosen = chosenBy(options.only);
  const timeoutMs = timeoutOf(options.timeout);
  const { seed = randomInt(SEED_MAX) } = options;
  const platform = namesAndValues('--platform', options.platform);
  const { connectWire } = await import('./wire.ts');
  const endpoint = formatAddress(address);
  using wire = connectWire(endpoint, program);
  const wanted = { instanceName, digestFunction, mayExecute: options.execute, platform };
  const tested = await testedOf(wire.call, wanted, leaving).catch((thrown: unknown) => {
    throw StatusError.during(`no capabilities from ${endpoint}`, thrown);
  });
  const about = { endpoint, instanceName, digestFunction: tested.digestFunction.name, seed };
  if (!options.json) {
    terminal.out(`${endpoint}, instance "${instanceName}", ${about.digestFunction}, seed ${seed}`);
  }
  const findings: Finding[] = [];
  const running = runProbes(chosen, { tested, wire: wire.call, seed, clock, timeoutMs }, leaving);
  for await (const finding of running) {
    findings.push(finding);
    terminal.progress(`${findings.length} probes`);
    if (options.json) continue;
    if (finding.area !== findings.at(-2)?.area) terminal.out(`\n${finding.area}`);
    for (const line of linesOf(finding)) terminal.out(`  ${printable(line)}`);
  }
  terminal.progress('');
  const rules = rulesOf(findings);
  const counts = countsOf(rules);
  if (options.json) {
    const probes = findings.map(jsonOf);
    terminal.out(JSON.stringify({ ...about, counts, rules, probes }, undefined, 2));
  } else {
    terminal.out(`\n${summaryOf(counts)}`);
  }
  const leftOut = findings.filter(({ outcome }) => outcome.kind === 'not run').length;
  if (leftOut > 0) {
    const text = `the run took longer than --timeout ${options.timeout}: ${leftOut} probes did not run`;
    throw new StatusError(Code.DEADLINE_EXCEEDED, text);
  }
  return counts.brokenMust > 0 ? ExitCode.PROTOCOL : ExitCode.OK;
}

function summaryOf({
  held,
  brokenMust,
  brokenOther,
  notApplicable,
  notRun,
}: ReturnType<typeof countsOf>): string {
  const tested = held + brokenMust + brokenOther;
  return (
    `${tested} rules tested: ${held} kept; broken: ${brokenMust} that a server must keep, ` +
    `${brokenOther} that it should or may keep; ${notApplicable} not applicable` +
    (notRun > 0 ? `, ${notRun} not tested` : '')
  );
}

function chosenBy(only: readonly string[]): readonly Area[] {
  try {
    return chooseProbes(areas, only);
  } catch (thrown) {
    throw new UsageError(StatusError.from(thrown).message);
  }
}

function timeoutOf(text: string): number {
  const timeoutMs = parseDuration(text);
  if (timeoutMs !== undefined && timeoutMs > 0) return timeoutMs;
  throw new UsageError(`--timeout ${text} is no time; write 30s or 5m`);
}
