import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RequestMetadata } from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { ApiClient } from '../support/api-client.ts';
import { blobOf } from '../support/blob-of.ts';
import { startFleet } from '../support/fleet.ts';
import { inReverse } from '../support/in-reverse.ts';

const header = 'build.bazel.remote.execution.v2.requestmetadata-bin';
const command = { arguments: ['sh', '-c', 'head -c 8 /dev/urandom | od'] };

test('MD-06: whatever a client says of itself, it has the same blobs, results and operations', async (context) => {
  const t = inReverse(context);
  const { server, worker } = await startFleet(context);
  await worker('one');
  const clientCalled = (name: string) => {
    const metadata = RequestMetadata.fromPartial({
      toolDetails: { toolName: name, toolVersion: name },
      actionId: name,
      toolInvocationId: name,
      correlatedInvocationsId: name,
      actionMnemonic: name,
      targetId: name,
      configurationId: name,
    });
    const value = Buffer.from(RequestMetadata.encode(metadata).finish());
    return new ApiClient(t, server.address, 'main', { metadata: { [header]: value } });
  };
  const [one, other, silent] = [
    clientCalled('one'),
    clientCalled('other'),
    new ApiClient(t, server.address),
  ];
  const actionDigest = await one.putAction({ command });
  const blobDigests = [actionDigest];
  const first = await one.run({ actionDigest });
  assert.equal(first.cachedResult, false);
  for (const client of [other, silent]) {
    assert.deepEqual((await client.findMissing({ blobDigests })).missingBlobDigests, []);
    assert.equal((await client.batchRead({ digests: blobDigests })).responses[0]?.status?.code, 0);
    const { stdoutDigest } = await client.getActionResult({ actionDigest });
    assert.deepEqual(stdoutDigest, first.result?.stdoutDigest);
    assert.equal((await client.run({ actionDigest })).cachedResult, true);
  }
  await other.updateActionResult({ actionDigest, actionResult: { exitCode: 7 } });
  assert.equal((await one.getActionResult({ actionDigest })).exitCode, 7);

  const slow = { arguments: ['sh', '-c', 'sleep 0.3; head -c 8 /dev/urandom | od'] };
  const joined = { actionDigest: await one.putAction({ command: slow }) };
  const results = await Promise.all([one, other, silent].map((client) => client.run(joined)));
  const outputs = new Set(results.map(({ result }) => result?.stdoutDigest?.hash));
  assert.equal(outputs.size, 1, 'an action that runs already is joined');
  assert.notEqual([...outputs][0], blobOf('').digest.hash);
});
