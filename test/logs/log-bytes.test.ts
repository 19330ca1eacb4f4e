import assert from 'node:assert/strict';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { FileBytes, type LogBytes, MemoryBytes } from '../../src/logs/log-bytes.ts';
import { randomBytes, seededRandom } from '../support/seeded-random.ts';
import { tempDir } from '../support/temp-dir.ts';

for (const [name, make] of [
  ['FileBytes', (t: TestContext) => new FileBytes(path.join(tempDir(t), 'bytes'))],
  ['MemoryBytes', () => new MemoryBytes()],
] as const) {
  test(`${name} give back what was written in pieces of any size, from anywhere`, async (t) => {
    const seed = Date.now() % 2 ** 31;
    t.diagnostic(`seed ${seed}`);
    const random = seededRandom(seed);
    const whole = Buffer.from(randomBytes(300_000, seed));
    const bytes: LogBytes = make(t);
    for (let at = 0; at < whole.length;) {
      const size = Math.min(whole.length - at, Math.ceil(random() ** 8 * 100_000));
      await bytes.write(whole.subarray(at, at + size), at);
      at += size;
    }
    const reader = await bytes.openReader();
    for (let reads = 0; reads < 200; reads++) {
      const at = Math.floor(random() * whole.length);
      const bytesMax = Math.min(whole.length - at, Math.ceil(random() * 200_000));
      const read = await reader.read(at, bytesMax);
      assert.ok(read.length > 0 && read.length <= bytesMax);
      assert.ok(whole.subarray(at, at + read.length).equals(read), `${read.length} bytes at ${at}`);
    }
    await reader.close();
    await bytes.close();
    await bytes.remove();
  });
}
