import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { ExecutedActionMetadata } from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { HeldLease_Phase } from '../../src/proto/expbuild/worker/v1/worker.ts';
import { requestOf, Rig } from './rig.ts';

test('HI-24: a failure is told with a code of gRPC and with words that a client takes', () => {
  const rig = new Rig({ failuresMax: 1 });
  const worker = rig.worker('w');
  const request = requestOf('a');
  const name = rig.enqueue(request);
  worker.fail(worker.lease, 99 as Code, `disk full${'!'.repeat(5_000_000)}`);
  assert.equal(rig.codeOf(name), Code.INTERNAL);
  const message = rig.messageOf(name);
  assert.match(message, /^worker w: disk full!+; workers failed 1 times to run action /);
  assert.ok(message.includes(request.action.hash));
  assert.ok(message.length < 3_000, `${message.length}`);
});

test('HI-24: metadata that no action has need of goes to nobody', () => {
  const rig = new Rig();
  const worker = rig.worker('w');
  const name = rig.enqueue(requestOf('a'));
  const tell = (named: string) => {
    const metadata = ExecutedActionMetadata.fromPartial({ worker: named });
    worker.hold(worker.lease, HeldLease_Phase.PHASE_RUNNING, { metadata });
    return rig.state(name).metadata.partialExecutionMetadata?.worker;
  };
  assert.equal(tell('w'), 'w');
  assert.equal(tell('w'.repeat(5_000_000)), '');
});
