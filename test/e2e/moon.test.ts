import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { executableSkip, startUp } from '../support/executable.ts';
import { moonRepository, moonSkip } from '../support/moon.ts';

for (const [compression, instanceName] of [
  ['none', 'main'],
  ['zstd', 'team/linux/release'],
] as const) {
  const name = `MOO-02, MOO-03, GEN-01: moon takes a task's outputs from the cache, compression ${compression}, instance ${instanceName}`;
  test(name, { skip: executableSkip() || moonSkip() }, async (t) => {
    const { port } = await startUp(t, `--set=instance_names=${instanceName}`);
    const repository = moonRepository(t, { port, compression, instanceName });

    const first = repository.clone();
    const ran = await first.run('app:greet');
    assert.equal(ran.exitCode, 0, ran.output);

    const second = repository.clone();
    const hit = await second.run('app:greet');
    assert.equal(hit.exitCode, 0, hit.output);
    assert.match(hit.output, /cached from remote/);
    assert.doesNotMatch(ran.output, /cached from remote/);
    assert.equal(readFileSync(second.greeting, 'utf8'), 'world\nworld\n');
  });
}
