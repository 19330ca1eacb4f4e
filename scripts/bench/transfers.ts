// Times our own client's uploads and downloads as they are against compressed and chunked ones, on loopback.
//
//   npm run build && node scripts/bench/transfers.ts [--rounds 5]
//
// Prints for each kind of blob the rate of both, the bytes on the wire, and the speed of the line below which
// the other way pays: there the bytes that it saves take as long as its work.
import { open, rm } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { parseArgs } from 'node:util';
import { chunksOf } from '../../src/base/chunks.ts';
import { systemClock } from '../../src/base/clock.ts';
import { newId } from '../../src/base/id.ts';
import { connectRemote, type Remote } from '../../src/cli/remote.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import { Digest } from '../../src/digest/digest.ts';
import { expect } from './load.ts';
import { expbuild, freePort, scratchFolder, startRole, stopRole } from '../support.ts';

const { values: options } = parseArgs({ options: { rounds: { type: 'string', default: '5' } } });
const rounds = Number(options.rounds);
const MiB = 2 ** 20;
const never = new AbortController().signal;

/** Each call gives blobs that the server has not seen. */
type Make = () => Promise<readonly Buffer[]>;

const kinds: Readonly<Record<string, Make>> = {
  'a program of 64 MiB': async () => [Buffer.concat([randomBytes(16), await program(64 * MiB)])],
  'noise of 64 MiB': async () => [randomBytes(64 * MiB)],
  '1000 pieces of a program, 16 KiB each': async () => {
    const bytes = await program(1000 * 16 * 1024);
    return Array.from({ length: 1000 }, (_, n) =>
      Buffer.concat([randomBytes(16), bytes.subarray(n * 16_384, (n + 1) * 16_384 - 16)]),
    );
  },
};

/** Blobs of which the server has seen most. */
const versions: Readonly<Record<string, Make>> = {
  '64 MiB, of which 64 KiB changed': async () => {
    const bytes = await program(64 * MiB);
    randomBytes(64 * 1024).copy(bytes, 20 * MiB);
    return [bytes];
  },
  '64 MiB, all new': async () => [randomBytes(64 * MiB)],
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

/** How our client is configured, against its defaults. */
interface Manner {
  readonly compression: 'off' | 'zstd';
  readonly chunking: 'off' | 'uploads';
}

const remoteAt = (port: number, manner: Manner) =>
  connectRemote(
    { address: { host: '127.0.0.1', port }, instanceName: 'main', ...manner },
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

const folder = scratchFolder('bench');
const port = await freePort();
const server = await startRole(
  [expbuild, 'up', '--address', `127.0.0.1:${port}`, '--data', folder],
  new RegExp(`:${port}`),
  () => {},
);
const proxy = await countingProxy(port);
const proxyPort = (proxy.server.address() as AddressInfo).port;

interface Measured {
  readonly taken: readonly Taken[];
  readonly wire: { readonly up: number; readonly down: number };
  readonly sizeBytes: number;
}

async function measure(make: Make, manner: Manner): Promise<Measured> {
  using direct = await remoteAt(port, manner);
  using counted = await remoteAt(proxyPort, manner);
  await roundTrip(direct, await make());
  Object.assign(proxy, { up: 0, down: 0 });
  const contents = await make();
  await roundTrip(counted, contents);
  const wire = { up: proxy.up, down: proxy.down };
  const taken: Taken[] = [];
  for (let round = 0; round < rounds; round++) taken.push(await roundTrip(direct, await make()));
  return { taken, wire, sizeBytes: contents.reduce((sum, { length }) => sum + length, 0) };
}

async function compare(blobs: Readonly<Record<string, Make>>, manner: Manner): Promise<void> {
  const name = manner.compression === 'off' ? 'chunks' : manner.compression;
  console.log(`| blobs | way | plain MB/s | ${name} MB/s | bytes | ${name} pay at Mbit/s |`);
  console.log('| --- | --- | --- | --- | --- | --- |');
  for (const [kind, make] of Object.entries(blobs)) {
    const plain = await measure(make, { compression: 'off', chunking: 'off' });
    const other = await measure(make, manner);
    for (const [way, key] of [
      ['up', 'upSeconds'],
      ['down', 'downSeconds'],
    ] as const) {
      if (way === 'down' && manner.chunking !== 'off') continue;
      const [before, after] = [plain, other].map(({ taken }) => median(taken.map((t) => t[key])));
      const rate = (seconds = Number.NaN) => (plain.sizeBytes / seconds / 1e6).toFixed(0);
      const share = ((100 * other.wire[way]) / plain.wire[way]).toFixed(0);
      const pays = breakEven(plain.wire[way] - other.wire[way], (after ?? 0) - (before ?? 0));
      console.log(`| ${kind} | ${way} | ${rate(before)} | ${rate(after)} | ${share} % | ${pays} |`);
    }
  }
}

try {
  await compare(kinds, { compression: 'zstd', chunking: 'off' });
  console.log();
  await compare(versions, { compression: 'off', chunking: 'uploads' });
} finally {
  proxy.server.close();
  await stopRole(server);
  await rm(folder, { recursive: true, force: true });
}
