// A server in a process of its own, which answers questions about itself: see running-target.ts.
//
//   node --expose-gc test/fuzz/target.ts FOLDER
import { globSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { createLog } from '../../src/base/log.ts';
import { allDigestFunctions } from '../../src/digest/digest-functions.ts';
import { startTestServer } from '../support/start-expbuild-server.ts';

export interface TargetMethod {
  readonly path: string;
  readonly lasting: boolean;
}

export interface TargetReport {
  readonly address: string;
  readonly methods: readonly TargetMethod[];
  /** What is left in the heap and beside it when all garbage is gone. */
  readonly heapBytes: number;
  /** Lines of the log that speak of a fault of the server. */
  readonly errors: readonly string[];
  /** Files in the store whose content is not what their name says. */
  readonly wrongBlobs: readonly string[];
  /** Uploads under way, or left behind. */
  readonly incomingFiles: number;
  /** Of this process, in all. */
  readonly cpuSeconds: number;
}

const [, , folder = ''] = process.argv;
const errors: string[] = [];
const log = createLog({
  level: 'error',
  format: 'text',
  write: (line) => void errors.push(line),
  now: () => 0,
});
const closing = new AsyncDisposableStack();
const server = await startTestServer(
  { after: (hook) => closing.defer(hook as () => Promise<void>) },
  { folder, log, toml: '[execution]\nworker_grace = "1s"\nqueue_max = 50' },
);

function findWrongBlobs(blobsFolder: string): string[] {
  return globSync('*/*/*/*', { cwd: blobsFolder }).filter((file) => {
    const [, functionName = ''] = file.split(path.sep);
    const wanted = functionName.toUpperCase();
    const digestFunction = allDigestFunctions.find(({ name }) => name === wanted);
    const bytes = readFileSync(path.join(blobsFolder, file));
    const hash = Buffer.from(digestFunction?.hashOf(bytes) ?? '').toString();
    return path.basename(file) !== `${hash}-${bytes.length}`;
  });
}

async function report(): Promise<TargetReport> {
  for (let round = 0; round < 3; round++) {
    globalThis.gc?.();
    await setTimeout(20);
  }
  const { heapUsed, external } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  const cas = path.join(folder, 'data', 'cas');
  return {
    address: server.address,
    methods: server.services.flat().map((method) => ({
      path: method.path,
      lasting: method.lasting ?? false,
    })),
    heapBytes: heapUsed + external,
    errors: errors.splice(0),
    wrongBlobs: findWrongBlobs(path.join(cas, 'blobs-v1')),
    incomingFiles: readdirSync(path.join(cas, 'incoming')).length,
    cpuSeconds: (user + system) / 1e6,
  };
}

process.on('message', (question) => {
  const stopped = question === 'stop' ? closing.disposeAsync() : undefined;
  void (async () => {
    await stopped;
    const answer = await report();
    process.send?.(answer, undefined, {}, () => stopped && process.disconnect?.());
  })();
});
process.send?.('ready');
