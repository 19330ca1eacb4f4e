// Writes and reads a blob of 4 GiB through a server of its own, as it is and in zstd, and tells the most
// memory that the server's process held (CAS-64). Fails above the bound.
//
//   node scripts/flat-memory.ts [--gib 4] [--bound-mib 400]
import { createHash } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { Readable, Writable } from 'node:stream';
import { parseArgs } from 'node:util';
import { createZstdCompress, createZstdDecompress } from 'node:zlib';
import { Client, type ClientWritableStream, credentials } from '@grpc/grpc-js';
import {
  ReadRequest,
  ReadResponse,
  WriteRequest,
  WriteResponse,
} from '../src/proto/google/bytestream/bytestream.ts';
import { expbuild, freePort, scratchFolder, startRole, stopRole } from './support.ts';

const { values: options } = parseArgs({
  options: {
    gib: { type: 'string', default: '4' },
    'bound-mib': { type: 'string', default: '400' },
  },
});
const MiB = 2 ** 20;
const sizeBytes = Number(options.gib) * 1024 * MiB;

/** Half noise, half text, and no two parts alike: it compresses, but not to nothing. */
function* parts(seed: number): Generator<Buffer> {
  const part = Buffer.alloc(MiB, 'as long as it goes on, it goes on and on; ');
  const noise = createHash('sha512').update(String(seed)).digest();
  for (let i = 0; i < MiB / 2; i += noise.length) {
    noise.writeUInt32LE((noise.readUInt32LE(0) * 1664525 + 1013904223) >>> 0, 0);
    noise.copy(part, i);
  }
  for (let i = 0; i < sizeBytes / MiB; i++) {
    part.writeUInt32LE(i, MiB - 4);
    yield Buffer.from(part);
  }
}

function hashOf(seed: number): string {
  const hash = createHash('sha256');
  for (const part of parts(seed)) hash.update(part);
  return hash.digest('hex');
}

async function write(client: Client, resourceName: string, chunks: AsyncIterable<Buffer>) {
  const answered = Promise.withResolvers<void>();
  const call: ClientWritableStream<WriteRequest> = client.makeClientStreamRequest(
    '/google.bytestream.ByteStream/Write',
    (request: WriteRequest) => Buffer.from(WriteRequest.encode(request).finish()),
    (bytes: Buffer) => WriteResponse.decode(bytes),
    (error) => (error ? answered.reject(error) : answered.resolve()),
  );
  const send = async (request: Partial<WriteRequest>) => {
    if (call.write(WriteRequest.fromPartial(request))) return;
    await new Promise<void>((resolve) => call.once('drain', () => resolve()));
  };
  let writeOffset = 0;
  for await (const data of chunks) {
    await send({ resourceName: writeOffset === 0 ? resourceName : '', writeOffset, data });
    writeOffset += data.length;
  }
  await send({ writeOffset, finishWrite: true });
  call.end();
  await answered.promise;
}

/** The hash of what is read, unpacked if `unpack` is given. */
async function read(client: Client, resourceName: string, unpack?: NodeJS.ReadWriteStream) {
  const hash = createHash('sha256');
  const call = client.makeServerStreamRequest(
    '/google.bytestream.ByteStream/Read',
    (request: ReadRequest) => Buffer.from(ReadRequest.encode(request).finish()),
    (bytes: Buffer) => ReadResponse.decode(bytes).data,
    ReadRequest.fromPartial({ resourceName }),
  );
  const sink = new Writable({
    write: (chunk: Uint8Array, _encoding, done) => {
      hash.update(chunk);
      done();
    },
  });
  const source = Readable.from(call as AsyncIterable<Uint8Array>, { objectMode: true });
  if (unpack) await pipeline(source, unpack, sink);
  else await pipeline(source, sink);
  return hash.digest('hex');
}

const residentMiB = (pid: number, field: 'VmHWM' | 'VmRSS') =>
  Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) /
  1024;

const folder = scratchFolder('flat-memory');
const port = await freePort();
const address = `127.0.0.1:${port}`;
const server = await startRole(
  [expbuild, 'up', '--address', address, '--data', folder],
  /Ctrl-C stops it/,
  () => {},
);
const pid = server.pid ?? 0;
const client = new Client(address, credentials.createInsecure(), {
  'grpc-node.flow_control_window': 8 * MiB,
});
const report = (what: string, seconds: number) =>
  console.log(
    `| ${what} | ${(sizeBytes / 1e6 / seconds).toFixed(0)} MB/s | ${residentMiB(pid, 'VmHWM').toFixed(0)} MiB |`,
  );
const timed = async (what: string, work: () => Promise<void>) => {
  const startedAt = performance.now();
  await work();
  report(what, (performance.now() - startedAt) / 1000);
};
const mustBe = (seen: string, expected: string) => {
  if (seen !== expected) throw new Error(`read ${seen}, wrote ${expected}`);
};
try {
  console.log(
    `${options.gib} GiB; the server starts at ${residentMiB(pid, 'VmRSS').toFixed(0)} MiB`,
  );
  console.log('| step | rate | most memory so far |');
  console.log('| --- | --- | --- |');
  const [plain, packed] = [hashOf(1), hashOf(2)];
  await timed('write', () =>
    write(
      client,
      `uploads/${crypto.randomUUID()}/blobs/${plain}/${sizeBytes}`,
      Readable.from(parts(1)),
    ),
  );
  await timed('read', async () => mustBe(await read(client, `blobs/${plain}/${sizeBytes}`), plain));
  await timed('write zstd', () =>
    write(
      client,
      `uploads/${crypto.randomUUID()}/compressed-blobs/zstd/${packed}/${sizeBytes}`,
      Readable.from(parts(2)).pipe(createZstdCompress()),
    ),
  );
  await timed('read zstd', async () =>
    mustBe(
      await read(client, `compressed-blobs/zstd/${packed}/${sizeBytes}`, createZstdDecompress()),
      packed,
    ),
  );
  const most = residentMiB(pid, 'VmHWM');
  if (most > Number(options['bound-mib'])) {
    console.error(`the server held ${most.toFixed(0)} MiB, more than ${options['bound-mib']}`);
    process.exitCode = 1;
  }
} finally {
  client.close();
  await stopRole(server);
  rmSync(folder, { recursive: true, force: true });
}
