import type { TestContext } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { newId } from '../../src/base/id.ts';
import {
  defaultLocalLogStreamsOptions,
  LocalLogStreams,
} from '../../src/logs/local-log-streams.ts';

/** Log streams of 64 MiB in memory, gone after the test. */
export async function memoryLogStreams(t: Pick<TestContext, 'after'>): Promise<LocalLogStreams> {
  const logs = await LocalLogStreams.open({
    ...defaultLocalLogStreamsOptions,
    folder: undefined,
    clock: systemClock,
    newId,
    bytesMax: 2 ** 26,
    retentionMs: 60_000,
  });
  t.after(() => logs.close());
  return logs;
}
