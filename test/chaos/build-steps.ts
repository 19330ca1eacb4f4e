import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { randomBytes } from '../support/seeded-random.ts';

/** One action of a build, and what it must make. */
export interface Step {
  readonly name: string;
  /** Its input root is here. */
  readonly folder: string;
  readonly script: string;
  /** What its output `out` must be. */
  readonly expected: Buffer;
}

export interface StepPlace {
  readonly folder: string;
  readonly sleepMs: number;
}

/** Copies of the hash in an output, each a line: some 33 KB. */
const lines = 500;

/** An action whose output depends on all of its inputs. */
function stepOf(name: string, inputs: readonly Uint8Array[], { folder, sleepMs }: StepPlace): Step {
  const own = path.join(folder, name);
  // Another builder may be reading them.
  const isMade = existsSync(own);
  mkdirSync(own, { recursive: true });
  const hash = createHash('sha256');
  for (const [n, input] of inputs.entries()) {
    if (!isMade) writeFileSync(path.join(own, `in${String(n).padStart(3, '0')}`), input);
    hash.update(input);
  }
  const script = `sleep ${sleepMs / 1_000}; h=$(cat in* | sha256sum | cut -c1-64); yes $h | head -n ${lines} > out`;
  return {
    name,
    folder: own,
    script,
    expected: Buffer.from(`${hash.digest('hex')}\n`.repeat(lines)),
  };
}

/**
 * The steps of a build as rounds, each of which needs what the one before made: files that are compiled, the
 * program that they are linked to, its tests. Builds of one `version` have the same steps, those of others
 * half of them.
 */
export function stepsOf(version: number, folder: string, sleepMs: () => number): Step[][] {
  const at = (): StepPlace => ({ folder: path.join(folder, String(version)), sleepMs: sleepMs() });
  const compiled = Array.from({ length: 12 }, (_, n) => {
    const source = randomBytes(n === 0 ? 300_000 : 2_000, n < 6 ? n : version * 100 + n);
    const header = Buffer.from(`header of ${n < 6 ? 'all' : version}`);
    return stepOf(`compile-${n}`, [header, source], at());
  });
  const linked = stepOf(
    'link',
    compiled.map(({ expected }) => expected),
    at(),
  );
  const tests = Array.from({ length: 4 }, (_, n) =>
    stepOf(`test-${n}`, [linked.expected, Buffer.from(`test ${n}`)], at()),
  );
  return [compiled, [linked], tests];
}
