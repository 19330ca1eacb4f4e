import { spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { Client, credentials } from '@grpc/grpc-js';
import {
  Action,
  BatchUpdateBlobsRequest,
  Command,
  type Digest,
  Directory,
  ExecuteRequest,
  ExecuteResponse,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { Operation } from '../../src/proto/google/longrunning/operations.ts';
import type { Encodable } from '../../src/rpc/method.ts';
import { bytesOf, drain, expect, spread, unary } from './load.ts';

const actions = 200;
const inputs = 20;

function blobOf<T>(type: Encodable<T>, message: T): { digest: Digest; data: Buffer } {
  const data = bytesOf(type, message);
  return {
    data,
    digest: { hash: createHash('sha256').update(data).digest('hex'), sizeBytes: data.length },
  };
}

/** Runs `/bin/true` over and over as actions with 20 inputs, and as plain children of Node. */
export async function execNoop(port: number, rounds: number): Promise<string> {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  const ours: number[] = [];
  const plain: number[] = [];
  for (let round = 0; round < rounds; round++) {
    ours.push(await remoteRound(client));
    plain.push(await spawnRound());
  }
  client.close();
  const median = (values: number[]) => values.toSorted((a, b) => a - b)[rounds >> 1] ?? Number.NaN;
  return (
    `| exec-noop | ${median(ours).toFixed(0)} actions/s | ${median(plain).toFixed(0)} ` +
    `| ${(median(ours) / median(plain)).toFixed(2)}× | – | – | – |`
  );
}

async function remoteRound(client: Client): Promise<number> {
  const files = Array.from({ length: inputs }, (_, i) => {
    const data = Buffer.from(`input ${i} of the noop benchmark\n`);
    const hash = createHash('sha256').update(data).digest('hex');
    return {
      name: `input-${String(i).padStart(2, '0')}`,
      data,
      digest: { hash, sizeBytes: data.length },
    };
  });
  const root = blobOf(Directory, Directory.fromPartial({ files }));
  const command = blobOf(Command, Command.fromPartial({ arguments: ['/bin/true'] }));
  const requests = Array.from({ length: actions }, () =>
    blobOf(
      Action,
      Action.fromPartial({
        commandDigest: command.digest,
        inputRootDigest: root.digest,
        doNotCache: true,
        salt: Buffer.from(randomUUID()),
      }),
    ),
  );
  const blobs = [root, command, ...files, ...requests];
  await unary(
    client,
    '/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs',
    bytesOf(
      BatchUpdateBlobsRequest,
      BatchUpdateBlobsRequest.fromPartial({
        requests: blobs.map(({ digest, data }) => ({ digest, data })),
      }),
    ),
  );
  const startedAt = performance.now();
  await spread(actions, 16, async (i) => {
    const { last } = await drain(
      client,
      '/build.bazel.remote.execution.v2.Execution/Execute',
      bytesOf(
        ExecuteRequest,
        ExecuteRequest.fromPartial({
          actionDigest: requests[i]?.digest ?? root.digest,
          skipCacheLookup: true,
        }),
      ),
    );
    const { result } = Operation.decode(last);
    expect(result?.$case === 'response', 'an action did not run');
    if (result?.$case !== 'response') return;
    const response = ExecuteResponse.decode(result.value.value);
    const exitCode = response.result?.exitCode;
    expect((response.status?.code ?? 0) === 0 && exitCode === 0, `exit code ${exitCode}`);
  });
  return actions / ((performance.now() - startedAt) / 1000);
}

async function spawnRound(): Promise<number> {
  const startedAt = performance.now();
  await spread(actions, 2, async () => {
    await once(spawn('/bin/true', { stdio: 'ignore' }), 'exit');
  });
  return actions / ((performance.now() - startedAt) / 1000);
}
