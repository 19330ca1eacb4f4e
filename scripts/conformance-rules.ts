// What docs/conformance.md is made of: the rules, the tests that show them, the reasons for those that
// no test shows.
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { projectRoot } from './support.ts';

export interface Rule {
  readonly id: string;
  readonly level: string;
  readonly text: string;
}

/** Why no test shows a rule. */
export interface Reason {
  readonly id: string;
  readonly text: string;
  /** What makes a test due, or `never`. */
  readonly due: string;
}

/** Files by the id of the rule that a test in them names. */
export type Tests = ReadonlyMap<string, readonly string[]>;

/** Rules that may be left without a word: no client has to rely on them. */
const optional = 'MAY';

export function readRules(): Rule[] {
  return readRows('rules.tsv').map(([id = '', level = '', text = '']) => ({ id, level, text }));
}

export function readReasons(): Reason[] {
  return readRows('reasons.tsv').map(([id = '', text = '', due = '']) => ({ id, text, due }));
}

/** The files whose tests name each rule; a comment is no test. */
export function findTests(): Tests {
  const found = new Map<string, string[]>();
  for (const file of globSync('test/**/*.ts', { cwd: projectRoot }).toSorted()) {
    const code = readFileSync(path.join(projectRoot, file), 'utf8').replaceAll(
      /^\s*(?:\/\/|\/?\*).*$/gm,
      '',
    );
    for (const id of new Set(code.match(/\b[A-Z][A-Z0-9]{1,2}-\d\d\b/g))) {
      found.set(id, [...(found.get(id) ?? []), file]);
    }
  }
  return found;
}

/** What is wrong with the reasons, a line each: rules that lack one, and reasons that are none. */
export function findProblems(
  rules: readonly Rule[],
  tests: Tests,
  reasons: readonly Reason[],
): string[] {
  const ids = new Set(rules.map(({ id }) => id));
  const reasoned = new Set(reasons.map(({ id }) => id));
  const silent = rules
    .filter(({ id, level }) => level !== optional && !tests.has(id) && !reasoned.has(id))
    .map(({ id, level }) => `${id} (${level}) has neither a test nor a reason`);
  const seen = new Set<string>();
  const wrong = reasons.flatMap(({ id, text, due }) => {
    const twice = seen.has(id);
    seen.add(id);
    if (!ids.has(id)) return [`a reason names ${id}, which is no rule`];
    if (twice) return [`${id} has two reasons`];
    if (text === '' || due === '') return [`the reason of ${id} lacks its text or when it is due`];
    const [file] = tests.get(id) ?? [];
    return file === undefined ? [] : [`${id} has a reason, and a test in ${file}`];
  });
  return [...silent, ...wrong];
}

function readRows(name: string): string[][] {
  const [, ...rows] = readFileSync(path.join(projectRoot, 'test/conformance', name), 'utf8')
    .trimEnd()
    .split('\n');
  return rows.map((row) => row.split('\t'));
}
