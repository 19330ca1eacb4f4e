import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { newId } from '../../src/base/id.ts';
import { silentLog } from '../../src/base/log.ts';
import { remotePorts } from '../../src/cli/remote-ports.ts';
import { startExecutors } from '../../src/cli/start-executors.ts';
import { startWorker } from '../../src/cli/worker.ts';
import { readWorkerConfig } from '../../src/config/worker-config.ts';
import { findFacts } from '../../src/executor/self-test.ts';
import { lookAround } from '../support/look-around.ts';
import { never } from '../support/never.ts';
import { prepareNetwork, preparedNetworkSkip } from '../support/prepared-network.ts';
import { sandboxSkip } from '../support/sandbox.ts';
import { tempDir } from '../support/temp-dir.ts';
import { testSurroundings } from '../support/test-surroundings.ts';

const examples = new URL('../../configs/worker/', import.meta.url);
const searchPath = { PATH: '/usr/local/bin:/usr/bin:/bin' };

describe('the example configurations of workers', { timeout: 180_000 }, () => {
  for (const [name, skip, isolation] of [
    ['sandbox.toml', sandboxSkip, /^sandbox: bubblewrap .*no network, read-only root/],
    ['host.toml', false, /^host, as .*no new privileges, no inherited files/],
  ] as const) {
    it(`${name} starts a worker as it says`, { skip }, async (t) => {
      const folder = tempDir(t);
      const surroundings = { ...testSurroundings(folder), environment: searchPath };
      const text = readFileSync(new URL(name, examples), 'utf8');
      const config = readWorkerConfig(
        { file: { path: name, text }, environment: {}, flags: [] },
        surroundings,
      );
      const deps = { clock: systemClock, newId, log: silentLog, surroundings };
      await using closing = new AsyncDisposableStack();
      const worker = await startWorker(config, remotePorts(config, deps, closing), deps, closing);
      assert.match(worker.isolation, isolation);
    });
  }
});

const identity = { workerId: 'worker-1', newId };

const start = async (
  folder: string,
  toml: string,
  closing: AsyncDisposableStack,
  environment: Record<string, string> = { PATH: '/nowhere' },
) => {
  const surroundings = { ...testSurroundings(folder), environment };
  const file = { path: 'worker.toml', text: toml };
  const config = readWorkerConfig({ file, environment: {}, flags: [] }, surroundings, folder);
  mkdirSync(config.rootPath);
  const warnings: unknown[] = [];
  const log = { ...silentLog, warn: (message: string) => warnings.push(message) };
  return { ...(await startExecutors(config, identity, surroundings, log, closing)), warnings };
};

const startIn = (folder: string, namespace: string, closing: AsyncDisposableStack) => {
  const keys = `type = "sandbox"\nnetwork = "on-request"\nnetwork_namespace = "${namespace}"`;
  return start(folder, `slots = 2\n[executor]\n${keys}`, closing, searchPath);
};

describe('a worker with a prepared network', { timeout: 180_000, skip: sandboxSkip }, () => {
  it(
    'DK-15, WK-24: tells of it, and all its slots have it',
    { skip: preparedNetworkSkip },
    async (t) => {
      await using closing = new AsyncDisposableStack();
      const namespace = await prepareNetwork(t);
      const { isolation, executors } = await startIn(tempDir(t), namespace, closing);
      assert.match(
        isolation,
        /^sandbox: bubblewrap [\d.]+, network on request from \/proc\/\d+\/ns\/net alone/,
      );
      assert.equal(executors.length, 2);
      for (const executor of executors) {
        const { networkNamespace } = await findFacts(executor, lookAround(t, true), never);
        assert.equal(networkNamespace, readlinkSync(namespace));
      }
    },
  );

  it('DK-16: does not start without it, and says what to do', async (t) => {
    await using closing = new AsyncDisposableStack();
    await assert.rejects(startIn(tempDir(t), 'no-such', closing), {
      name: 'SystemError',
      message: /network namespace \/run\/netns\/no-such .* is not there. Make it before/,
    });
  });
});

describe('two workers that are root on one machine', { timeout: 180_000 }, () => {
  it('WK-25: run commands as different users, unless they are told to have the same', async (t) => {
    if (process.getuid?.() !== 0) return t.skip('needs root to have users for commands');
    await using closing = new AsyncDisposableStack();
    const startOne = (uid: string) =>
      start(tempDir(t), `slots = 2\n[executor]\ntype = "host"\n${uid}`, closing);
    const [one, two] = await Promise.all([startOne(''), startOne('')]);
    const users = [...one.executors, ...two.executors].map(({ owner }) => owner?.uid);
    assert.equal(new Set(users).size, 4, String(users));
    const taken = `uid = ${users[0]}`;
    await assert.rejects(startOne(taken), {
      name: 'SystemError',
      message: /commands of another worker on this machine run as user 64\d{3}: configure another/,
    });
    return undefined;
  });
});

describe('a worker without bubblewrap', () => {
  it('DK-16: does not start when it shall have a sandbox, and says what to do', async (t) => {
    await using closing = new AsyncDisposableStack();
    await assert.rejects(start(tempDir(t), '[executor]\ntype = "sandbox"', closing), {
      name: 'SystemError',
      message: /bubblewrap is not installed.*executor.type = "host"/,
    });
  });

  it('DK-16: runs commands on the host with a warning when it may choose', async (t) => {
    await using closing = new AsyncDisposableStack();
    const { isolation, warnings } = await start(tempDir(t), '', closing);
    assert.match(isolation, /^host, as .*no new privileges, no inherited files/);
    assert.equal(warnings[0], 'commands run without a sandbox');
  });

  it('refuses a folder that users of commands cannot get to', async (t) => {
    if (process.getuid?.() !== 0) return t.skip('needs root to have users for commands');
    await using closing = new AsyncDisposableStack();
    const closed = path.join(tempDir(t), 'closed');
    mkdirSync(closed, { mode: 0o700 });
    await assert.rejects(start(closed, '', closing), {
      message: /user 64\d{3}, who cannot get to .*closed\/worker: .*closed is closed to others/,
    });
    return undefined;
  });
});
