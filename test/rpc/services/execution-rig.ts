import type { TestContext } from 'node:test';
import { type Log, silentLog } from '../../../src/base/log.ts';
import {
  type DeepPartial,
  ExecuteOperationMetadata,
  ExecuteRequest,
  ExecuteResponse,
  WaitExecutionRequest,
} from '../../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { DesiredState, WorkerState } from '../../../src/proto/expbuild/worker/v1/worker.ts';
import { Operation } from '../../../src/proto/google/longrunning/operations.ts';
import { Instances } from '../../../src/rpc/instances.ts';
import { execution } from '../../../src/rpc/services/execution.ts';
import { operations } from '../../../src/rpc/services/operations.ts';
import { worker } from '../../../src/rpc/services/worker.ts';
import { ExecutionRig } from '../../execution/rig.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { startServer } from '../../support/start-server.ts';
import type { CallOptions, TestClient } from '../../support/test-client.ts';
import { testInstance } from '../../support/test-instance.ts';

const path = '/build.bazel.remote.execution.v2.Execution';

/** A server that runs actions for `main` and `team`, has a cache alone as `cache`, and its client. */
export async function startExecution(t: TestContext, log: Log = silentLog) {
  const rig = new ExecutionRig(t);
  const waitClock = new FakeClock();
  const { blobs, actions, execution: port, scheduler } = rig;
  const rooms = { blobs, actions, execution: port, operations: scheduler };
  const instances = new Instances([
    testInstance({ name: 'main', ...rooms }),
    testInstance({ name: 'team', ...rooms }),
    testInstance({ name: 'cache' }),
  ]);
  const services = [execution(instances), operations(instances, waitClock), worker(scheduler)];
  const { client, listener } = await startServer(t, services, { log });
  const stream = <Request>(
    method: string,
    type: { encode(request: Request): { finish(): Uint8Array } },
    request: Request,
    options: CallOptions = {},
  ) => client.serverStream(`${path}/${method}`, type, Operation, request, options);
  return {
    rig,
    /** Of WaitOperation alone. */
    waitClock,
    client,
    listener,
    execute: (request: DeepPartial<ExecuteRequest>, options?: CallOptions) =>
      stream(
        'Execute',
        ExecuteRequest,
        ExecuteRequest.fromPartial({ instanceName: 'main', ...request }),
        options,
      ),
    wait: (name: string, options?: CallOptions) =>
      stream('WaitExecution', WaitExecutionRequest, { name }, options),
  };
}

/** What a worker says over the network, and hears. */
export function connectWorker(t: TestContext, client: TestClient) {
  const method = '/expbuild.worker.v1.WorkerService/Connect';
  const call = client.bidi(method, WorkerState, DesiredState);
  t.after(() => call.cancel());
  const desired = call[Symbol.asyncIterator]() as AsyncIterator<DesiredState>;
  return {
    say: (state: DeepPartial<WorkerState>) => call.write(WorkerState.fromPartial(state)),
    hear: () => desired.next(),
  };
}

/** What an operation's Any fields hold. */
export function unpacked({ metadata, result }: Operation) {
  return {
    metadata: ExecuteOperationMetadata.decode(metadata?.value ?? new Uint8Array()),
    response: result && result.$case === 'response' && ExecuteResponse.decode(result.value.value),
  };
}
