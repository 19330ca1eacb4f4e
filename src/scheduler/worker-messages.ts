import { Code, StatusError } from '../base/status.ts';
import { ExecutedActionMetadata } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  type DesiredState,
  type HeldLease,
  HeldLease_Phase,
  type Hello,
  type Lease,
  type WorkerState,
} from '../proto/expbuild/worker/v1/worker.ts';
import { durationOf, timestampOf } from './protobuf-time.ts';
import type { GivenLease, StreamNames } from './run.ts';
import { workerProtocolVersion } from './work-queue.ts';

/** More slots than one machine has use for: a typing error, or nonsense. */
const slotsMax = 4_096;
const idCharsMax = 256;
const propertiesMax = 1_000;
/** Names and values together, of properties or capacities; they are kept as long as the worker is. */
const offeredCharsMax = 64 * 1024;
const capacitiesMax = 100;
/** Of what is known of an action while it runs: moments, and what it used. Some hundred bytes. */
const metadataBytesMax = 64 * 1024;
/** Some lines, as an operator reads them. */
const textCharsMax = 2_000;

/** Fails with INVALID_ARGUMENT or FAILED_PRECONDITION when such a worker cannot be served. */
export function checkHello(hello: Hello | undefined): asserts hello is Hello {
  if (!hello) throw refusal('the first state of a worker has no hello');
  if (hello.protocolVersion !== workerProtocolVersion) {
    throw new StatusError(
      Code.FAILED_PRECONDITION,
      `worker ${hello.workerId} speaks version ${hello.protocolVersion} of the worker protocol, ` +
        `this scheduler version ${workerProtocolVersion}; run the same ExpBuild on both`,
    );
  }
  for (const [field, id] of [
    ['worker_id', hello.workerId],
    ['boot_id', hello.bootId],
  ] as const) {
    if (id.length === 0 || id.length > idCharsMax) {
      throw refusal(`${field} has ${id.length} characters; it must have 1 to ${idCharsMax}`);
    }
  }
  if (!(hello.slots >= 1 && hello.slots <= slotsMax)) {
    throw refusal(
      `worker ${hello.workerId} has ${hello.slots} slots; it must have 1 to ${slotsMax}`,
    );
  }
  if (hello.properties.length > propertiesMax) {
    throw refusal(
      `worker ${hello.workerId} has ${hello.properties.length} properties; the limit is ${propertiesMax}`,
    );
  }
  const { length } = hello.softwareVersion;
  if (length > idCharsMax) {
    throw refusal(`software_version has ${length} characters; the limit is ${idCharsMax}`);
  }
  const offered = hello.properties.flatMap(({ name, value }) => [name, value]);
  for (const { name } of hello.capacities) offered.push(name);
  const chars = offered.reduce((sum, text) => sum + text.length, 0);
  if (chars > offeredCharsMax) {
    throw refusal(
      `properties and capacities of worker ${hello.workerId} have ${chars} characters; the limit is ${offeredCharsMax}`,
    );
  }
  checkCapacities(hello);
}

/** Each name once, and amounts that can be counted. */
function checkCapacities({ workerId, capacities }: Hello): void {
  if (capacities.length > capacitiesMax) {
    throw refusal(
      `worker ${workerId} has ${capacities.length} capacities; the limit is ${capacitiesMax}`,
    );
  }
  const names = new Set<string>();
  for (const { name, amount, actionMax } of capacities) {
    if (names.has(name)) throw refusal(`worker ${workerId} has two capacities named ${name}`);
    names.add(name);
    if (!(amount > 0 && amount < Infinity)) {
      throw refusal(`worker ${workerId} has ${amount} of ${name}; it must have more than 0`);
    }
    if (!(actionMax >= 0)) {
      throw refusal(
        `worker ${workerId} gives an action ${actionMax} of ${name}, which is less than 0`,
      );
    }
  }
}

/** Why a worker takes nothing at present; empty when it is well. */
export function troubleOf({ trouble }: WorkerState): string {
  return forPeople(trouble);
}

/** What a worker says of its isolation: cut, for nothing depends on it. */
export function isolationOf({ isolation }: Hello): string {
  return forPeople(isolation);
}

function forPeople(text: string): string {
  return text.slice(0, textCharsMax).toWellFormed();
}

/** The worker is through with it, and has what the action came to. */
export function isResult({ phase, response }: HeldLease): boolean {
  return phase === HeldLease_Phase.PHASE_DONE && response !== undefined;
}

/** Why the worker could not run the action: a code of gRPC, and words that are cut (HI-24). */
export function failureOf({ failure }: HeldLease): { code: Code; message: string } {
  if (!failure) {
    return { code: Code.INTERNAL, message: 'the lease is done, without response and failure' };
  }
  const known = Object.values(Code).find((code) => code === failure.code) ?? Code.INTERNAL;
  return {
    code: known === Code.OK ? Code.UNAVAILABLE : known,
    message: forPeople(failure.message),
  };
}

/** What the worker says of how far it is; undefined where that is more than any action has need of (HI-24). */
export function metadataOf({ metadata }: HeldLease): ExecutedActionMetadata | undefined {
  if (!metadata) return undefined;
  const isSmall = ExecutedActionMetadata.encode(metadata).finish().length <= metadataBytesMax;
  return isSmall ? metadata : undefined;
}

/** The id of a log stream (LOG-11). */
const streamId = /^[\w-]{0,64}$/;

/** Where the worker says that output can be read. What is no id goes to nobody (HI-24). */
export function streamNamesOf({ stdoutStreamName, stderrStreamName }: HeldLease): StreamNames {
  return { stdout: streamIdOf(stdoutStreamName), stderr: streamIdOf(stderrStreamName) };
}

function streamIdOf(name: string): string {
  return streamId.test(name) ? name : '';
}

export interface DesiredStateOptions {
  readonly sequence: number;
  readonly leases: Iterable<GivenLease>;
  readonly heartbeatMs: number;
  readonly lostAfterMs: number;
  readonly terminate: boolean;
}

/** What the scheduler wants of a worker, as a message. */
export function desiredStateOf(options: DesiredStateOptions): DesiredState {
  const welcome = {
    heartbeatEvery: durationOf(options.heartbeatMs),
    lostAfter: durationOf(options.lostAfterMs),
  };
  return {
    welcome: options.sequence === 1 ? welcome : undefined,
    sequence: options.sequence,
    terminate: options.terminate,
    leases: [...options.leases].map(leaseMessageOf),
  };
}

function leaseMessageOf({ id, epoch, run }: GivenLease): Lease {
  const [operation] = run.operations;
  return {
    leaseId: id,
    epoch,
    operationName: operation?.name ?? '',
    instanceName: run.request.instanceName,
    digestFunction: run.request.action.function.value,
    actionDigest: run.request.action.toMessage(),
    timeout: durationOf(run.request.timeoutMs),
    attempt: run.losses + run.failures + (run.requirements.memoryAbove > 0 ? 1 : 0) + 1,
    queuedAt: timestampOf(run.queuedAt),
    requestMetadata: run.request.requestMetadata,
    requestId: run.request.requestId ?? '',
  };
}

function refusal(message: string): StatusError {
  return new StatusError(Code.INVALID_ARGUMENT, message);
}
