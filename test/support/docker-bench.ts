import { chownSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { newId } from '../../src/base/id.ts';
import { ContainerCgroups } from '../../src/executor/container-cgroup.ts';
import type { ContainerLimits } from '../../src/executor/docker-container.ts';
import { DockerExecutor, type DockerExecutorOptions } from '../../src/executor/docker-executor.ts';
import { DockerImages } from '../../src/executor/docker-images.ts';
import type { Command } from '../../src/executor/executor.ts';
import type { DockerDaemon } from './docker-daemon.ts';
import { never } from './never.ts';
import { tempDir } from './temp-dir.ts';

/** No other test beside this one ends what the user has. */
const uid = 100_000 + process.pid;
export const owner = { uid, gid: uid };
export const limits: ContainerLimits = {
  memoryBytesMax: 64 * 2 ** 20,
  cpusMax: undefined,
  processesMax: 64,
  fileBytesMax: 2 ** 30,
  tmpBytesMax: 10_000_000,
};

/** An executor on a daemon, and an input root for its commands, which run one after the other. */
export function dockerBench(
  { engine: ofDaemon }: Pick<DockerDaemon, 'engine'>,
  t: TestContext,
  changes: Partial<DockerExecutorOptions> = {},
) {
  const folder = tempDir(t);
  const inputRoot = path.join(folder, 'root');
  mkdirSync(inputRoot);
  const policy = { image: 'busybox:test', allowed: ['busybox:*'], requiresDigest: false };
  const { engine = ofDaemon } = changes;
  const executor = new DockerExecutor({
    engine,
    cgroups: new ContainerCgroups(),
    images: new DockerImages(
      engine,
      { ...policy, pull: 'never', credentialsPath: undefined },
      'amd64',
    ),
    user: owner,
    runtime: 'runc',
    network: undefined,
    limits,
    labels: { 'expbuild.worker': 'test' },
    graceMs: 500,
    outputBytesMax: 1_000_000,
    newId,
    ...changes,
  });
  chownSync(inputRoot, owner.uid, owner.gid);
  let runs = 0;
  const output = (name: string) => path.join(folder, `${name}.${runs}`);
  return {
    executor,
    folder,
    inputRoot,
    run: (argv: readonly [string, ...string[]], more: Partial<Command> = {}, signal = never) => {
      runs++;
      const command: Command = {
        argv,
        environment: {},
        workingDirectory: inputRoot,
        temporary: '/its/own',
        folder,
        stdoutPath: output('stdout'),
        stderrPath: output('stderr'),
        timeoutMs: 30_000,
        network: more.properties?.get('network') === 'on',
        memoryBytesMax: undefined,
        ...more,
      };
      return executor.run(command, inputRoot, signal);
    },
    stdout: () => readFileSync(output('stdout'), 'utf8'),
    stderr: () => readFileSync(output('stderr'), 'utf8'),
  };
}
