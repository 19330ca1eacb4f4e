import { randomFillSync } from 'node:crypto';
import { writeSync } from 'node:fs';
import { chunksOf } from '../../src/base/chunks.ts';
import { systemClock } from '../../src/base/clock.ts';
import { silentLog } from '../../src/base/log.ts';
import { FilesystemBlobs } from '../../src/cas/filesystem-blobs.ts';
import { blobOf } from './blob-of.ts';
import { never } from './never.ts';

// Writes blobs of many sizes into the folder given, a few at once, and says `hash/size` of each that was
// acknowledged. It goes on until it is killed.
const [root = '', sizeBytesMax = ''] = process.argv.slice(2);
const blobs = await FilesystemBlobs.open(
  { root, sizeBytesMax: Number(sizeBytesMax), durability: 'full' },
  systemClock,
  silentLog,
);
const store = blobs.namespace('');

async function writeForEver(lane: number): Promise<never> {
  for (let n = lane; ; n++) {
    const { digest, bytes } = blobOf(randomFillSync(new Uint8Array(1 + ((n * 7919) % 200_000))));
    await store.write(digest, chunksOf(bytes), never);
    writeSync(1, `${digest}\n`);
  }
}

await Promise.all([1, 2, 3, 4, 5, 6].map(writeForEver));
