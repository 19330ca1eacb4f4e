import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { ApiClient } from '../support/api-client.ts';
import { startFleet } from '../support/fleet.ts';

// As Bazel's test-setup.sh, that names nine outputs and makes those it has something to say in.
const script = 'mkdir -p dir; echo made > dir/made; echo made > made; echo said';
const outputPaths = ['dir', 'made', 'never-made', 'dir/never-made', 'no-such-dir/never-made'];
const outputDirectories = ['dir', 'never-a-dir'];
const outputFiles = outputPaths.slice(1);

test('RAC-06, RES-02: a success without some outputs is a result without them, and a hit', async (t) => {
  const fleet = await startFleet(t);
  await fleet.worker('one');
  const api = new ApiClient(t, fleet.server.address);
  for (const asked of [{ outputPaths }, { outputDirectories, outputFiles }]) {
    const command = { arguments: ['/bin/sh', '-c', script], ...asked };
    const actionDigest = await api.putAction({ command });

    const first = await api.run({ actionDigest });
    assert.equal(first.status?.message ?? '', '');
    assert.deepEqual([first.cachedResult, first.result?.exitCode], [false, 0]);
    const again = await api.run({ actionDigest });
    assert.equal(again.cachedResult, true);

    const found = await api.getActionResult({ actionDigest });
    for (const result of [first.result, again.result, found]) {
      assert.deepEqual(pathsOf(result?.outputFiles), ['made']);
      assert.deepEqual(pathsOf(result?.outputDirectories), ['dir']);
      assert.deepEqual(pathsOf(result?.outputSymlinks), []);
    }
    // What it does name is all there, also in the directory.
    const [file] = found.outputFiles;
    const [directory] = found.outputDirectories;
    assert.equal(await api.text(file?.digest), 'made\n');
    const named = [file?.digest, directory?.treeDigest, found.stdoutDigest];
    const blobDigests = named.map((digest) => digest ?? assert.fail('a digest is not set'));
    assert.deepEqual((await api.findMissing({ blobDigests })).missingBlobDigests, []);
  }
});

test('RAC-06: a client that needs an output that was not made can have the action run again', async (t) => {
  const fleet = await startFleet(t);
  await fleet.worker('one');
  const api = new ApiClient(t, fleet.server.address);
  // The first run leaves its output out, as one that a full disk hindered; the second does not.
  const flag = fleet.at('second');
  const command = {
    arguments: ['/bin/sh', '-c', `if [ -e ${flag} ]; then echo made > made; else : > ${flag}; fi`],
    outputPaths: ['made'],
  };
  const actionDigest = await api.putAction({ command });
  assert.deepEqual((await api.run({ actionDigest })).result?.outputFiles, []);
  const again = await api.run({ actionDigest, skipCacheLookup: true });
  assert.equal(again.result?.outputFiles.length, 1);
  assert.equal((await api.getActionResult({ actionDigest })).outputFiles.length, 1);
});

test('RAC-06, RES-10: an output of another kind than was asked for is a failure, and no hit', async (t) => {
  const fleet = await startFleet(t);
  await fleet.worker('one');
  const api = new ApiClient(t, fleet.server.address);
  for (const asked of [{ outputFiles: ['dir'] }, { outputDirectories: ['made'] }]) {
    const command = { arguments: ['/bin/sh', '-c', 'mkdir -p dir; : > made'], ...asked };
    const actionDigest = await api.putAction({ command });
    const { status } = await api.run({ actionDigest });
    assert.equal(status?.code, Code.FAILED_PRECONDITION);
    await assert.rejects(api.getActionResult({ actionDigest }), { code: Code.NOT_FOUND });
  }
});

function pathsOf(outputs: readonly { readonly path: string }[] = []): string[] {
  return outputs.map(({ path }) => path);
}
