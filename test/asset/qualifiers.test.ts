import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseQualifiers } from '../../src/asset/qualifiers.ts';
import { Code, StatusError } from '../../src/base/status.ts';
import { seededRandom } from '../support/seeded-random.ts';

const pieces = [
  'sha256-',
  'sha512-',
  'a'.repeat(43),
  '=',
  '-',
  '?',
  ' ',
  '\n',
  '\0',
  '{',
  '}',
  '"',
  'https://a/',
  ':',
  '[',
  ']',
  '__proto__',
  'Name',
  'é',
  '\ud800',
  '0',
  '99999999999',
];
const names = [
  'checksum.sri',
  'bazel.auth_headers',
  'http_header:',
  'http_header_url:',
  'vcs.commit',
  '',
];

test('ERR-02: nonsense in qualifiers is INVALID_ARGUMENT, or harmless', (t) => {
  const seed = Number(process.hrtime.bigint() % 1_000_000n);
  t.diagnostic(`seed ${seed}`);
  const random = seededRandom(seed);
  const pick = <T>(some: readonly T[]) => some[Math.floor(random() * some.length)] as T;
  const nonsense = () =>
    Array.from({ length: Math.floor(random() * 6) }, () => pick(pieces)).join('');
  for (let round = 0; round < 5000; round++) {
    const messages = Array.from({ length: 1 + Math.floor(random() * 3) }, () => ({
      name: `${pick(names)}${random() < 0.5 ? '' : nonsense()}`,
      value: nonsense(),
    }));
    try {
      const { content, headers } = parseQualifiers(messages);
      assert.ok(content.size <= messages.length);
      assert.ok(headers.for(['https://a/'], 0).size <= 20);
    } catch (thrown) {
      assert.ok(thrown instanceof StatusError, `${JSON.stringify(messages)}: ${String(thrown)}`);
      assert.equal(thrown.code, Code.INVALID_ARGUMENT);
    }
  }
});

test('AST-04: the order of qualifiers does not matter', () => {
  const one = [
    { name: 'b', value: '1' },
    { name: 'a', value: '2' },
  ];
  const other = one.toReversed();
  assert.deepEqual([...parseQualifiers(one).content], [...parseQualifiers(other).content]);
});

test('too many qualifiers, or too many bytes of them, are INVALID_ARGUMENT', () => {
  const many = Array.from({ length: 1001 }, (_, at) => ({ name: `${at}`, value: '' }));
  const long = [{ name: 'a', value: 'x'.repeat(16 * 1024) }];
  for (const messages of [many, long]) {
    assert.throws(() => parseQualifiers(messages), { code: Code.INVALID_ARGUMENT });
  }
});

test('headers are bounded together, before any of them is read', () => {
  const value = JSON.stringify({ 'https://a/': { authorization: 'x'.repeat(200_000) } });
  const auth = { name: 'bazel.auth_headers', value };
  assert.equal(parseQualifiers([auth]).headers.for(['https://a/'], 0).size, 1);
  const more = { name: 'http_header:x', value: 'y'.repeat(70_000) };
  const invalid = { code: Code.INVALID_ARGUMENT, message: /more than 262144 bytes/ };
  assert.throws(() => parseQualifiers([auth, more]), invalid);
  assert.throws(() => parseQualifiers([{ ...auth, value: '{'.repeat(300_000) }]), invalid);
});
