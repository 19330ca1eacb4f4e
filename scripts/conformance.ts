// Writes docs/conformance.md: for every rule of the protocol checklist the tests that show it, found by
// the rule's id in their names, or the reason why none does (test/conformance/reasons.tsv).
//
//   node scripts/conformance.ts            writes it
//   node scripts/conformance.ts --check    fails when it is not what would be written, or when a rule
//                                          that is no MAY has neither a test nor a reason
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  findProblems,
  findTests,
  readReasons,
  readRules,
  type Reason,
  type Rule,
  type Tests,
} from './conformance-rules.ts';
import { projectRoot } from './support.ts';

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

interface Findings {
  readonly rules: readonly Rule[];
  readonly tests: Tests;
  readonly reasons: ReadonlyMap<string, Reason>;
}

function shownBy({ id }: Rule, { tests, reasons }: Findings): string {
  const files = tests.get(id) ?? [];
  if (files.length > 0)
    return files.map((file) => `[${path.basename(file)}](../${file})`).join(', ');
  const reason = reasons.get(id);
  if (!reason) return '– no test yet';
  return reason.due === 'never' ? `– ${reason.text}` : `– ${reason.text} (due ${reason.due})`;
}

/** How many rules a test shows, how many have a reason instead, how many have neither. */
function count(some: readonly Rule[], { tests, reasons }: Findings) {
  const shown = some.filter(({ id }) => tests.has(id)).length;
  const reasoned = some.filter(({ id }) => !tests.has(id) && reasons.has(id)).length;
  return { all: some.length, shown, reasoned, neither: some.length - shown - reasoned };
}

function countRow(name: string, some: readonly Rule[], findings: Findings): string {
  const { all, shown, reasoned, neither } = count(some, findings);
  return `| ${name} | ${all} | ${shown} | ${reasoned} | ${neither} |`;
}

function page(findings: Findings): string {
  const { rules } = findings;
  const levels = ['MUST', 'MUST+', 'SHOULD', 'MAY'].map((level) =>
    countRow(
      level,
      rules.filter((rule) => rule.level === level),
      findings,
    ),
  );
  const parts = sections.map(([prefix, title]) => {
    const some = rules.filter(({ id }) => prefixOf(id) === prefix);
    const { all, shown, reasoned } = count(some, findings);
    const rows = some.map((rule) =>
      [rule.id, rule.level, rule.text, shownBy(rule, findings)]
        .map((cell) => `| ${cell.replaceAll('|', String.raw`\|`)} `)
        .join('')
        .concat('|'),
    );
    return [
      `## ${title}`,
      '',
      reasoned === 0 ? `${shown} of ${all}.` : `${shown} of ${all}; ${reasoned} with a reason.`,
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
    'A rule counts as shown when a test that `npm test` runs has its id in its name. Where no test shows a',
    'rule, its row says why, and what makes it due. This page is made by `node scripts/conformance.ts`,',
    'and `npm run check` compares it; do not edit it.',
    '',
    'Rules say df for a digest function, AC for the action cache, AR and ER for ActionResult and',
    'ExecuteResponse, EOM for the metadata of operations, SDK for that of remote-apis-sdks.',
    '',
    '| level | rules | shown by a test | with a reason | with neither |',
    '| --- | --- | --- | --- | --- |',
    ...levels,
    countRow('all', rules, findings),
    '',
    ...parts,
  ].join('\n');
}

const rules = readRules();
const tests = findTests();
const reasons = readReasons();
const text = page({ rules, tests, reasons: new Map(reasons.map((reason) => [reason.id, reason])) });
if (!process.argv.includes('--check')) writeFileSync(target, text);
else {
  const problems = findProblems(rules, tests, reasons);
  if (readFileSync(target, 'utf8') !== text)
    problems.push('docs/conformance.md is not what the tests say: run node scripts/conformance.ts');
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) process.exit(1);
}
