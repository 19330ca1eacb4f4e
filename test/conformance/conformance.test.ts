import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { areas } from '../../src/conformance/areas.ts';
import { levels } from '../../src/conformance/levels.ts';
import { startFleet } from '../support/fleet.ts';

interface Report {
  readonly counts: { readonly held: number; readonly brokenMust: number };
  readonly rules: readonly { readonly id: string; readonly level: string }[];
  readonly probes: readonly {
    readonly ids: readonly string[];
    readonly title: string;
    readonly outcome: string;
    readonly why?: string;
    readonly expected?: string;
    readonly seen?: string;
  }[];
}

const everyDigestFunction = `[digest]
functions = ["SHA256", "BLAKE3", "SHA1", "SHA384", "SHA512", "SHA256TREE", "GITSHA1", "VSO"]
`;

test('the rules of the probes are those of the checklist, at its levels', () => {
  const [, ...rows] = readFileSync('test/conformance/rules.tsv', 'utf8').trimEnd().split('\n');
  const known = new Map(rows.map((row) => row.split('\t').slice(0, 2) as [string, string]));
  const probed = new Set(areas.flatMap(({ probes }) => probes.flatMap(({ ids }) => ids)));
  assert.deepEqual(new Set(levels.keys()), probed);
  for (const [id, level] of levels) assert.equal(level, known.get(id), id);
});

test('probes of an area have different titles: their random blobs depend on them', () => {
  for (const { name, probes } of areas) {
    const titles = probes.map(({ title }) => title);
    assert.deepEqual([...new Set(titles)], titles, name);
  }
});

test('our own server breaks no rule that a probe can see', async (t) => {
  const fleet = await startFleet(t, everyDigestFunction);
  await fleet.worker('worker-1');
  const argv = ['conformance', fleet.server.address, '--execute', '--json'];
  const { exitCode, stdout, stderr } = await fleet.cli(argv);
  const report = JSON.parse(stdout || '{"probes":[]}') as Report;
  const failed = report.probes.filter(({ outcome }) => outcome === 'fail');
  assert.deepEqual(failed, [], stderr);
  assert.equal(exitCode, 0, stderr);
  for (const { title, why } of report.probes.filter(({ outcome }) => outcome !== 'pass')) {
    t.diagnostic(`${title}: ${why}`);
  }
  t.diagnostic(`${report.counts.held} rules kept`);
});

for (const [what, toml, ...argv] of [
  [
    'a cache in memory that has SHA512 alone, executes nothing and takes no pushes',
    '[digest]\nfunctions = ["SHA512"]\n[cas_storage]\ntype = "memory"\n[execution]\nbackend = "none"\n' +
      '[remote_asset]\npush_allowed = false',
  ],
  [
    'an instance of two segments that has BLAKE3 alone',
    'instance_names = ["a/b"]\n[digest]\nfunctions = ["BLAKE3"]',
    '--instance-name=a/b',
  ],
] as const) {
  test(`our own server as ${what} breaks no rule that a probe can see`, async (t) => {
    const { server, cli } = await startFleet(t, toml);
    const { exitCode, stdout } = await cli(['conformance', server.address, ...argv]);
    assert.doesNotMatch(stdout, /^ {2}FAIL/m);
    assert.equal(exitCode, 0, stdout);
  });
}
