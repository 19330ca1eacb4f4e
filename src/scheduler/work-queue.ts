import type { DesiredState, WorkerState } from '../proto/expbuild/worker/v1/worker.ts';

/** The version of proto/expbuild/worker/v1/worker.proto that this program speaks. */
export const workerProtocolVersion = 1;

/**
 * Of an ExecuteResponse in its encoding. Clients take messages of 4 MiB unasked, and an operation has some
 * more around its response (GEN-09).
 */
export const responseBytesMax = 3.75 * 2 ** 20;

/**
 * The scheduler as a worker sees it: say all you are doing, hear all you should be doing. The same
 * exchange runs inside one process and over the network (proto/expbuild/worker/v1/worker.proto).
 */
export interface WorkQueue {
  /**
   * Connects a worker until `states` ends or `signal` aborts. Its first state carries `hello`. The
   * answers end, without error, when the scheduler shuts down; the worker then connects again.
   */
  connect(states: AsyncIterable<WorkerState>, signal: AbortSignal): AsyncIterable<DesiredState>;
}
