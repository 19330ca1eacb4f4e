import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { clientSchema } from '../../src/config/client-config.ts';
import { KeyLines } from '../../src/config/key-lines.ts';
import { readConfig } from '../../src/config/read-config.ts';
import { keysOf } from '../../src/config/schema-keys.ts';
import { serverSchema } from '../../src/config/server-config.ts';
import { workerSchema } from '../../src/config/worker-config.ts';

/** Comment lines as one text. */
const words = (some: string) => some.replaceAll(/\n# |\n/g, ' ');

for (const [file, schema] of [
  ['configs/server/server.toml', serverSchema],
  ['configs/worker/worker.toml', workerSchema],
  ['configs/client/expbuild.toml', clientSchema],
] as const) {
  const text = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
  const allActive = text.replaceAll(/^# (?=\w+ = )/gm, '');

  test(`${file} is valid, with the keys that are commented out too`, () => {
    for (const some of [text, allActive]) {
      readConfig(schema, { file: { path: file, text: some }, environment: {}, flags: [] });
    }
  });

  for (const { name, path, description, kind } of keysOf(schema)) {
    test(`${file} shows ${name} below its description`, () => {
      const lines = new KeyLines(allActive);
      const line = lines.lineOf(path);
      assert.ok(line !== undefined && line !== lines.lineOf(path.slice(0, -1)), 'it is absent');
      const above = allActive.split('\n').slice(0, line).join('\n');
      const block = above.slice(above.lastIndexOf('\n\n'));
      const where = kind === 'table' ? allActive.slice(above.length) : block;
      assert.ok(words(where).includes(description), `no "${description}" above ${name}`);
    });
  }
}
