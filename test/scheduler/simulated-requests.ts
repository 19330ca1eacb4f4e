import { RequestMetadata } from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { ActionRequest } from '../../src/scheduler/operations.ts';
import { requestOf } from './rig.ts';
import type { WorkerWorld } from './simulated-worker.ts';

/** A few, so that builds ask for the same ones; of one nobody has the platform. */
const actions = Array.from({ length: 12 }, (_, n) =>
  requestOf(`action ${n}`, {
    doNotCache: n % 5 === 4,
    properties: [
      { OSFamily: 'linux' },
      { OSFamily: 'macos' },
      {},
      { OSFamily: 'plan9' },
      // Two of the three slots of the only worker that has as much, or all of them.
      { OSFamily: 'linux', cpu: n === 3 ? '2' : '3' },
    ][n === 11 ? 3 : n === 3 || n === 6 ? 4 : n % 3] as Record<string, string>,
  }),
);

/** What some client asks for next. */
export function drawRequest(world: Pick<WorkerWorld, 'between'>): ActionRequest {
  return {
    ...(actions[world.between(0, actions.length)] ?? requestOf('none')),
    priority: world.between(-2, 3),
    requestMetadata: RequestMetadata.fromPartial({
      toolInvocationId: `build ${world.between(0, 3)}`,
    }),
  };
}
