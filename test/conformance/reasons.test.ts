import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findProblems } from '../../scripts/conformance-rules.ts';

const rules = [
  { id: 'must', level: 'MUST', text: 'a rule' },
  { id: 'client', level: 'MUST+', text: 'what a client wants' },
  { id: 'should', level: 'SHOULD', text: 'advice' },
  { id: 'may', level: 'MAY', text: 'a liberty' },
];
const everyTest = new Map(rules.map(({ id }) => [id, [`${id}.test.ts`]]));
const everyReason = rules.map(({ id }) => ({ id, text: 'not built', due: 'never' }));

test('a rule has a test or a reason, and a liberty may have neither', () => {
  assert.deepEqual(findProblems(rules, everyTest, []), []);
  assert.deepEqual(findProblems(rules, new Map(), everyReason), []);
  assert.deepEqual(findProblems(rules, new Map(), []), [
    'must (MUST) has neither a test nor a reason',
    'client (MUST+) has neither a test nor a reason',
    'should (SHOULD) has neither a test nor a reason',
  ]);
});

for (const [flaw, reason, problem] of [
  ['of no rule', { id: 'other' }, 'a reason names other, which is no rule'],
  ['beside a test', { id: 'must' }, 'must has a reason, and a test in must.test.ts'],
  ['without words', { text: '' }, 'the reason of may lacks its text or when it is due'],
  ['that is never due nor ever', { due: '' }, 'the reason of may lacks its text or when it is due'],
] as const) {
  test(`a reason ${flaw} is a problem`, () => {
    const tests = new Map([...everyTest].filter(([id]) => id !== 'may'));
    const reasons = [{ id: 'may', text: 'not built', due: 'later', ...reason }];
    assert.deepEqual(findProblems(rules, tests, reasons), [problem]);
  });
}

test('a rule has one reason', () => {
  const [first] = everyReason;
  assert.ok(first);
  assert.deepEqual(findProblems(rules.slice(0, 1), new Map(), [first, first]), [
    'must has two reasons',
  ]);
});
