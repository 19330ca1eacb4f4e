import { Agent } from 'node:http';
import type { Readable } from 'node:stream';
import Docker from 'dockerode';
import { systemClock } from '../base/clock.ts';
import { Code, StatusError } from '../base/status.ts';
import type { Owner } from './executor.ts';

/** What the daemon says of itself. */
export interface EngineFacts {
  readonly version: string;
  /** It only speaks like Docker. */
  readonly isPodman: boolean;
  /** What its runc says of itself: the version, and what it was made from. Undefined where it has none. */
  readonly runc: string | undefined;
  /** Of the processor, as Go names it: images name theirs so. */
  readonly architecture: string;
  readonly runtimes: readonly string[];
  /** Of these, the ones that leave the limits of containers to nobody. */
  readonly runtimesWithoutCgroups: readonly string[];
  /** Kinds of hardening, such as "seccomp", "userns" and "rootless". */
  readonly security: readonly string[];
  /** Who root of the containers is on this machine, where users are remapped and that is known. */
  readonly rootInside: Owner | undefined;
  readonly limits: {
    readonly memory: boolean;
    readonly cpus: boolean;
    readonly processes: boolean;
  };
}

/** What is to be known of an image. */
export interface ImageFacts {
  /** The digest of its configuration: whatever its tag names later, this is the same image. */
  readonly id: string;
  readonly architecture: string;
  readonly variables: readonly string[];
  readonly volumes: readonly string[];
}

/** How a container ended. */
export interface ContainerEnd {
  readonly exitCode: number;
  readonly isOutOfMemory: boolean;
  readonly wallTimeMs: number;
}

export interface RegistryLogin {
  readonly username: string;
  readonly password: string;
  readonly identitytoken?: string | undefined;
  readonly serveraddress: string;
}

/** A flag of gVisor's runtime. */
const ignoresCgroups = /^--?ignore-cgroups(?:=(?:true|1|t|T|TRUE|True))?$/;

/** What the daemon answers is small, and it is on this machine; one that hangs must not hold a slot. */
const defaultCallMsMax = 60_000;

/**
 * Docker's daemon, or one that speaks like it, behind a socket of this machine. What is wrong with it is
 * UNAVAILABLE or INTERNAL: never the action's fault. Each call has a deadline.
 */
export class DockerEngine {
  readonly socket: string;
  /** After so long, a call is not answered any more. */
  readonly callMsMax: number;
  readonly #calls: Docker;
  /** Without a deadline: for what lasts as long as a command. */
  readonly #waits: Docker;

  constructor(socket: string, callMsMax = defaultCallMsMax) {
    this.socket = socket;
    this.callMsMax = callMsMax;
    this.#calls = connection(socket, callMsMax);
    this.#waits = connection(socket, 0);
  }

  async facts(): Promise<EngineFacts> {
    const version = await this.#during('its version', () => this.#calls.version());
    const info = (await this.#during('its facts', () => this.#calls.info())) as {
      Runtimes?: Record<string, { runtimeArgs?: string[] | null }>;
      SecurityOptions?: string[];
      MemoryLimit?: boolean;
      PidsLimit?: boolean;
      DockerRootDir?: string;
      CpuCfsQuota?: boolean;
    };
    // Each mapping has a folder of its own.
    const [, uid, gid] = /\/(\d+)\.(\d+)$/.exec(info.DockerRootDir ?? '') ?? [];
    const security = (info.SecurityOptions ?? []).flatMap(
      (option) => /^(?:name=)?(\w+)/.exec(option)?.[1] ?? [],
    );
    const isRemapped = security.includes('userns') && uid !== undefined;
    // Docker has them since 18.09.
    const { Components: components = [] } = version as Partial<typeof version>;
    const runc = components.find(({ Name: name }) => /^(?:OCI Runtime \()?runc\)?$/.test(name)) as
      | { Version: string; Details?: Record<string, string> }
      | undefined;
    return {
      version: version.Version,
      runc:
        runc && `${runc.Version} ${runc.Details?.['GitCommit'] ?? ''}`.replaceAll('\n', ' ').trim(),
      isPodman: components.some(({ Name: name }) => name === 'Podman Engine'),
      architecture: version.Arch,
      runtimes: Object.keys(info.Runtimes ?? {}),
      runtimesWithoutCgroups: Object.entries(info.Runtimes ?? {})
        .filter(([, { runtimeArgs }]) => runtimeArgs?.some((arg) => ignoresCgroups.test(arg)))
        .map(([name]) => name),
      security,
      rootInside: isRemapped ? { uid: Number(uid), gid: Number(gid) } : undefined,
      limits: {
        memory: info.MemoryLimit === true,
        cpus: info.CpuCfsQuota === true,
        processes: info.PidsLimit === true,
      },
    };
  }

  /** Fails when the daemon hangs. */
  async ping(): Promise<void> {
    await this.#during('whether it is there', () => this.#calls.ping());
  }

  /** Returns its id. */
  async create(body: Docker.ContainerCreateOptions): Promise<string> {
    const create = () => this.#calls.createContainer(body);
    return (await this.#during('to create a container', create)).id;
  }

  /** Its output from its start to its end, in frames. */
  async attach(name: string): Promise<Readable> {
    const options = { stream: true, stdout: true, stderr: true } as const;
    const attach = () => this.#waits.getContainer(name).attach(options);
    return (await this.#during('for the output of a container', attach)) as unknown as Readable;
  }

  async start(name: string): Promise<void> {
    await this.#during('to start a container', () => this.#calls.getContainer(name).start());
  }

  /** Settles when a container runs no more, which must be soon: its output has ended. */
  async ended(name: string): Promise<void> {
    await this.#during('for the end of a container', () => this.#calls.getContainer(name).wait());
  }

  async endOf(name: string): Promise<ContainerEnd> {
    const inspect = () => this.#calls.getContainer(name).inspect();
    const { State: state } = await this.#during('how a container ended', inspect);
    return {
      exitCode: state.ExitCode,
      isOutOfMemory: state.OOMKilled,
      wallTimeMs: Math.max(0, Date.parse(state.FinishedAt) - Date.parse(state.StartedAt)),
    };
  }

  /** The first process of a running container, as this machine numbers it; undefined if it has ended. */
  async processOf(name: string): Promise<number | undefined> {
    const inspect = () => this.#calls.getContainer(name).inspect();
    const { State: state } = await this.#during('for the process of a container', inspect);
    return state.Pid || undefined;
  }

  /** Sends a signal; one to a container that has ended does nothing. */
  async kill(name: string, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const kill = () => this.#calls.getContainer(name).kill({ signal });
    await this.#unless([404, 409], 'to end a container', kill);
  }

  /** Ends and removes a container, with its volumes; one that is not there is removed. */
  async remove(name: string): Promise<void> {
    const remove = () => this.#calls.getContainer(name).remove({ force: true, v: true });
    await this.#unless([404], 'to remove a container', remove);
  }

  /** All containers with a label, running or not. */
  async labelled(label: string): Promise<{ readonly id: string; readonly labels: Labels }[]> {
    const list = () =>
      this.#calls.listContainers({ all: true, filters: { label: [label] } as never });
    const found = await this.#during('for containers', list);
    return found.map(({ Id: id, Labels: labels }) => ({ id, labels: labels as Labels }));
  }

  /** Undefined when it is not on this machine. */
  async findImage(reference: string): Promise<ImageFacts | undefined> {
    const inspect = () => this.#calls.getImage(reference).inspect();
    const image = await this.#unless([404], `for image ${reference}`, inspect);
    if (!image) return undefined;
    return {
      id: image.Id,
      architecture: image.Architecture,
      variables: image.Config.Env ?? [],
      volumes: Object.keys(image.Config.Volumes ?? {}),
    };
  }

  /** Throws the registry's own complaint. */
  async pull(reference: string, login: RegistryLogin | undefined, signal: AbortSignal) {
    const options = { abortSignal: signal, ...(login ? { authconfig: login } : {}) };
    const progress = await this.#waits.pull(reference, options);
    for await (const line of messagesOf(progress as Readable)) {
      if (line.error !== undefined) throw new Error(line.error);
    }
  }

  /** Undefined when the daemon answers with one of the statuses that are expected. */
  async #unless<T>(
    expected: readonly number[],
    what: string,
    call: () => Promise<T>,
  ): Promise<T | undefined> {
    try {
      return await this.#during(what, call);
    } catch (error) {
      const { statusCode = 0 } = (error as Error).cause as { statusCode?: number };
      if (expected.includes(statusCode)) return undefined;
      throw error;
    }
  }

  async #during<T>(what: string, call: () => Promise<T>): Promise<T> {
    const answered = new AbortController();
    // dockerode itself never settles when a connection breaks within an answer.
    const late = systemClock.sleep(this.callMsMax, answered.signal).then(() => {
      throw new Error(`nothing within ${this.callMsMax / 1_000} s`);
    });
    try {
      return await Promise.race([call(), late]);
    } catch (error) {
      const { statusCode, code } = error as { statusCode?: number; code?: string };
      throw this.#complaint(what, error as Error, statusCode, code);
    } finally {
      answered.abort();
      late.catch(() => {});
    }
  }

  #complaint(what: string, error: Error, status: number | undefined, code: string | undefined) {
    if (status !== undefined) {
      const text = messageOf(error);
      return new StatusError(Code.INTERNAL, `Docker, asked ${what}: ${text}`, { cause: error });
    }
    const why = code === undefined ? error.message : `${code}: ${error.message}`;
    const message = `the Docker daemon at ${this.socket} does not answer when asked ${what} (${why})`;
    return new StatusError(Code.UNAVAILABLE, message, { cause: error });
  }
}

type Labels = Readonly<Record<string, string>>;

/** DOCKER_HOST and its like, which are for people, do not change it. */
function connection(socketPath: string, timeout: number): Docker {
  const options = {
    socketPath,
    host: undefined,
    protocol: 'http',
    timeout,
    // A connection that the daemon has closed meanwhile would fail the next call.
    agent: new Agent({ keepAlive: false }),
  };
  return new Docker(options as Docker.DockerOptions);
}

function messageOf(error: Error): string {
  const { json } = error as { json?: { message?: string } };
  return json?.message ?? error.message;
}

async function* messagesOf(stream: Readable): AsyncGenerator<{ readonly error?: string }> {
  let rest = '';
  stream.setEncoding('utf8');
  for await (const chunk of stream) {
    const lines = (rest + String(chunk)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.trim() !== '') yield JSON.parse(line) as { error?: string };
  }
}
