import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { DockerEngine } from '../../src/executor/docker-engine.ts';
import { type DockerDaemon, dockerClient, mountsIn, whyOnce, whyWithout } from './docker-daemon.ts';

/** Podman's service for what speaks to Docker: there is no daemon behind it. */
export type PodmanService = Pick<
  DockerDaemon,
  'socket' | 'engine' | 'busybox' | 'containers' | 'docker' | 'end' | 'restart'
>;

const startMsMax = 60_000;
/** Nothing of systemd's, which a machine for tests may not run. */
const configuration = `
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
`;

/** Runs one container, of what is in the folder "tree"; a worker refuses a rootless Podman. */
const probe = `
if [ "$("$@" info --format '{{.Host.Security.Rootless}}')" = true ]; then
  echo 'it is rootless, without CAP_SYS_ADMIN' >&2
  exit 1
fi
mkdir -p tree/bin && cp /bin/busybox tree/bin/true && tar -C tree -cf image.tar .
"$@" import image.tar probe && "$@" run --rm --network none --ulimit nofile=64 --ulimit nproc=64 probe /bin/true
`;

/** Why Podman cannot be tested here; false when it can. */
export const podmanSkip: string | false =
  whyWithout([
    ['/usr/bin/podman', 'podman'],
    ['/usr/libexec/podman/catatonit', 'catatonit'],
    ['/usr/sbin/runc', 'runc'],
  ]) || whyOnce('podman', probed);

function probed(): string | false {
  const { folder, command, env, remove } = podmanIn();
  const args = ['-c', probe, 'sh', ...command];
  const { status, stderr } = spawnSync('sh', args, { cwd: folder, env, timeout: startMsMax });
  remove();
  const last = stderr.toString().trim().split('\n').at(-1);
  return status === 0 ? false : `Podman runs no container here: ${last}`;
}

/** Starts a service with everything that it keeps in a temporary folder; `after` is called to end it. */
export async function startPodman(t: {
  after(end: () => Promise<void>): void;
}): Promise<PodmanService> {
  const { folder, command, env, remove } = podmanIn();
  const at = (name: string) => path.join(folder, name);
  const socket = at('podman.sock');
  const [file, ...args] = [...command, 'system', 'service', '--time=0', `unix://${socket}`];
  // What watches a container leaves a file named `oom` where it is started.
  const start = () => spawn(file ?? '', args, { stdio: 'ignore', env, cwd: folder });
  let service = start();
  const engine = new DockerEngine(socket);
  const { docker, imageOf, containers } = dockerClient(socket, at);
  const end = async (signal: NodeJS.Signals) => {
    if (service.exitCode !== null || service.signalCode !== null) return;
    const exited = once(service, 'exit');
    service.kill(signal);
    await exited;
  };
  t.after(async () => {
    await end('SIGTERM');
    execFileSync(command[0], [...command.slice(1), 'rm', '--force', '--all'], { env });
    remove();
  });
  const answers = async () => {
    const endAt = performance.now() + startMsMax;
    while (!(await isThere(engine))) {
      if (performance.now() > endAt || service.exitCode !== null) throw new Error('no Podman');
      await wait(50);
    }
  };
  const restart = async () => {
    await end('SIGTERM');
    service = start();
    await answers();
  };
  await answers();
  return { socket, engine, docker, busybox: imageOf, containers, end, restart };
}

/** How Podman is called so that it keeps all in a folder of its own. */
function podmanIn() {
  const folder = mkdtempSync(path.join(tmpdir(), 'pd-'));
  const at = (name: string) => path.join(folder, name);
  writeFileSync(at('containers.conf'), configuration);
  const folders = ['--root', at('root'), '--runroot', at('run'), '--tmpdir', at('tmp')];
  return {
    folder,
    command: ['/usr/bin/podman', ...folders, '--storage-driver', 'vfs'] as const,
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', CONTAINERS_CONF: at('containers.conf') },
    remove: () => {
      for (const mount of mountsIn(folder)) execFileSync('umount', ['-l', mount]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function isThere(engine: DockerEngine): Promise<boolean> {
  return engine.ping().then(
    () => true,
    () => false,
  );
}
