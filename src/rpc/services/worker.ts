import { DesiredState, WorkerState } from '../../proto/expbuild/worker/v1/worker.ts';
import type { WorkQueue } from '../../scheduler/work-queue.ts';
import { bidi, type Service } from '../method.ts';

/** Where workers connect. What they say is checked by the queue, their protocol version first. */
export function worker(queue: WorkQueue): Service {
  return [
    bidi(
      '/expbuild.worker.v1.WorkerService/Connect',
      WorkerState,
      DesiredState,
      (states, { signal }) => queue.connect(states, signal),
      { lasting: true },
    ),
  ];
}
