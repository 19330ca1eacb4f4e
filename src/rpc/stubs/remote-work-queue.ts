import { DesiredState, WorkerState } from '../../proto/expbuild/worker/v1/worker.ts';
import type { WorkQueue } from '../../scheduler/work-queue.ts';
import type { Channel, Rpc } from './channel.ts';

const rpc: Rpc<WorkerState, DesiredState> = {
  path: '/expbuild.worker.v1.WorkerService/Connect',
  request: WorkerState,
  response: DesiredState,
};

/**
 * The scheduler behind a server. A connection that breaks, or that a server shuts down, ends the answers
 * with UNAVAILABLE: connecting again, and when, is up to the worker.
 */
export function remoteWorkQueue(channel: Channel): WorkQueue {
  return { connect: (states, signal) => channel.bidi(rpc, states, { signal }) };
}
