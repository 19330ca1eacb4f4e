import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { newId } from '../../src/base/id.ts';
import { silentLog } from '../../src/base/log.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import { Digest } from '../../src/digest/digest.ts';
import { ContainerCgroups } from '../../src/executor/container-cgroup.ts';
import { DockerExecutor } from '../../src/executor/docker-executor.ts';
import { DockerImages } from '../../src/executor/docker-images.ts';
import type { Executor } from '../../src/executor/executor.ts';
import { KeptFolders } from '../../src/worker/kept-folders.ts';
import { removeFolder } from '../../src/worker/remove-folder.ts';
import { type LeftInputs, runAction } from '../../src/worker/run-action.ts';
import { actionEnvironment } from '../support/action-environment.ts';
import { putAction } from '../support/action-of.ts';
import { type DockerDaemon, dockerSkip, startDockerDaemon } from '../support/docker-daemon.ts';
import { startHostExecutor } from '../support/host-executor.ts';
import { dir } from '../support/input-tree.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { never } from '../support/never.ts';
import { folderWithReflinks, reflinkSkip } from '../support/reflinks.ts';
import { findSandbox, sandboxOwner, sandboxSkip } from '../support/sandbox.ts';
import { tempDir } from '../support/temp-dir.ts';

const nothing = () => {};

const user = { uid: 59_001, gid: 59_001 };

/** Runs actions as a worker does, one after another, and keeps what they leave. */
async function bench(t: TestContext, executor: Executor, folder = tempDir(t)) {
  const store = new PlainBlobStore();
  const limits = { entriesMax: 1_000, bytesMax: 1_000_000 };
  const tools = { clock: systemClock, newId, log: silentLog };
  const folders = await KeptFolders.open(path.join(folder, 'kept'), { ...limits, ...tools });
  const environment = await actionEnvironment(folder, {
    folders,
    variables: { PATH: '/usr/local/bin:/usr/bin:/bin' },
  });
  const text = (digest: Parameters<typeof Digest.fromMessage>[1]) =>
    digest &&
    Buffer.from(store.blobs.get(Digest.fromMessage(sha256, digest, '').key) ?? []).toString();
  let runs = 0;
  const run = async (
    script: string,
    inputs: ReturnType<typeof dir>,
    outputPaths: string[] = [],
  ) => {
    const action = await putAction(store, script, { inputs, command: { outputPaths } });
    const place = path.join(folder, `action-${++runs}`);
    const leased = {
      instanceName: '',
      action,
      timeoutMs: 30_000,
      queuedAt: undefined,
      blobs: store,
    };
    let left: LeftInputs | undefined;
    const events = {
      phase: () => {},
      streams: () => {},
      memoryLimitMet: () => {},
      inputsLeft: (inputsLeft: LeftInputs) => {
        left = inputsLeft;
      },
    };
    const response = await runAction(
      { ...leased, executor, folder: place },
      environment,
      events,
      never,
    );
    if (left) await folders.keep(...left);
    await removeFolder(place);
    const { result } = response;
    return {
      stdout: text(result?.stdoutDigest),
      stderr: text(result?.stderrDigest),
      output: text(result?.outputFiles[0]?.digest),
      message: response.status?.message ?? '',
    };
  };
  return { cache: path.join(folder, 'files'), folders, run };
}

const inputs = dir({
  in: 'good',
  tool: { content: '#!/bin/sh\necho ran', isExecutable: true },
  d: dir({ x: 'deep', y: 'y', z: 'z', e: '' }),
  still: dir({ a: 'a', b: 'b', c: 'c', e: '' }),
});
const show = 'cat in d/* still/*; ./tool; ls -Ap . d still | sort; stat -c "%a %n" in tool d d/*';

/** All that a command might do to its inputs, and then the same by other names of theirs. */
const spoil = `exec 2>/dev/null
for f in in tool d/x d/e still/a; do
  echo bad > $f; echo bad >> $f; truncate -s 0 $f; dd if=/dev/zero of=$f bs=1 count=2 conv=notrunc
  chmod 777 $f && echo bad > $f; touch -d 1990-01-01 $f; chown 65532 $f
  ln $f /tmp/link.$$ && { chmod 777 /tmp/link.$$; echo bad > /tmp/link.$$; rm /tmp/link.$$; }
  ln $f $f.link && { chmod 777 $f.link; echo bad >> $f.link; rm $f.link; }
  mv $f $f.moved && { echo bad >> $f.moved; mv $f.moved $f; }
done
rm -f d/y; ln -s /etc/passwd d/y; echo mine > d/new; mv d/z d/zz; chmod 000 d
echo done`;

/** What is wrong with the files of a cache, by their names. */
function wrongIn(cache: string): string[] {
  const names = readdirSync(cache, { recursive: true, encoding: 'utf8' });
  const files = names.filter((name) => /^..\/[0-9a-f]{64}-/.test(name));
  assert.ok(files.length >= 5);
  return files.filter((name) => {
    const hash = createHash('sha256')
      .update(readFileSync(path.join(cache, name)))
      .digest('hex');
    const { mode, mtime } = statSync(path.join(cache, name));
    const isRight = (mode & 0o7777) === (name.endsWith('-x') ? 0o555 : 0o444);
    const isOld = mtime.toISOString() === '2000-01-01T00:00:00.000Z';
    return !isRight || !isOld || !path.basename(name).startsWith(hash);
  });
}

async function showsSafety(t: TestContext, executor: Executor, folder?: string): Promise<void> {
  const { cache, folders, run } = await bench(t, executor, folder);
  const expected = await run(show, inputs);
  assert.match(
    expected.stdout ?? '',
    /^gooddeepyzabcran\n/,
    `${expected.stderr}${expected.message}`,
  );
  for (const script of [spoil, 'rm -rf * && mkdir in d tool', `${spoil}; exit 1`]) {
    await run(script, inputs);
    assert.deepEqual(wrongIn(cache), []);
    assert.deepEqual(await run(show, inputs), expected);
  }
  assert.ok(folders.entries >= 5, 'inputs were kept');
  const link = 'mkdir o; ln in o/l || cp in o/l; chmod u+w o/l; echo more >> o/l';
  assert.equal((await run(link, inputs, ['o/l'])).output, 'goodmore\n');
  assert.equal((await run('ln in o || cp in o', inputs, ['o'])).output, 'good');
  assert.deepEqual(wrongIn(cache), []);
  assert.deepEqual(await run(show, inputs), expected);
}

describe(
  'inputs are as they were for the next, whatever a command does',
  { timeout: 120_000 },
  () => {
    it('WK-06, WK-08, WK-31, WRK-03: as the user of the worker', async (t) => {
      await showsSafety(t, await startHostExecutor(t, { graceMs: 50 }));
    });

    it('WK-06, WK-08, WK-31, WRK-03: as the user of the worker, with reflinks', async (t) => {
      if (reflinkSkip) return t.skip(reflinkSkip);
      await showsSafety(t, await startHostExecutor(t, { graceMs: 50 }), folderWithReflinks(t));
      return undefined;
    });

    it('WK-06, WK-08, WK-31, WRK-03: as the user of a slot', async (t) => {
      if (process.getuid?.() !== 0) return t.skip('needs root to run commands as another user');
      await showsSafety(t, await startHostExecutor(t, { graceMs: 50, owner: user }));
      return undefined;
    });

    for (const owner of new Set([sandboxOwner, undefined])) {
      it(`WK-06, WK-08, WK-31, WRK-03: in a sandbox, as ${owner ? 'the user of a slot' : 'the user of the worker'}`, async (t) => {
        if (sandboxSkip) return t.skip(sandboxSkip);
        await showsSafety(t, await startHostExecutor(t, { sandbox: await findSandbox(t), owner }));
        return undefined;
      });
    }
  },
);

describe('programs that were fetched a moment before', { timeout: 120_000 }, () => {
  it('WK-20, N5: run in several slots, while others are fetched', async (t) => {
    const executors = await Promise.all([1, 2, 3].map(() => startHostExecutor(t, { graceMs: 50 })));
    const folder = tempDir(t);
    const store = new PlainBlobStore();
    const environment = await actionEnvironment(folder, { variables: { PATH: '/usr/bin:/bin' } });
    const events = {
      phase: nothing,
      streams: nothing,
      memoryLimitMet: nothing,
      inputsLeft: nothing,
    };
    const runOne = async (executor: Executor, n: number) => {
      const tool = { content: `#!/bin/sh\n# ${n}\nexit 7\n`, isExecutable: true };
      const programs = dir({ tool, other: { ...tool, content: `${tool.content}# other` } });
      const action = await putAction(store, './tool; ./other', { inputs: programs });
      const leased = { instanceName: '', timeoutMs: 30_000, queuedAt: undefined, blobs: store };
      const place = path.join(folder, `action-${n}`);
      return runAction({ ...leased, action, executor, folder: place }, environment, events, never);
    };
    const codes = await Promise.all(
      executors.map(async (executor, slot) => {
        const each: (number | undefined)[] = [];
        for (let n = 0; n < 20; n++) {
          each.push((await runOne(executor, slot * 1_000 + n)).result?.exitCode);
        }
        return each;
      }),
    );
    assert.deepEqual(new Set(codes.flat()), new Set([7]), 'never 126, which is "text file busy"');
  });
});

describe(
  'inputs are as they were for the next container',
  { timeout: 120_000, skip: dockerSkip },
  () => {
    const closing = new AsyncDisposableStack();
    let daemon: DockerDaemon;
    before(async () => {
      daemon = await startDockerDaemon({ after: (end) => closing.defer(end) });
      daemon.busybox();
    });
    after(() => closing.disposeAsync());

    it('WK-06, WK-08, WK-31, WRK-03: in Docker', async (t) => {
      const { engine } = daemon;
      const policy = { image: 'busybox:test', allowed: ['busybox:*'], requiresDigest: false };
      const executor = new DockerExecutor({
        engine,
        cgroups: new ContainerCgroups(),
        images: new DockerImages(
          engine,
          { ...policy, pull: 'never', credentialsPath: undefined },
          'amd64',
        ),
        user,
        runtime: 'runc',
        network: undefined,
        limits: {
          memoryBytesMax: 64 * 2 ** 20,
          cpusMax: undefined,
          processesMax: 64,
          fileBytesMax: 2 ** 30,
          tmpBytesMax: 10_000_000,
        },
        labels: { 'expbuild.worker': 'test' },
        graceMs: 500,
        outputBytesMax: 1_000_000,
        newId,
      });
      await showsSafety(t, executor);
    });
  },
);
