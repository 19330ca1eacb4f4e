// Times every digest function, best of five: long blobs by the stream, and blobs of 1 KiB at once.
//
//   node scripts/bench/hashes.ts
import { allDigestFunctions } from '../../src/digest/digest-functions.ts';

const MiB = Buffer.alloc(2 ** 20, 7);
const KiB = Buffer.alloc(2 ** 10, 3);

function bestMs(times: number, work: () => void): number {
  const rounds = Array.from({ length: 5 }, () => {
    const startedAt = performance.now();
    for (let i = 0; i < times; i++) work();
    return (performance.now() - startedAt) / times;
  });
  return Math.min(...rounds);
}

const figures = allDigestFunctions.map((digestFunction) => {
  const hasher = digestFunction.createHasher(5 * 64 * MiB.length);
  const longMs = bestMs(64, () => hasher.update(MiB));
  const shortMs = bestMs(2_000, () => digestFunction.hashOf(KiB));
  return { name: digestFunction.name, longMs, shortMs };
});
const [sha256] = figures;
if (!sha256) throw new Error('no digest function');
console.log('| digest function | GB/s | against SHA256 | µs per KiB | against SHA256 |');
console.log('| --- | --- | --- | --- | --- |');
for (const { name, longMs, shortMs } of figures) {
  const cells = [
    (MiB.length / 1e6 / longMs).toFixed(2),
    `${(sha256.longMs / longMs).toFixed(2)}×`,
    (shortMs * 1_000).toFixed(2),
    `${(sha256.shortMs / shortMs).toFixed(2)}×`,
  ];
  console.log(`| ${name} | ${cells.join(' | ')} |`);
}
