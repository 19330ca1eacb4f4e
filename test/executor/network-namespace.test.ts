import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { findNetworkNamespace } from '../../src/executor/network-namespace.ts';
import { provePromises, sandboxPromises, withNetwork } from '../../src/executor/promises.ts';
import { executorBench } from '../support/executor-bench.ts';
import { launcherCommand, startHostExecutor } from '../support/host-executor.ts';
import { lookAround } from '../support/look-around.ts';
import { never } from '../support/never.ts';
import { prepareNetwork, preparedNetworkSkip } from '../support/prepared-network.ts';
import { findSandbox, sandboxOwner } from '../support/sandbox.ts';
import { tempDir } from '../support/temp-dir.ts';

const isRoot = process.getuid?.() === 0;
const needsRoot = /only a worker that is root can join it/;
describe('a prepared network namespace', { timeout: 180_000 }, () => {
  it(
    'WK-24: is what commands get which ask for the network; the others get none',
    { skip: preparedNetworkSkip },
    async (t) => {
      const { join } = await findNetworkNamespace(await prepareNetwork(t));
      const sandbox = await findSandbox(t, { networkAllowed: true });
      const { run, stdout, stderr } = await executorBench(t, {
        sandbox,
        owner: sandboxOwner,
        launcherCommand: [...join, ...launcherCommand],
      });
      const look = [
        'bash',
        '-c',
        'tail -n +3 /proc/net/dev | cut -d: -f1; cat < /dev/tcp/127.0.0.1/8080',
      ] as const;
      await run(look, { network: true });
      assert.equal(stderr(), '');
      assert.deepEqual(stdout().trim().split(/\s+/), ['lo', 'hello', 'from', 'inside']);
      await run(look);
      assert.equal(stdout().trim(), 'lo');
      assert.match(stderr(), /refused/);
    },
  );

  it(
    'DK-15: a first command proves it, and that all else is promised as without it',
    { skip: preparedNetworkSkip },
    async (t) => {
      const { join, promise } = await findNetworkNamespace(await prepareNetwork(t));
      const promises = withNetwork(sandboxPromises, promise);
      const options = {
        sandbox: await findSandbox(t, { networkAllowed: true }),
        owner: sandboxOwner,
      };
      const inside = await startHostExecutor(t, {
        ...options,
        launcherCommand: [...join, ...launcherCommand],
      });
      await provePromises(promises, inside, lookAround(t, true), never);
      const outside = await startHostExecutor(t, options);
      await assert.rejects(provePromises(promises, outside, lookAround(t, true), never), {
        code: Code.FAILED_PRECONDITION,
        message: /without: network on request from \/proc\/\d+\/ns\/net alone$/,
      });
    },
  );

  it('has the names of its own that `ip netns` knows', { skip: preparedNetworkSkip }, async (t) => {
    const network = await prepareNetwork(t);
    const settings = tempDir(t);
    const folder = path.join(settings, path.basename(network));
    assert.equal((await findNetworkNamespace(network, settings)).resolvConf, undefined);
    mkdirSync(folder);
    writeFileSync(path.join(folder, 'resolv.conf'), 'nameserver 192.0.2.1\n');
    const { join, resolvConf } = await findNetworkNamespace(network, settings);
    const sandbox = await findSandbox(t, { networkAllowed: true, resolvConf });
    const { run, stdout } = await executorBench(t, {
      sandbox,
      owner: sandboxOwner,
      launcherCommand: [...join, ...launcherCommand],
    });
    await run(['cat', '/etc/resolv.conf'], { network: true });
    assert.equal(stdout(), 'nameserver 192.0.2.1\n');
  });

  it(
    "DK-16: is refused when it is not there, is none, or is the machine's own",
    { skip: isRoot && preparedNetworkSkip },
    async (t) => {
      const file = path.join(tempDir(t), 'file');
      writeFileSync(file, '');
      for (const [namespace, why] of [
        [
          '/run/netns/no-such',
          /\/run\/netns\/no-such \(executor.network_namespace\).* not there.*ip netns add/,
        ],
        [file, isRoot ? /file .*nsenter: .*Invalid argument/ : needsRoot],
        ['/proc/self/ns/net', isRoot ? /the worker's own/ : needsRoot],
      ] as const) {
        await assert.rejects(findNetworkNamespace(namespace), {
          code: Code.FAILED_PRECONDITION,
          message: why,
        });
      }
    },
  );
});
