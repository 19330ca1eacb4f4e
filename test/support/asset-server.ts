import { createHash } from 'node:crypto';
import type { RequestListener } from 'node:http';
import type { TestContext } from 'node:test';
import { collect } from '../../src/base/chunks.ts';
import { type Log, silentLog } from '../../src/base/log.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import { Digest } from '../../src/digest/digest.ts';
import { assetClient } from './asset-client.ts';
import { inReverse } from './in-reverse.ts';
import { never } from './never.ts';
import { startTestServer } from './start-expbuild-server.ts';
import { tempDir } from './temp-dir.ts';

/** As `checksum.sri` has it. */
export const sri = (content: string, algorithm = 'sha256') =>
  `${algorithm}-${createHash(algorithm).update(content).digest('base64')}`;

/** Lets the server fetch from origins of a test. */
export const allowed = 'allowed_private_hosts = ["127.0.0.1"]';
const inMemory = '[cas_storage]\ntype = "memory"\n[action_cache]\ntype = "memory"';

interface Options {
  readonly toml?: string;
  readonly onDisk?: boolean;
  readonly log?: Log;
}

/** A server that may fetch from this machine, and clients of it. */
export async function startAssetServer(context: Pick<TestContext, 'after'>, options: Options = {}) {
  const { toml = allowed, onDisk = false, log = silentLog } = options;
  const t = inReverse(context);
  const folder = tempDir(t);
  const sections = `[remote_asset]\n${toml}\n${onDisk ? '' : inMemory}`;
  const server = await startTestServer(t, { folder, toml: sections, log });
  const read = async (digest: { hash: string; sizeBytes: number } | undefined, df = sha256) => {
    const parsed = Digest.fromMessage(df, digest, 'digest');
    return Buffer.from(await collect(server.blobsOf('').read(parsed, 0, never))).toString();
  };
  return { t, folder, server, read, ...assetClient(t, server.address) };
}

/** Answers each path with the same text. */
export const saying =
  (text: string): RequestListener =>
  (_request, response) =>
    void response.end(text);
