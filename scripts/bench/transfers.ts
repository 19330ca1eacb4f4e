// Times our own client's uploads and downloads as they are against compressed ones, in turns, on loopback.
//
//   npm run build && node scripts/bench/transfers.ts [--rounds 5]
//
// Prints for each kind of blob the rate of both, the bytes on the wire, and the speed of the line below which
// compression pays: there the bytes that it saves take as long as the packing.
import { open, mkdtemp, rm } from 'node:fs/promises';
import { randomBytes, randomUUID } from 'node:crypto';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { chunksOf } from '../../src/base/chunks.ts';
import { systemClock } from '../../src/base/clock.ts';
import { newId } from '../../src/base/id.ts';
import { connectRemote, type Remote } from '../../src/cli/remote.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import { Digest } from '../../src/digest/digest.ts';
import { expect } from './load.ts';
import { expbuild, freePort, startRole, stopRole } from '../support.ts';

const { values: options } = parseArgs({ options: { rounds: { type: 'string', default: '5' } } });
const rounds = Number(options.rounds);
const MiB = 2 ** 20;
const never = new AbortController().signal;

/** Each call gives blobs that the server has not seen. */
const kinds: Readonly<Record<string, () => Promise<readonly Buffer[]>>> = {
  'a program of 64 MiB': async () => [Buffer.concat([randomBytes(16), await program(64 * MiB)])],
  'noise of 64 MiB': async () => [randomBytes(64 * MiB)],
  '1000 pieces of a program, 16 KiB each': async () => {
    const bytes = await program(1000 * 16 * 1024);
    return Array.from({ length: 1000 }, (_, n) =>
      Buffer.concat([randomBytes(16), bytes.subarray(n * 16_384, (n + 1) * 16_384 - 16)]),
    );
  },
};

/** The beginning of a large executable: this Node. */
async function program(sizeBytes: number): Promise<Buffer> {
  const file = await open(process.execPath);
  const bytes = Buffer.alloc(sizeBytes);
  await file.read(bytes, 0, sizeBytes, 0);
  await file.close();
  return bytes;
}

interface Taken {
  upSeconds: number;
  downSeconds: number;
}

async function roundTrip({ blobs }: Remote, contents: readonly Buffer[]): Promise<Taken> {
  const items = contents.map((bytes) => ({ digest: Digest.ofBytes(sha256, bytes), bytes }));
  const seconds = async (work: (item: (typeof items)[number]) => Promise<void>) => {
    const startedAt = performance.now();
    await Promise.all(items.map(work));
    return (performance.now() - startedAt) / 1000;
  };
  return {
    upSeconds: await seconds(({ digest, bytes }) => blobs.write(digest, chunksOf(bytes), never)),
    downSeconds: await seconds(async ({ digest }) => {
      let bytes = 0;
      for await (const chunk of blobs.read(digest, 0, never)) bytes += chunk.length;
      expect(bytes === digest.sizeBytes, `${bytes} bytes of ${digest.sizeBytes}`);
    }),
  };
}

/** Counts what goes through to the server and back. */
async function countingProxy(port: number): Promise<{ server: Server; up: number; down: number }> {
  const counts = { server: createServer(), up: 0, down: 0 };
  counts.server.on('connection', (client) => {
    const upstream = connect(port, '127.0.0.1');
    client.on('data', ({ length }) => (counts.up += length)).on('error', () => upstream.destroy());
    upstream
      .on('data', ({ length }) => (counts.down += length))
      .on('error', () => client.destroy());
    client.pipe(upstream);
    upstream.pipe(client);
  });
  await new Promise<void>((resolve) => counts.server.listen(0, '127.0.0.1', resolve));
  return counts;
}

const remoteAt = (port: number, compression: 'off' | 'zstd') =>
  connectRemote(
    { address: { host: '127.0.0.1', port }, instanceName: 'main', compression, chunking: 'off' },
    { clock: systemClock, newId },
    never,
  );

const median = (values: readonly number[]) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

/** In Mbit/s: the line on which saving `savedBytes` makes up for `addedSeconds`. */
function breakEven(savedBytes: number, addedSeconds: number): string {
  if (addedSeconds <= 0) return savedBytes > 0 ? 'always' : 'either';
  return savedBytes <= 0 ? 'never' : `below ${((savedBytes * 8) / addedSeconds / 1e6).toFixed(0)}`;
}

const folder = await mkdtemp(path.join(tmpdir(), `expbuild-bench-${randomUUID()}`));
const port = await freePort();
const server = await startRole(
  [expbuild, 'up', '--address', `127.0.0.1:${port}`, '--data', folder],
  new RegExp(`:${port}`),
  () => {},
);
const proxy = await countingProxy(port);
const proxyPort = (proxy.server.address() as AddressInfo).port;
try {
  console.log('| blobs | way | plain MB/s | zstd MB/s | zstd bytes | zstd pays at Mbit/s |');
  console.log('| --- | --- | --- | --- | --- | --- |');
  for (const [kind, make] of Object.entries(kinds)) {
    const taken: Record<'off' | 'zstd', Taken[]> = { off: [], zstd: [] };
    const wire: Record<'off' | 'zstd', { up: number; down: number }> = {
      off: { up: 0, down: 0 },
      zstd: { up: 0, down: 0 },
    };
    let sizeBytes = 0;
    for (const compression of ['off', 'zstd'] as const) {
      using direct = await remoteAt(port, compression);
      using counted = await remoteAt(proxyPort, compression);
      Object.assign(proxy, { up: 0, down: 0 });
      const contents = await make();
      sizeBytes = contents.reduce((sum, { length }) => sum + length, 0);
      await roundTrip(counted, contents);
      wire[compression] = { up: proxy.up, down: proxy.down };
      for (let round = 0; round < rounds; round++) {
        taken[compression].push(await roundTrip(direct, await make()));
      }
    }
    for (const [way, key] of [
      ['up', 'upSeconds'],
      ['down', 'downSeconds'],
    ] as const) {
      const plain = median(taken.off.map((t) => t[key]));
      const packed = median(taken.zstd.map((t) => t[key]));
      const rate = (seconds: number) => (sizeBytes / seconds / 1e6).toFixed(0);
      const share = ((100 * wire.zstd[way]) / wire.off[way]).toFixed(0);
      const pays = breakEven(wire.off[way] - wire.zstd[way], packed - plain);
      console.log(`| ${kind} | ${way} | ${rate(plain)} | ${rate(packed)} | ${share} % | ${pays} |`);
    }
  }
} finally {
  proxy.server.close();
  await stopRole(server);
  await rm(folder, { recursive: true, force: true });
}
