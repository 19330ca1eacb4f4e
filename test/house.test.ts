import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

/** Which rooms a room may import from; the table of docs/ARCHITECTURE.md. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  base: [],
  proto: [],
  digest: ['base', 'proto'],
  sqlite: ['base'],
  cas: ['base', 'digest', 'sqlite'],
  chunking: ['base', 'digest', 'proto', 'sqlite', 'cas'],
  // tree: a result is complete only if every file in its output trees is stored (AC-02).
  'action-cache': ['base', 'digest', 'proto', 'sqlite', 'cas', 'tree'],
  tree: ['base', 'digest', 'proto', 'cas'],
  // sqlite, tree: what was fetched is rows; a directory is there only if all of its tree is (AST-09).
  asset: ['base', 'digest', 'proto', 'sqlite', 'cas', 'tree'],
  // sqlite: operations are rows, so that a restart loses none.
  scheduler: ['base', 'digest', 'proto', 'sqlite'],
  // tree: an action's inputs are walked before it is queued, so that all missing ones are told at once.
  execution: ['base', 'digest', 'proto', 'cas', 'action-cache', 'tree', 'scheduler'],
  logs: ['base'],
  executor: ['base'],
  worker: ['base', 'digest', 'proto', 'cas', 'tree', 'logs', 'executor', 'scheduler'],
  client: ['base', 'digest', 'proto', 'cas', 'action-cache', 'tree', 'logs', 'execution'],
  rpc: [
    'base',
    'digest',
    'proto',
    'cas',
    'chunking',
    'action-cache',
    'tree',
    'logs',
    'scheduler',
    'execution',
    'asset',
  ],
  // chunking: whether chunks were cut as announced is seen by cutting again.
  conformance: ['base', 'digest', 'proto', 'chunking'],
  config: ['base'],
  cli: [
    'base',
    'digest',
    'proto',
    'sqlite',
    'cas',
    'chunking',
    'action-cache',
    'tree',
    'logs',
    'scheduler',
    'execution',
    'executor',
    'worker',
    'client',
    'asset',
    'rpc',
    'conformance',
    'config',
  ],
};

/** What is banned outside the rooms named, and what to use instead. */
const banned: readonly {
  readonly pattern: RegExp;
  readonly allowedIn: readonly string[];
  readonly instead: string;
}[] = [
  { pattern: /\bDate\.now\(/, allowedIn: ['base', 'executor'], instead: 'a Clock' },
  { pattern: /\bset(?:Timeout|Interval)\(/, allowedIn: ['base', 'executor'], instead: 'a Clock' },
  { pattern: /\bMath\.random\(/, allowedIn: ['base'], instead: 'a NewId or a seed' },
  { pattern: /\brandomUUID\b/, allowedIn: ['base'], instead: 'a NewId' },
  { pattern: /\bprocess\.env\b/, allowedIn: ['base', 'config'], instead: 'the configuration' },
  { pattern: /from '@grpc\/grpc-js'/, allowedIn: ['rpc'], instead: 'a port' },
];

const importOf = /\b(?:from|import)\s*\(?\s*'(\.[^']+)'/g;
const roomOf = (file: string) => path.relative('src', file).split(path.sep)[0] ?? '';

for (const file of globSync('src/*/**/*.ts')) {
  const room = roomOf(file);
  if (room === 'proto') continue;
  const source = readFileSync(file, 'utf8');
  test(`${file} imports only downwards and keeps to the house`, () => {
    for (const [, specifier = ''] of source.matchAll(importOf)) {
      const to = roomOf(path.join(path.dirname(file), specifier));
      assert.ok(room === to || mayImport[room]?.includes(to), `${room}/ may not import ${to}/`);
    }
    for (const { pattern, allowedIn, instead } of banned) {
      assert.ok(
        allowedIn.includes(room) || !pattern.test(source),
        `${pattern.source} is for ${allowedIn.join(', ')} only: use ${instead}`,
      );
    }
  });
}
