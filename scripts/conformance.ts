// Writes docs/conformance.md: for every rule of the protocol checklist the tests that show it, found by
// the rule's id in their names.
//
//   node scripts/conformance.ts            writes it
//   node scripts/conformance.ts --check    fails when it is not what would be written
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { projectRoot } from './support.ts';

interface Rule {
  readonly id: string;
  readonly level: string;
  readonly text: string;
}

/** What is not built yet, by the rules' prefix: their tests come with it. */
const notBuilt: ReadonlyMap<string, string> = new Map([
  ['AST', 'the Remote Asset API is not built yet'],
  ['LOG', 'the LogStream API is not built yet'],
]);

const sections: readonly (readonly [prefix: string, title: string])[] = [
  ['GEN', 'General: transport, instances, errors'],
  ['DIG', 'Digests and digest functions'],
  ['CMP', 'Compression'],
  ['CAP', 'Capabilities'],
  ['CAS', 'ContentAddressableStorage'],
  ['CDC', 'Split, splice and chunking'],
  ['BS', 'ByteStream'],
  ['AC', 'ActionCache'],
  ['EXE', 'Execution'],
  ['OPS', 'Operations'],
  ['ACT', 'Action, Command, Platform'],
  ['DIR', 'Input trees'],
  ['RES', 'Results and outputs'],
  ['WRK', 'Worker'],
  ['MD', 'RequestMetadata'],
  ['AST', 'Remote Asset'],
  ['LOG', 'LogStream'],
  ['ERR', 'Status codes and retries'],
  ['CLI', 'Our client'],
  ['BZL', 'Bazel'],
  ['BK2', 'Buck2'],
  ['PNT', 'Pants'],
  ['MOO', 'moon'],
  ['RCC', 'recc and buildbox'],
  ['RCL', 'remote-apis-sdks and reclient'],
  ['SIS', 'Siso'],
  ['BST', 'BuildStream'],
];

const target = path.join(projectRoot, 'docs', 'conformance.md');
const prefixOf = (id: string) => id.split('-')[0] ?? '';

function readRules(): Rule[] {
  const [, ...rows] = readFileSync(path.join(projectRoot, 'test/conformance/rules.tsv'), 'utf8')
    .trimEnd()
    .split('\n');
  return rows.map((row) => {
    const [id = '', level = '', text = ''] = row.split('\t');
    return { id, level, text };
  });
}

/** The files whose tests name each rule; a comment is no test. */
function findTests(): Map<string, string[]> {
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

function shownBy(rule: Rule, tests: ReadonlyMap<string, readonly string[]>): string {
  const files = tests.get(rule.id) ?? [];
  if (files.length > 0)
    return files.map((file) => `[${path.basename(file)}](../${file})`).join(', ');
  return `– ${notBuilt.get(prefixOf(rule.id)) ?? 'no test yet'}`;
}

function page(rules: readonly Rule[], tests: ReadonlyMap<string, readonly string[]>): string {
  const shown = (some: readonly Rule[]) => some.filter(({ id }) => tests.has(id)).length;
  const levels = ['MUST', 'MUST+', 'SHOULD', 'MAY'].map((level) => {
    const some = rules.filter((rule) => rule.level === level);
    return `| ${level} | ${some.length} | ${shown(some)} | ${some.length - shown(some)} |`;
  });
  const parts = sections.map(([prefix, title]) => {
    const some = rules.filter(({ id }) => prefixOf(id) === prefix);
    const rows = some.map(
      (rule) =>
        `| ${rule.id} | ${rule.level} | ${rule.text.replaceAll('|', '\\|')} | ${shownBy(rule, tests)} |`,
    );
    return [
      `## ${title}`,
      '',
      `${shown(some)} of ${some.length}.`,
      '',
      '| id | level | rule | shown by |',
      '| --- | --- | --- | --- |',
      ...rows,
      '',
    ].join('\n');
  });
  return [
    '# Conformance',
    '',
    'The rules of the Remote Execution API v2 as we read them, and those that real clients add (`MUST+`).',
    'A rule counts as shown when a test that `npm test` runs has its id in its name. This page is made by',
    '`node scripts/conformance.ts`, and `npm run check` compares it; do not edit it.',
    '',
    '| level | rules | shown by a test | without one |',
    '| --- | --- | --- | --- |',
    ...levels,
    `| all | ${rules.length} | ${shown(rules)} | ${rules.length - shown(rules)} |`,
    '',
    ...parts,
  ].join('\n');
}

const text = page(readRules(), findTests());
if (!process.argv.includes('--check')) writeFileSync(target, text);
else if (readFileSync(target, 'utf8') !== text) {
  console.error('docs/conformance.md is not what the tests say: run node scripts/conformance.ts');
  process.exit(1);
}
