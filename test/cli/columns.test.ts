import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { columns } from '../../src/cli/columns.ts';

const name = '0b7c2f9e-3c4d-4b7e-9f58-1c3a5d7e9b11';

describe('a table', () => {
  it('is as wide as its cells need, where there is room', () => {
    assert.deepEqual(columns(['A', 'LONG'], [['value', 'x']]), ['A      LONG', 'value  x']);
  });

  it('aligns its values, and has no empty line, when it has no heads', () => {
    const rows = [
      ['worker', 'one'],
      ['last seen', 'now'],
    ];
    assert.deepEqual(columns([], rows), ['worker     one', 'last seen  now']);
    assert.deepEqual(columns([], []), []);
  });

  it('fits the terminal: the widest columns give way, never the names', () => {
    const heads = ['OPERATION', 'STAGE', 'AGE', 'TARGET', 'DETAIL'];
    const rows = [
      [
        name,
        'queued',
        '1 min 1 s',
        '//a:b',
        'no worker has OSFamily=windows; the nearest lacks it',
      ],
      [name, 'executing', '2.0 s', '//some/package/of/ours:target_test', 'on worker-1'],
    ];
    const lines = columns(heads, rows, 80);
    for (const line of lines) assert.ok(line.length <= 80, line);
    assert.ok(lines.slice(1).every((line) => line.startsWith(`${name}  `)));
    assert.match(lines[1] ?? '', /queued +1 min 1 s +\/\/a:b +no worke…$/);
    assert.ok(columns(heads, rows)[1]?.endsWith('the nearest lacks it'), 'whole for a program');
  });

  it('is wider than the terminal rather than to tell nothing', () => {
    const [heads = ''] = columns(['A', 'DETAIL'], [[name, 'why it is so']], 20);
    assert.equal(heads.length, name.length + 2 + 'DETAIL'.length);
    assert.ok(columns(['A', 'B'], [[name, '0123456789']], 20)[1]?.endsWith('  0123456…'));
  });

  it('cuts no character in halves, and lets nothing steer the terminal', () => {
    const [, line] = columns(['A', 'B'], [['a', `123456${'😀'.repeat(3)}\u001B[31m`]], 11);
    assert.equal(line?.isWellFormed(), true);
    assert.ok(!line?.includes('\u001B'));
  });
});
