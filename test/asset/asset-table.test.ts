import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { type Asset, type AssetKey, AssetTable } from '../../src/asset/asset-table.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import { blobOf } from '../support/blob-of.ts';
import { FakeClock } from '../support/fake-clock.ts';

const key = (uri: string): AssetKey => ({
  instanceName: '',
  kind: 'blob',
  uri,
  digestFunction: sha256,
});

function assetOf(
  text: string,
  storedAt: number,
  qualifiers: Asset['qualifiers'] = new Map(),
): Asset {
  return {
    origin: 'pushed',
    qualifiers,
    credentials: '',
    digest: blobOf(text).digest,
    referencesBlobs: [],
    referencesDirectories: [],
    storedAt,
    expiresAt: undefined,
  };
}

function open(t: TestContext, maxSizeBytes: number) {
  const clock = new FakeClock();
  const table = new AssetTable(':memory:', { maxSizeBytes }, clock);
  t.after(() => table.close());
  return { clock, table };
}

test('AST-28: when the table is full, the assets used longest ago make room', async (t) => {
  const { clock, table } = open(t, 4000);
  const has = (uri: string) => table.candidates(key(uri)).length > 0;
  for (let at = 0; at < 10; at++) {
    await table.put([key(`urn:${at}`)], assetOf(`${at}`, clock.now()));
    clock.advance(120_000);
    const [first] = table.candidates(key('urn:0'));
    if (first) await table.find(key('urn:0'), first);
  }
  assert.ok(has('urn:0') && has('urn:9'));
  assert.ok(!has('urn:1') && !has('urn:2'));
});

test('of one URI the newest thousand are kept', async (t) => {
  const { table } = open(t, 2 ** 30);
  const count = 1010;
  await Promise.all(
    Array.from({ length: count }, (_, at) =>
      table.put([key('urn:a')], assetOf('a', at, new Map([['n', `${at}`]]))),
    ),
  );
  const kept = table.candidates(key('urn:a'));
  assert.equal(kept.length, 1000);
  assert.equal(kept[0]?.qualifiers.get('n'), `${count - 1}`);
  assert.equal(kept.at(-1)?.qualifiers.get('n'), '10');
});
