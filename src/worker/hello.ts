import type { Platform_Property } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Hello } from '../proto/expbuild/worker/v1/worker.ts';
import { workerProtocolVersion } from '../scheduler/work-queue.ts';

/** What the scheduler is told of a worker, so that it gets actions that fit. */
export interface WorkerDescription {
  /** What actions may ask for. */
  readonly properties: readonly Platform_Property[];
  /** What the running actions share, by name. */
  readonly capacities: ReadonlyMap<string, number>;
  /** What one of them gets of it at most, where that is limited. */
  readonly actionMaxes: ReadonlyMap<string, number>;
  readonly softwareVersion: string;
  /** What commands are kept from, in one line. */
  readonly isolation: string;
}

/** The first words of a worker on each connection. `bootId` is another at each start of its process. */
export function helloOf(
  { properties, capacities, actionMaxes, softwareVersion, isolation }: WorkerDescription,
  workerId: string,
  bootId: string,
  slots: number,
): Hello {
  return {
    workerId,
    bootId,
    protocolVersion: workerProtocolVersion,
    softwareVersion,
    isolation,
    properties: [...properties],
    slots,
    actionMemoryMax: actionMaxes.get('memory') ?? 0,
    capacities: [...capacities].map(([name, amount]) => ({
      name,
      amount,
      actionMax: actionMaxes.get(name) ?? 0,
    })),
  };
}
