import { globSync } from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import type { ServiceError } from '@grpc/grpc-js';
import { Code } from '../../src/base/status.ts';
import type { Blob } from '../support/blob-of.ts';
import { ApiClient } from '../support/api-client.ts';
import { inReverse } from '../support/in-reverse.ts';
import { startTestServer } from '../support/start-expbuild-server.ts';
import { tempDir } from '../support/temp-dir.ts';
import { TestClient } from '../support/test-client.ts';

/** Nobody pulls the plug here. */
const quick = '[cas_storage]\ndurability = "normal"';

/** A real server on a disk, a client that knows the API, and one that knows bytes. */
export async function startHostile(context: TestContext, toml = '') {
  const t = inReverse(context);
  const folder = tempDir(t);
  const { address } = await startTestServer(t, { folder, toml: `${quick}\n${toml}` });
  const client = new ApiClient(t, address);
  const cas = path.join(folder, 'data', 'cas');
  return {
    address,
    client,
    wire: new TestClient(t, address),
    isMissing: async ({ digest }: Blob) => {
      const request = { blobDigests: [digest.toMessage()] };
      return (await client.findMissing(request)).missingBlobDigests.length === 1;
    },
    /** Files of uploads that are under way, or were left behind. */
    incoming: () => globSync('*', { cwd: path.join(cas, 'incoming') }),
    fileOf: ({ digest }: Blob) => {
      const [file = ''] = globSync(`blobs-v1/*/*/*/${digest.hash}-*`, { cwd: cas });
      return path.join(cas, file);
    },
  };
}

/** The code that the call ends with. */
export async function codeOf(call: Promise<unknown>): Promise<number> {
  try {
    await call;
    return Code.OK;
  } catch (thrown) {
    return (thrown as ServiceError).code;
  }
}
