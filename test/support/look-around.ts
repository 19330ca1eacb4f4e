import path from 'node:path';
import type { TestContext } from 'node:test';
import type { LookAround } from '../../src/executor/self-test.ts';
import { tempDir } from './temp-dir.ts';

/** For a command that looks around, gone after the test. */
export function lookAround(t: Pick<TestContext, 'after'>, network = false): LookAround {
  return { folder: path.join(tempDir(t), 'test'), network };
}
