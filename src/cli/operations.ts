import type { Argv } from 'yargs';
import { printable } from '../base/printable.ts';
import { Code, StatusError } from '../base/status.ts';
import { ListOperationsRequest, type Operation } from '../proto/expbuild/admin/v1/admin.ts';
import { ExecutionStage_Value } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { allDigestFunctions } from '../digest/digest-functions.ts';
import { columns } from './columns.ts';
import type { Program } from './command.ts';
import { ExitCode, UsageError } from './exit-codes.ts';
import { jsonText } from './json-text.ts';
import { operationName } from './operation-name.ts';
import { counted, formatDuration } from './progress.ts';
import { type ServerFlags, serverFlags, openSession, type Session, settingsOf } from './session.ts';

const verbs = ['list', 'show', 'why', 'cancel'] as const;

export interface OperationsOptions extends ServerFlags {
  readonly verb: (typeof verbs)[number];
  readonly operations: readonly string[];
  readonly invocation: string | undefined;
  readonly all: boolean;
  readonly json: boolean;
}

export const operationsCommand = {
  command: 'operations <verb> [operations..]',
  describe: 'Look at what a scheduler has to run, why it waits, and cancel it',
  flags: (yargs: Argv) =>
    serverFlags(yargs)
      .positional('verb', {
        choices: verbs,
        demandOption: true,
        describe:
          'list: what waits and runs; show: all about some; why: what they wait for; cancel: they end with ' +
          'CANCELLED',
      })
      .positional('operations', {
        type: 'string',
        array: true,
        default: [],
        describe: 'Their names, or the last part of them',
      })
      .option('invocation', {
        type: 'string',
        describe: 'Only those of this build, by its id: of Bazel what --invocation_id says',
      })
      .option('all', {
        type: 'boolean',
        default: false,
        describe: 'Those too that are done, for as long as they are kept',
      })
      .option('json', { type: 'boolean', default: false, describe: 'Print one JSON object' })
      .example('$0 operations list', 'All instances, oldest first')
      .example('$0 operations why 0b7c…', 'In place of main/operations/0b7c…')
      .example('$0 operations cancel --invocation 5f0a…', 'A whole build'),
};

/** Operators' view of the operations. */
export async function operations(program: Program, options: OperationsOptions): Promise<number> {
  const settings = settingsOf(program, options);
  const names = options.operations.map((told) => operationName(told, settings.instanceName));
  const { verb, invocation } = options;
  if (verb === 'cancel' && (names.length === 0) === (invocation === undefined)) {
    throw new UsageError('operations cancel needs either names of operations or --invocation');
  }
  if (verb !== 'list' && verb !== 'cancel' && names.length === 0) {
    throw new UsageError(`operations ${verb} needs the name of an operation`);
  }
  using session = await openSession(program, settings, { execution: true });
  if (verb === 'cancel') return await cancel(program, session, names, options);
  const request = ListOperationsRequest.fromPartial({
    names,
    toolInvocationId: invocation ?? '',
    includeDone: options.all || names.length > 0,
  });
  const { operations: found, total } = await session.remote.admin.listOperations(
    request,
    program.leaving,
  );
  for (const name of names) {
    if (found.some((operation) => operation.name === name)) continue;
    throw new StatusError(Code.NOT_FOUND, `the scheduler knows no operation ${name}`);
  }
  show(program, options, settings.instanceName, found);
  if (found.length === 0) program.terminal.note(nothingFound(options));
  if (total > found.length) program.terminal.note(`${total - found.length} more are not shown`);
  return ExitCode.OK;
}

async function cancel(
  { terminal, leaving }: Program,
  { remote }: Session,
  names: readonly string[],
  { invocation, json }: OperationsOptions,
): Promise<number> {
  const request = { names: [...names], toolInvocationId: invocation ?? '' };
  const { names: cancelled } = await remote.admin.cancelOperations(request, leaving);
  if (json) terminal.out(jsonText({ cancelled }));
  else for (const name of cancelled) terminal.out(printable(name));
  return ExitCode.OK;
}

function nothingFound({ invocation, all }: OperationsOptions): string {
  const whose = invocation === undefined ? '' : ' of that build';
  return all
    ? `no operation${whose} is known`
    : `no operation${whose} waits or runs; --all lists those too that are done`;
}

function show(
  { terminal, clock }: Program,
  { verb, json }: OperationsOptions,
  instanceName: string,
  found: readonly Operation[],
): void {
  const now = clock.now();
  if (json) terminal.out(jsonText({ operations: found.map(plain) }));
  else if (verb === 'why') for (const each of found) terminal.out(printable(reasonOf(each)));
  else if (verb === 'list') {
    const rows = found.map((each) => [
      shortName(each, instanceName),
      stageOf(each),
      ageOf(each, now),
      each.requestMetadata?.targetId ?? '',
      reasonOf(each),
    ]);
    const heads = ['OPERATION', 'STAGE', 'AGE', 'TARGET', 'DETAIL'];
    for (const line of columns(heads, rows, terminal.width)) terminal.out(line);
  } else for (const each of found) for (const line of linesOf(each, now)) terminal.out(line);
}

/** As it may be told to other commands with the same flags. */
function shortName(operation: Operation, instanceName: string): string {
  const last = operation.name.slice(operation.name.lastIndexOf('/') + 1);
  return operationName(last, instanceName) === operation.name ? last : operation.name;
}

function linesOf(operation: Operation, now: number): string[] {
  const { actionDigest, requestMetadata, waitingReason } = operation;
  const lines = [
    ['operation', operation.name],
    ['stage', stageOf(operation)],
    [waitingReason === '' ? 'detail' : 'waits', reasonOf(operation)],
    ['action', `${actionDigest?.hash}/${actionDigest?.sizeBytes}`],
    ['worker', operation.workerId],
    ['priority', `${operation.priority}`],
    ['age', ageOf(operation, now)],
    ['earlier attempts', `${operation.earlierAttempts}`],
    ['watched by', counted(operation.watchers, 'client')],
    ['tool', requestMetadata?.toolDetails?.toolName ?? ''],
    ['invocation', requestMetadata?.toolInvocationId ?? ''],
    ['target', requestMetadata?.targetId ?? ''],
    ['mnemonic', requestMetadata?.actionMnemonic ?? ''],
  ];
  return columns(
    [],
    lines.filter(([, value]) => value !== ''),
  );
}

const codeNames = new Map<number, string>(Object.entries(Code).map(([name, code]) => [code, name]));

const stages = new Map<number, string>([
  [ExecutionStage_Value.QUEUED, 'queued'],
  [ExecutionStage_Value.EXECUTING, 'executing'],
  [ExecutionStage_Value.COMPLETED, 'done'],
]);

function stageOf({ stage }: Operation): string {
  return stages.get(stage) ?? `${stage}`;
}

/** What it waits for, where it is, or how it ended. */
function reasonOf(operation: Operation): string {
  const { waitingReason, workerId, statusCode, exitCode, message } = operation;
  const more = message === '' ? '' : `: ${message}`;
  if (waitingReason !== '') return waitingReason;
  if (exitCode !== undefined && !statusCode) return `exit code ${exitCode}${more}`;
  if (statusCode !== undefined) return `${codeNames.get(statusCode) ?? statusCode}${more}`;
  return workerId === '' ? '' : `on ${workerId}`;
}

function ageOf({ queuedAt }: Operation, now: number): string {
  if (!queuedAt) return '';
  return formatDuration(Math.max(0, now - queuedAt.seconds * 1_000));
}

function plain(operation: Operation): object {
  const { queuedAt, digestFunction } = operation;
  return {
    ...operation,
    digestFunction: allDigestFunctions.find(({ value }) => value === digestFunction)?.name,
    stage: stageOf(operation),
    queuedAt: queuedAt && new Date(queuedAt.seconds * 1_000).toISOString(),
  };
}
