import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type { NewId } from '../base/id.ts';
import type { Log } from '../base/log.ts';
import { Code, StatusError } from '../base/status.ts';
import type { WorkerConfig } from '../config/worker-config.ts';
import { ContainerCgroups } from '../executor/container-cgroup.ts';
import { startContainerWatchdog } from '../executor/container-watchdog.ts';
import { DockerEngine, type EngineFacts } from '../executor/docker-engine.ts';
import { DockerExecutor } from '../executor/docker-executor.ts';
import { DockerImages } from '../executor/docker-images.ts';
import type { Owner } from '../executor/executor.ts';
import { fileBytesMax } from '../executor/own-limits.ts';
import { dockerPromises, gvisorPromises } from '../executor/promises.ts';
import { openEscapes } from '../executor/runc-escapes.ts';
import { seccompProfile } from '../executor/seccomp-filter.ts';
import { launcherCommand } from './launcher-command.ts';
import { proofOf, prove } from './prove-isolation.ts';
import type { StartedExecutors } from './started-executors.ts';

export interface DockerDeps {
  readonly workerId: string;
  readonly newId: NewId;
  readonly log: Log;
}

/** On each container of a worker; its value is the worker's id. */
const workerLabel = 'expbuild.worker';
/** And one for this run of it. */
const bootLabel = 'expbuild.boot';
/** Test logs reach tens of megabytes; beyond this it is a loop. */
const outputBytesMax = 256 * 1024 * 1024;
const never = new AbortController().signal;

/**
 * Starts what runs commands in containers: removes what an earlier run of the worker left, fetches the
 * images, and proves by a first command what containers are kept from. Fails with FAILED_PRECONDITION or
 * UNAVAILABLE, saying what is missing.
 */
export async function startDocker(
  config: WorkerConfig,
  users: readonly (Owner | undefined)[],
  { workerId, newId, log }: DockerDeps,
  closing: AsyncDisposableStack,
): Promise<StartedExecutors> {
  const { executor, rootPath } = config;
  const { docker } = executor;
  const engine = new DockerEngine(docker.socketPath, docker.answerMsMax);
  const facts = await engine.facts();
  refuseUnfit(config, facts);
  if (facts.runtimesWithoutCgroups.includes(docker.runtime)) {
    log.warn('nothing limits how many processes a command has', {
      why: `the runtime "${docker.runtime}" has --ignore-cgroups among its runtimeArgs`,
    });
  }
  if (docker.runtime === 'runc') warnOfEscapes(facts, log);
  await sweep(engine, workerId, log);
  const images = new DockerImages(
    engine,
    {
      image: docker.image,
      allowed: docker.allowedImages,
      requiresDigest: docker.requiresDigest,
      pull: docker.pull,
      credentialsPath: docker.credentialsPath,
    },
    facts.architecture,
  );
  images.choose(undefined);
  for (const image of new Set([docker.image, ...docker.warmUp])) await images.find(image, never);
  const bootId = newId();
  const watchdog = launcherCommand('container-watchdog');
  closing.defer(startContainerWatchdog(watchdog, docker.socketPath, `${bootLabel}=${bootId}`));
  const options = {
    engine,
    images,
    cgroups: new ContainerCgroups(),
    rootInside: facts.rootInside,
    runtime: docker.runtime,
    network: executor.network === 'on-request' ? docker.network : undefined,
    limits: {
      memoryBytesMax: executor.memoryMaxBytes,
      cpusMax: executor.cpusMax,
      processesMax: executor.processesMax,
      fileBytesMax: fileBytesMax(executor.fileMaxSizeBytes),
      tmpBytesMax: executor.tmpMaxSizeBytes,
    },
    podmanFilterPath: facts.isPodman ? podmanFilterIn(rootPath) : undefined,
    labels: { [workerLabel]: workerId, [bootLabel]: bootId },
    graceMs: executor.killGraceMs,
    outputBytesMax,
    newId,
  };
  const executors = users.map((user) => new DockerExecutor({ ...options, user }));
  const promises = isGvisor(docker.runtime) ? gvisorPromises : dockerPromises;
  const proofs = [proofOf('docker', promises, 'The first command needs /bin/sh in the image')];
  const [first] = executors;
  if (first) await prove(first, proofs, config);
  const kept = promises.map(({ what }) => what).join(', ');
  const isolation =
    `docker: ${docker.runtime} of ${facts.isPodman ? 'Podman' : 'Docker'} ${facts.version}, ${docker.image} unless the action asks for ` +
    `another image; ${kept}`;
  return { executors, isolation, proofs };
}

function podmanFilterIn(folder: string): string {
  const file = path.join(folder, 'seccomp.json');
  writeFileSync(file, seccompProfile());
  return file;
}

/**
 * Its number may be older than what is in it, so it is no reason to refuse (DK-13). Debian, for one, closed
 * CVE-2024-21626 in 1.1.5+ds1-1+deb12u1.
 */
function warnOfEscapes({ runc = 'of no version that is told' }: EngineFacts, log: Log): void {
  const open = openEscapes(runc);
  if (open.length === 0) return;
  log.warn('runc is older than versions that keep commands in their containers', {
    runc,
    unlessBackported: open.join(', '),
    help: "see the distribution's security tracker, as in docs/isolation.md",
  });
}

/** Containers of this worker that are here before it runs any: it was killed (DK-05). */
async function sweep(engine: DockerEngine, workerId: string, log: Log): Promise<void> {
  const left = await engine.labelled(`${workerLabel}=${workerId}`);
  for (const { id } of left) await engine.remove(id);
  if (left.length > 0) log.info('removed containers that were left', { containers: left.length });
}

/** Nothing less than what is configured is taken (DK-12, DK-14). */
function refuseUnfit(
  { executor }: WorkerConfig,
  { runtimes, runtimesWithoutCgroups, security, rootInside, limits }: EngineFacts,
): void {
  const { docker, memoryMaxBytes, cpusMax } = executor;
  if (!runtimes.includes(docker.runtime)) {
    throw unusable(
      `the daemon knows no runtime "${docker.runtime}"; it knows ${runtimes.join(', ')}. Add it to ` +
        '"runtimes" in /etc/docker/daemon.json, or choose another executor.docker.runtime',
    );
  }
  for (const [key, limit] of [
    ['memory_max', memoryMaxBytes],
    ['cpus_max', cpusMax],
  ] as const) {
    if (limit === undefined || !runtimesWithoutCgroups.includes(docker.runtime)) continue;
    throw unusable(
      `executor.${key} would not be kept: the runtime "${docker.runtime}" has --ignore-cgroups among its ` +
        'runtimeArgs in /etc/docker/daemon.json',
    );
  }
  if (security.includes('rootless')) {
    throw unusable(
      "the daemon is rootless: it gives containers other users than this machine's, which cannot be told, " +
        'so that commands could not write their outputs. Use a daemon that root runs',
    );
  }
  if (security.includes('userns') && !(rootInside && executor.users)) {
    throw unusable(
      "the daemon remaps users (userns-remap): files of commands are others' than the worker's. The " +
        'worker must be root, and the daemon tell where it keeps them (its folder ends with UID.GID)',
    );
  }
  for (const [key, limit, isKept] of [
    ['memory_max', memoryMaxBytes, limits.memory],
    ['cpus_max', cpusMax, limits.cpus],
    ['processes_max', executor.processesMax, limits.processes],
  ] as const) {
    if (limit === undefined || isKept) continue;
    throw unusable(
      `the daemon cannot keep executor.${key} on this machine, which lacks its cgroup`,
    );
  }
}

/** The runtime is gVisor's, under one of the names that it goes by. */
export function isGvisor(runtime: string): boolean {
  return /^(?:runsc|gvisor)/.test(runtime);
}

function unusable(why: string): StatusError {
  return new StatusError(Code.FAILED_PRECONDITION, `the executor "docker" cannot be used: ${why}`);
}
