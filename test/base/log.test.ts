import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLog, type LogFields } from '../../src/base/log.ts';

test('a field cannot take the place of what the line says', () => {
  // @ts-expect-error: `message` is the line's own, and a JSON object has room for one.
  const wrong: LogFields = { message: 'other' };
  assert.ok(wrong);
});

test('a line for machines is one JSON object, a line for people one of text', () => {
  const lines: string[] = [];
  for (const format of ['json', 'text'] as const) {
    const log = createLog({
      level: 'info',
      format,
      write: (line) => lines.push(line),
      now: () => 0,
    });
    log.with({ worker: 'w' }).warn('no "connection"', { error: 'a\nb', none: undefined });
    log.debug('too small');
  }
  const at = '1970-01-01T00:00:00.000Z';
  assert.deepEqual(lines, [
    `${JSON.stringify({ at, level: 'warn', message: 'no "connection"', worker: 'w', error: 'a\nb' })}\n`,
    '00:00:00.000 WARN  no "connection" worker=w error="a\\\\nb"\n',
  ]);
});
