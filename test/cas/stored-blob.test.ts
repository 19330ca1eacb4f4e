import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  diskBytesOf,
  namespaceFolder,
  parseFileName,
  storedBlob,
} from '../../src/cas/stored-blob.ts';
import { blobOf } from '../support/blob-of.ts';

for (const [name, folder] of [
  ['', '%'],
  ['main', 'main'],
  ['team_1-x', 'team_1-x'],
  ['Main', '%4dain'],
  ['a/b', 'a%2fb'],
  ['..', '%2e%2e'],
  ['%', '%25'],
  ['é', '%c3%a9'],
  ['a\u0000b', 'a%00b'],
] as const) {
  test(`the instance ${JSON.stringify(name)} has the folder ${folder}`, () => {
    assert.equal(namespaceFolder(name), folder);
  });
}

test('long instance names get short folders, each its own', () => {
  const [one, two] = [
    namespaceFolder(`${'x'.repeat(300)}1`),
    namespaceFolder(`${'x'.repeat(300)}2`),
  ];
  assert.ok(one.length < 100);
  assert.notEqual(one, two);
});

test('a file name gives the blob back', () => {
  const blob = storedBlob('main', blobOf('hello').digest);
  const fileName = blob.path.slice(blob.path.lastIndexOf('/') + 1);
  assert.deepEqual(parseFileName('main', 'SHA256', fileName), blob);
  assert.equal(parseFileName('main', 'SHA256', 'README'), undefined);
});

test('a file takes whole blocks', () => {
  assert.deepEqual([0, 1, 4096, 4097].map(diskBytesOf), [0, 4096, 4096, 8192]);
});
