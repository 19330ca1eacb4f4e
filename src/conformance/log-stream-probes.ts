import { Code, StatusError } from '../base/status.ts';
import { type Api, each, type Piece } from './api.ts';
import {
  expectBytes,
  expectRefusal,
  expectSame,
  expectThat,
  nameOfCode,
  NotApplicable,
} from './expect.ts';
import type { Area } from './probe.ts';
import { rpcs } from './rpcs.ts';

/** What a server answers that has no such service, or makes no streams for just anybody. */
const notForUs: readonly Code[] = [
  Code.UNIMPLEMENTED,
  Code.INVALID_ARGUMENT,
  Code.PERMISSION_DENIED,
  Code.UNAUTHENTICATED,
];

/** How a server may say that a name is none to write to, or not this one. */
const noSuchWriter = [Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.PERMISSION_DENIED];

/** Small streams that nobody else knows of; a server forgets them after a while. */
export const logStreamProbes: Area = {
  name: 'log-streams',
  needs: [],
  prepare: async (api) => {
    await create(api).catch((thrown: unknown) => {
      if (thrown instanceof StatusError && notForUs.includes(thrown.code)) {
        throw new NotApplicable(`no log stream can be made: ${nameOfCode(thrown.code)}`);
      }
      throw thrown;
    });
  },
  probes: [
    {
      ids: ['LOG-01'],
      title: 'a stream has a name, and another for writing with a token that nobody can guess',
      run: async (api) => {
        const streams = [await create(api), await create(api)];
        for (const { name, writeName } of streams) {
          const isName = /(?:^|\/)logstreams\/[^/]+$/.test(name);
          expectThat(isName, 'a name that ends with logstreams/ and an id', name);
          const token = writeName.startsWith(`${name}/`) ? writeName.slice(name.length + 1) : '';
          const isSecret = token.length >= SECRET_CHARS && !token.includes('/');
          expectThat(isSecret, `a write_resource_name of ${name}/ and a token`, writeName);
          const call = write(api, `${name}/${api.random.uuid()}`, { data: textOfLog(1) });
          await expectRefusal(call, noSuchWriter, 'a token that is not the one');
        }
        const names = new Set(streams.flatMap(({ name, writeName }) => [name, writeName]));
        expectSame(names.size, 4, 'the number of different names of two streams');
      },
    },
    {
      ids: ['LOG-02'],
      title: 'a stream cannot be written under its name for reading',
      run: async (api) => {
        const { name, writeName } = await create(api);
        const call = write(api, name, { data: textOfLog(1), finishWrite: true });
        await expectRefusal(call, noSuchWriter, 'a Write to the name');
        await write(api, writeName, { data: textOfLog(2), finishWrite: true });
        expectBytes(await api.read(name), textOfLog(2), 'the log');
      },
    },
    {
      ids: ['LOG-03'],
      title: 'a stream cannot be read under its name for writing',
      run: async (api) => {
        const { writeName } = await create(api);
        await write(api, writeName, { data: textOfLog(1), finishWrite: true });
        const call = api.read(writeName);
        await expectRefusal(call, Code.INVALID_ARGUMENT, 'a Read of write_resource_name');
      },
    },
    {
      ids: ['LOG-05', 'LOG-07'],
      title: 'what several Writes append is read from any offset',
      run: async (api) => {
        const { name, writeName } = await create(api);
        const whole = await writeThree(api, writeName);
        expectBytes(await api.read(name), whole, 'the log');
        const rest = await api.read(name, { readOffset: 7 });
        expectBytes(rest, whole.subarray(7), 'the log from offset 7 on');
      },
    },
    {
      ids: ['LOG-04'],
      title: 'nothing is appended to a stream that is finished',
      run: async (api) => {
        const { name, writeName } = await create(api);
        const whole = await writeThree(api, writeName);
        const late = { data: textOfLog(4), writeOffset: whole.length, finishWrite: true };
        const codes = [Code.FAILED_PRECONDITION, Code.INVALID_ARGUMENT, Code.OUT_OF_RANGE];
        await expectRefusal(write(api, writeName, late), codes, 'a Write after finish_write');
        expectBytes(await api.read(name), whole, 'the log');
      },
    },
    {
      ids: ['LOG-05'],
      title: 'a Write that leaves a gap is refused',
      run: async (api) => {
        const { name, writeName } = await create(api);
        const first = textOfLog(1);
        await write(api, writeName, { data: first });
        const gap = { data: textOfLog(2), writeOffset: first.length + 1, finishWrite: true };
        const codes = [Code.OUT_OF_RANGE, Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION];
        await expectRefusal(write(api, writeName, gap), codes, 'an offset that is one too large');
        await write(api, writeName, { writeOffset: first.length, finishWrite: true });
        expectBytes(await api.read(name), first, 'the log');
      },
    },
    {
      ids: ['LOG-06'],
      title: 'a Read gives what comes, and ends when the stream is finished',
      run: async (api) => {
        const { name, writeName } = await create(api);
        const [first, second] = [textOfLog(1), textOfLog(2)];
        await write(api, writeName, { data: first });
        await using reading = reader(api, name);
        expectBytes(await reading.next(first.length), first, 'the log before it is finished');
        await write(api, writeName, { data: second, writeOffset: first.length });
        expectBytes(await reading.next(second.length), second, 'what is appended');
        const writeOffset = first.length + second.length;
        await write(api, writeName, { writeOffset, finishWrite: true });
        expectSame((await reading.next(Infinity)).length, 0, 'the bytes after the end');
      },
    },
    {
      ids: ['LOG-08'],
      title: 'a reader that takes nothing holds up neither the writer nor other readers',
      run: async (api) => {
        const { name, writeName } = await create(api);
        const first = textOfLog(1);
        await write(api, writeName, { data: first });
        await using slow = reader(api, name);
        await slow.next(1);
        const data = api.random.bytes(LARGE_LOG_BYTES);
        const piece = { data, writeOffset: first.length, finishWrite: true };
        const others = Array.from({ length: 4 }, () => api.read(name));
        const [, ...read] = await Promise.all([write(api, writeName, piece), ...others]);
        for (const log of read) expectBytes(log, Buffer.concat([first, data]), 'the log');
      },
    },
    {
      ids: ['LOG-13'],
      title: 'the state of a stream is what was written so far',
      run: async (api) => {
        const { writeName } = await create(api);
        const { length } = textOfLog(1);
        await write(api, writeName, { data: textOfLog(1) });
        const before = await api.queryWrite(writeName);
        expectSame([before.committedSize, before.complete], [length, false], 'size and complete');
        await write(api, writeName, { writeOffset: length, finishWrite: true });
        const after = await api.queryWrite(writeName);
        expectSame([after.committedSize, after.complete], [length, true], 'size and complete');
      },
    },
    {
      ids: ['LOG-14'],
      title: 'a stream that nobody made is NOT_FOUND',
      run: async (api) => {
        const { name } = await create(api);
        const unknown = `${name.slice(0, name.lastIndexOf('/'))}/${api.random.uuid()}`;
        await expectRefusal(api.read(unknown), Code.NOT_FOUND, 'a Read of it');
        const call = write(api, `${unknown}/${api.random.uuid()}`, { data: textOfLog(1) });
        await expectRefusal(call, Code.NOT_FOUND, 'a Write to it');
      },
    },
  ],
};

/** Fewer could be tried one after the other. */
const SECRET_CHARS = 16;

/** More than is under way to a reader, in small pieces. */
const LARGE_LOG_BYTES = 512 * 1024;

async function create(api: Api): Promise<{ readonly name: string; readonly writeName: string }> {
  const parent = api.tested.instanceName;
  const { name, writeResourceName } = await api.one(rpcs.createLogStream, { parent });
  return { name, writeName: writeResourceName };
}

function textOfLog(line: number): Buffer {
  return Buffer.from(`line ${line} of a log\n`);
}

function write(api: Api, resourceName: string, piece: Piece): Promise<number> {
  return api.write(resourceName, [piece]);
}

/** Three Writes, of which the last finishes the stream; what was written. */
async function writeThree(api: Api, writeName: string): Promise<Buffer> {
  let written = Buffer.of();
  for (const line of [1, 2, 3]) {
    const data = textOfLog(line);
    const piece = { data, writeOffset: written.length, finishWrite: line === 3 };
    written = Buffer.concat([written, data]);
    expectSame(await write(api, writeName, piece), written.length, 'committed_size');
  }
  return written;
}

/** A Read that is taken as slowly as one likes, and left when it is not needed any more. */
function reader(api: Api, resourceName: string) {
  const request = api.encoded(rpcs.read, { resourceName });
  const answers = api.stream(rpcs.read.path, each([request]))[Symbol.asyncIterator]();
  return {
    /** So many bytes more, or those that are left when the stream ends. */
    next: async (sizeBytes: number): Promise<Buffer> => {
      const parts: Uint8Array[] = [];
      let left = sizeBytes;
      while (left > 0) {
        const { done, value } = await answers.next();
        if (done) break;
        const { data } = rpcs.read.response.decode(value);
        parts.push(data);
        left -= data.length;
      }
      return Buffer.concat(parts);
    },
    [Symbol.asyncDispose]: async () => {
      await answers.return?.();
    },
  };
}
