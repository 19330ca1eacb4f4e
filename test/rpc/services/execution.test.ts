import type { ServiceError } from '@grpc/grpc-js';
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createLog } from '../../../src/base/log.ts';
import { Code } from '../../../src/base/status.ts';
import { sha1 } from '../../../src/digest/digest-functions.ts';
import { Digest } from '../../../src/digest/digest.ts';
import { RequestMetadata } from '../../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { PreconditionFailure } from '../../../src/proto/google/rpc/error_details.ts';
import type { Operation } from '../../../src/proto/google/longrunning/operations.ts';
import { blobOf } from '../../support/blob-of.ts';
import { startExecution, unpacked } from './execution-rig.ts';

const success = { result: { exitCode: 3, stdoutRaw: Buffer.from('hi'), executionMetadata: {} } };

async function first(stream: AsyncIterator<Operation>): Promise<Operation> {
  const { value, done } = await stream.next();
  assert.ok(!done);
  return value;
}

describe('Execute', () => {
  it('EXE-01, EXE-02, EXE-03, EXE-12, EXE-26, EXE-45: states of one name, the last one done', async (t) => {
    const { rig, execute } = await startExecution(t);
    const action = await rig.putAction();
    rig.serve(t, () => success);
    const seen = await Array.fromAsync(execute({ actionDigest: action.toMessage() }));
    assert.equal(new Set(seen.map(({ name }) => name)).size, 1);
    assert.match(seen[0]?.name ?? '', /^main\/operations\/.+$/);
    for (const operation of seen) {
      assert.equal(
        operation.metadata?.typeUrl,
        'type.googleapis.com/build.bazel.remote.execution.v2.ExecuteOperationMetadata',
      );
      assert.equal(unpacked(operation).metadata.actionDigest?.hash, action.hash, 'EXE-61');
      assert.notEqual(operation.result?.$case, 'error');
    }
    assert.deepEqual(
      seen.map(({ done }) => done),
      seen.map((_, index) => index === seen.length - 1),
    );
    const last = seen.at(-1);
    assert.ok(last?.result?.$case === 'response');
    assert.equal(
      last.result.value.typeUrl,
      'type.googleapis.com/build.bazel.remote.execution.v2.ExecuteResponse',
    );
    const { response } = unpacked(last);
    assert.ok(response);
    assert.equal(response.result?.exitCode, 3);
  });

  it('is one line in the log, which names request, invocation, action and operation', async (t) => {
    const lines: string[] = [];
    const write = (line: string) => void lines.push(line);
    const log = createLog({ level: 'info', format: 'json', write, now: () => 0 });
    const { rig, execute, wait } = await startExecution(t, log);
    const action = await rig.putAction();
    rig.serve(t, () => success);
    const metadata = RequestMetadata.fromPartial({ toolInvocationId: 'i-1' });
    const header = 'build.bazel.remote.execution.v2.requestmetadata-bin';
    const headers = { [header]: Buffer.from(RequestMetadata.encode(metadata).finish()) };
    const request = { actionDigest: action.toMessage() };
    const [operation] = await Array.fromAsync(execute(request, { metadata: headers }));
    await Array.fromAsync(wait(operation?.name ?? ''));
    const [line, waited, ...more] = lines.map(
      (text) => JSON.parse(text) as Record<string, unknown>,
    );
    assert.deepEqual(more, []);
    assert.partialDeepStrictEqual(line, {
      message: 'action answered',
      invocation: 'i-1',
      action: `${action}`,
      operation: operation?.name,
      cached: false,
      exitCode: 3,
    });
    assert.match(String(line?.['request']), /^.{36}$/);
    assert.partialDeepStrictEqual(waited, { action: `${action}`, operation: operation?.name });
  });

  it('EXE-01: the first message comes at once, though no worker is there', async (t) => {
    const { rig, execute } = await startExecution(t);
    const action = await rig.putAction();
    const operation = await first(execute({ actionDigest: action.toMessage() }));
    assert.notEqual(operation.name, '');
    assert.equal(operation.done, false);
    assert.equal(operation.result, undefined);
  });

  it('EXE-12, EXE-13, EXE-51: missing inputs are told in the response of a done operation', async (t) => {
    const { execute } = await startExecution(t);
    const actionDigest = blobOf('no action').digest.toMessage();
    const operation = (await Array.fromAsync(execute({ actionDigest }))).at(-1);
    assert.ok(operation?.done);
    const { response } = unpacked(operation);
    assert.ok(response);
    assert.equal(response.status?.code, Code.FAILED_PRECONDITION);
    const [detail, ...others] = response.status.details;
    assert.deepEqual(others, []);
    assert.equal(detail?.typeUrl, 'type.googleapis.com/google.rpc.PreconditionFailure');
    const { violations } = PreconditionFailure.decode(detail.value);
    const subject = `blobs/${actionDigest.hash}/${actionDigest.sizeBytes}`;
    assert.equal(violations[0]?.type, 'MISSING');
    assert.equal(violations[0]?.subject, subject);
  });

  const actionDigest = blobOf('x').digest.toMessage();
  for (const [what, request] of [
    ['EXE-05, BST-01: an empty request', {}],
    ['EXE-05: a malformed digest', { actionDigest: { hash: 'x', sizeBytes: 1 } }],
    ['EXE-16: a function not announced', { actionDigest, digestFunction: 6 as const }],
    ['DIG-07: a function of another length', { actionDigest, digestFunction: sha1.value }],
    [
      'EXE-14: a priority not announced',
      { actionDigest, executionPolicy: { priority: 1_000_001 } },
    ],
    ['EXE-15: a priority of results', { actionDigest, resultsCachePolicy: { priority: 1 } }],
    ['GEN-04: an unknown instance', { actionDigest, instanceName: 'nope' }],
  ] as const) {
    it(`${what} is INVALID_ARGUMENT, and EXE-54: nobody is told to retry`, async (t) => {
      const { execute } = await startExecution(t);
      await assert.rejects(Array.fromAsync(execute(request)), (thrown) => {
        const { code, metadata } = thrown as ServiceError;
        assert.equal(code, Code.INVALID_ARGUMENT);
        assert.deepEqual(metadata.get('grpc-status-details-bin'), []);
        return true;
      });
    });
  }

  it('EXE-14, EXE-16: announced priorities and functions are taken', async (t) => {
    const { rig, execute } = await startExecution(t);
    const action = (await rig.putAction()).toMessage();
    for (const request of [
      { executionPolicy: { priority: -1_000_000 } },
      { executionPolicy: { priority: 1_000_000 } },
      { resultsCachePolicy: { priority: 0 } },
      { digestFunction: 1 as const },
    ]) {
      await first(execute({ actionDigest: action, ...request }));
    }
    const other = Digest.ofBytes(sha1, Buffer.from('x')).toMessage();
    await first(execute({ actionDigest: other }));
  });

  it('GEN-10: a cache runs nothing, which is UNIMPLEMENTED', async (t) => {
    const { execute } = await startExecution(t);
    const request = { instanceName: 'cache', actionDigest };
    await assert.rejects(Array.fromAsync(execute(request)), { code: Code.UNIMPLEMENTED });
  });

  it('EXE-27, GEN-22: a server that closes ends streams with UNAVAILABLE', async (t) => {
    const { rig, execute, listener } = await startExecution(t);
    const action = await rig.putAction();
    const stream = execute({ actionDigest: action.toMessage() });
    await first(stream);
    const closed = listener.close(1000);
    await assert.rejects(Array.fromAsync(stream), { code: Code.UNAVAILABLE });
    await closed;
  });

  it('EXE-27: a scheduler that closes ends streams with UNAVAILABLE', async (t) => {
    const { rig, execute } = await startExecution(t);
    const action = await rig.putAction();
    const stream = execute({ actionDigest: action.toMessage() });
    await first(stream);
    await rig.scheduler.close();
    await assert.rejects(Array.fromAsync(stream), { code: Code.UNAVAILABLE });
  });
});

describe('WaitExecution', () => {
  it('EXE-20, EXE-22, EXE-25: any number of streams see an operation to its end', async (t) => {
    const { rig, execute, wait } = await startExecution(t);
    const action = await rig.putAction();
    const stopping = new AbortController();
    const cut = execute({ actionDigest: action.toMessage() }, { signal: stopping.signal });
    const { name } = await first(cut);
    stopping.abort();
    await assert.rejects(Array.fromAsync(cut), { code: Code.CANCELLED });
    const streams = Array.from({ length: 10 }, () => wait(name));
    for (const stream of streams) assert.equal((await first(stream)).done, false);
    rig.serve(t, () => success);
    for (const stream of streams) assert.ok((await Array.fromAsync(stream)).at(-1)?.done);
    assert.ok((await Array.fromAsync(wait(name))).at(-1)?.done, 'EXE-23');
  });

  it('EXE-24: an unknown operation is NOT_FOUND', async (t) => {
    const { wait } = await startExecution(t);
    for (const name of [
      'main/operations/x',
      'nope/operations/x',
      'cache/operations/x',
      'x',
      '',
      'operations/',
    ]) {
      await assert.rejects(Array.fromAsync(wait(name)), { code: Code.NOT_FOUND }, name);
    }
  });
});
