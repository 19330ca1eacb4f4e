import { readFileSync } from 'node:fs';
import { Client, type ClientDuplexStream, credentials, type ServiceError } from '@grpc/grpc-js';
import type { Encodable } from '../../src/rpc/method.ts';

/** A server under load: its connections, and the process whose CPU time is charged. */
export interface Target {
  readonly name: string;
  readonly pid: number;
  readonly clients: readonly Client[];
}

const asIs = (bytes: Buffer) => bytes;

export function connect(name: string, pid: number, port: number, connections: number): Target {
  const clients = Array.from(
    { length: connections },
    (_, i) =>
      new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
        'grpc.max_receive_message_length': 64 * 2 ** 20,
        'grpc-node.flow_control_window': 16 * 2 ** 20,
        'grpc.use_local_subchannel_pool': 1,
        'bench.connection': i,
      }),
  );
  return { name, pid, clients };
}

/** A message as bytes, made once and sent many times. */
export function bytesOf<T>(type: Encodable<T>, message: T): Buffer {
  return Buffer.from(type.encode(message).finish());
}

export function unary(client: Client, path: string, request: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, asIs, asIs, request, (error, response) => {
      if (error || !response) reject(error ?? new Error(`${path} answered nothing`));
      else resolve(response);
    });
  });
}

/** Reads an answer to its end; gives the number of bytes in all its messages, and the last of them. */
export function drain(
  client: Client,
  path: string,
  request: Buffer,
): Promise<{ readonly bytes: number; readonly last: Buffer }> {
  return new Promise((resolve, reject) => {
    let bytes = 0;
    let last: Buffer = Buffer.alloc(0);
    const stream = client.makeServerStreamRequest(path, asIs, asIs, request);
    stream.on('data', (message: Buffer) => {
      bytes += message.length;
      last = message;
    });
    stream.on('end', () => resolve({ bytes, last }));
    stream.on('error', reject);
  });
}

/** A wrong answer, however fast, is not worth timing. */
export function expect(isAsExpected: boolean, what: string): void {
  if (!isAsExpected) throw new Error(`the server answered wrongly: ${what}`);
}

/** Sends the messages with back-pressure; resolves with the answer. */
export async function send(
  client: Client,
  path: string,
  messages: Iterable<Buffer>,
): Promise<Buffer> {
  const answered = Promise.withResolvers<Buffer>();
  const stream = client.makeClientStreamRequest(
    path,
    asIs,
    asIs,
    (error: ServiceError | null, response?: Buffer) => {
      if (error || !response) answered.reject(error ?? new Error(`${path} answered nothing`));
      else answered.resolve(response);
    },
  ) as unknown as ClientDuplexStream<Buffer, Buffer>;
  for (const message of messages) {
    if (!stream.write(message)) {
      await new Promise<void>((resolve) => stream.once('drain', () => resolve()));
    }
  }
  stream.end();
  return answered.promise;
}

/** Runs `call(0)` … `call(count - 1)`, `width` at a time. */
export async function spread(
  count: number,
  width: number,
  call: (index: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < count) await call(next++);
  };
  await Promise.all(Array.from({ length: Math.min(width, count) }, lane));
}

/** Processor time of a process so far, in seconds; the kernel counts in ticks of 10 ms. */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
