import type { Argv } from 'yargs';
import { printable } from '../base/printable.ts';
import { Code, StatusError } from '../base/status.ts';
import { UpdateWorkersRequest_Wish, type Worker } from '../proto/expbuild/admin/v1/admin.ts';
import { amountText } from '../scheduler/amounts.ts';
import { columns } from './columns.ts';
import type { Program } from './command.ts';
import { ExitCode, UsageError } from './exit-codes.ts';
import { jsonText } from './json-text.ts';
import { namesAndValues } from './names-and-values.ts';
import { formatDuration } from './progress.ts';
import { type ServerFlags, serverFlags, openSession, settingsOf } from './session.ts';

const verbs = ['list', 'show', 'drain', 'undrain', 'terminate'] as const;

export interface WorkersOptions extends ServerFlags {
  readonly verb: (typeof verbs)[number];
  readonly workers: readonly string[];
  readonly property: readonly string[];
  readonly json: boolean;
}

export const workersCommand = {
  command: 'workers <verb> [workers..]',
  describe: "Look at a scheduler's workers, and tell them to take nothing new or to end",
  flags: (yargs: Argv) =>
    serverFlags(yargs)
      .positional('verb', {
        choices: verbs,
        demandOption: true,
        describe:
          'list: all of them; show: all about some; drain: they get nothing new until undrain, also after ' +
          'restarts; terminate: their processes end once their actions have',
      })
      .positional('workers', { type: 'string', array: true, default: [], describe: 'Their names' })
      .option('property', {
        type: 'string',
        array: true,
        default: [],
        describe: 'NAME=VALUE: all workers that offer it, in place of names',
      })
      .option('json', { type: 'boolean', default: false, describe: 'Print one JSON object' })
      .example('$0 workers list', 'Who is there, and does what')
      .example('$0 workers drain worker-01', 'Before a host is taken away')
      .example('$0 workers terminate --property pool=old', 'Whole hosts of one kind'),
};

/** Operators' view of the workers. */
export async function workers(program: Program, options: WorkersOptions): Promise<number> {
  const { verb, json } = options;
  const { terminal, clock, leaving } = program;
  refuseUnnamed(options);
  const properties = namesAndValues('--property', options.property);
  using session = await openSession(program, settingsOf(program, options), { execution: true });
  const { admin } = session.remote;
  if (verb === 'list' || verb === 'show') {
    const { workers: all } = await admin.listWorkers(leaving);
    const shown = verb === 'show' ? named(all, options.workers) : all.toSorted(byName);
    if (json) terminal.out(jsonText({ workers: shown.map(plain) }));
    else if (verb === 'show') for (const worker of shown) describe(program, worker);
    else for (const line of table(shown, clock.now(), terminal.width)) terminal.out(line);
    if (all.length === 0) terminal.note('no worker is connected');
    return ExitCode.OK;
  }
  const { workerIds } = await admin.updateWorkers(
    {
      workerIds: [...options.workers],
      properties,
      wish: wishOf(verb),
    },
    leaving,
  );
  if (json) terminal.out(jsonText({ workers: workerIds }));
  else for (const id of workerIds) terminal.out(printable(id));
  const unknown = options.workers.filter((id) => !workerIds.includes(id));
  if (unknown.length === 0) return ExitCode.OK;
  throw new StatusError(Code.NOT_FOUND, `the scheduler knows no worker ${unknown.join(', ')}`);
}

function refuseUnnamed({ verb, workers: ids, property }: WorkersOptions): void {
  if (verb === 'list') return;
  if (verb === 'show') {
    if (ids.length === 0) throw new UsageError('workers show needs the name of a worker');
    return;
  }
  if ((ids.length === 0) === (property.length === 0)) {
    throw new UsageError(`workers ${verb} needs either names of workers or --property NAME=VALUE`);
  }
}

const byName = (a: Worker, b: Worker) =>
  Buffer.compare(Buffer.from(a.workerId), Buffer.from(b.workerId));

function wishOf(verb: 'drain' | 'undrain' | 'terminate'): UpdateWorkersRequest_Wish {
  if (verb === 'drain') return UpdateWorkersRequest_Wish.DRAIN;
  return verb === 'undrain'
    ? UpdateWorkersRequest_Wish.UNDRAIN
    : UpdateWorkersRequest_Wish.TERMINATE;
}

function named(all: readonly Worker[], ids: readonly string[]): Worker[] {
  return ids.map((id) => {
    const found = all.find(({ workerId }) => workerId === id);
    if (!found) throw new StatusError(Code.NOT_FOUND, `the scheduler knows no worker ${id}`);
    return found;
  });
}

function table(all: readonly Worker[], now: number, width: number | undefined): string[] {
  const rows = all.map((worker) => [
    worker.workerId,
    stateOf(worker),
    `${worker.busySlots}/${worker.slots}`,
    worker.isolation.replace(/[:;,].*/, ''),
    worker.properties.map(({ name, value }) => `${name}=${value}`).join(' '),
    lastSeen(worker, now),
  ]);
  const heads = ['WORKER', 'STATE', 'BUSY', 'ISOLATION', 'PROPERTIES', 'SEEN'];
  return columns(heads, rows, width);
}

function describe({ terminal, clock }: Program, worker: Worker): void {
  const capacities = worker.capacities.map(({ name, amount, actionMax }) => {
    const most = actionMax > 0 && actionMax < amount ? ` (${amountText(actionMax)} an action)` : '';
    return `${name}=${amountText(amount)}${most}`;
  });
  const lines = [
    ['worker', worker.workerId],
    ['state', stateOf(worker)],
    ...(worker.trouble === '' ? [] : [['trouble', worker.trouble]]),
    ['version', worker.softwareVersion],
    ['isolation', worker.isolation],
    ['slots', `${worker.busySlots} of ${worker.slots} busy`],
    ['capacity', capacities.join(' ')],
    ['properties', worker.properties.map(({ name, value }) => `${name}=${value}`).join(' ')],
    ['last seen', lastSeen(worker, clock.now())],
    ...worker.operationNames.map((name) => ['runs', name]),
  ];
  for (const line of columns([], lines)) terminal.out(line);
}

function stateOf(worker: Worker): string {
  if (!worker.connected) return 'away';
  if (worker.terminating) return 'terminating';
  if (worker.trouble !== '') return 'unfit';
  if (worker.draining) return 'stopping';
  if (worker.drained) return 'drained';
  return worker.resting ? 'resting' : 'ready';
}

function lastSeen({ lastSeenAt }: Worker, now: number): string {
  if (!lastSeenAt) return 'not yet';
  const ms = lastSeenAt.seconds * 1_000 + lastSeenAt.nanos / 1e6;
  return `${formatDuration(Math.max(0, now - ms))} ago`;
}

function plain({ lastSeenAt, ...worker }: Worker): object {
  const seen = lastSeenAt && new Date(lastSeenAt.seconds * 1_000).toISOString();
  return { ...worker, state: stateOf({ lastSeenAt, ...worker }), lastSeenAt: seen };
}
