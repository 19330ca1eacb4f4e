import { orAborted } from '../base/until-aborted.ts';
import { Code, StatusError } from '../base/status.ts';
import type { DockerEngine, ImageFacts } from './docker-engine.ts';
import { findLogin } from './registry-login.ts';

export interface ImagePolicy {
  /** For actions that name none. */
  readonly image: string;
  /** What actions may name: images, and with a `*` at the end all that begin so. */
  readonly allowed: readonly string[];
  /** Only images that are named by a digest. */
  readonly requiresDigest: boolean;
  /** When an image is fetched from its registry: one named by digest never changes. */
  readonly pull: 'never' | 'missing' | 'always';
  /** Docker's config.json, with the logins for registries. */
  readonly credentialsPath: string | undefined;
}

/** Some GiB on a slow line. */
const pullMsMax = 30 * 60_000;
/** https://pkg.go.dev/github.com/distribution/reference: names, a tag, a digest; or an image's id. */
const referenceForm =
  /^(?:[\w.-]+(?::\d+)?\/)?[a-z0-9._/-]+(?::[\w.-]{1,128})?(?:@sha256:[0-9a-f]{64})?$/i;
const idForm = /^sha256:[0-9a-f]{64}$/;

/** The images of a worker: which an action may have, and where they come from. */
export class DockerImages {
  readonly #engine: DockerEngine;
  readonly #policy: ImagePolicy;
  readonly #architecture: string;
  /** Each image is fetched once for all that wait for it. */
  readonly #pulls = new Map<string, Promise<void>>();

  constructor(engine: DockerEngine, policy: ImagePolicy, architecture: string) {
    this.#engine = engine;
    this.#policy = policy;
    this.#architecture = architecture;
  }

  /**
   * The image that an action asks for, which may begin with `docker://`, or else the worker's own. Fails
   * with INVALID_ARGUMENT when the worker does not let actions have it.
   */
  choose(asked: string | undefined): string {
    const { image, allowed, requiresDigest } = this.#policy;
    const reference = (asked ?? image).replace(/^docker:\/\//, '');
    const named = JSON.stringify(reference.slice(0, 500));
    if (!referenceForm.test(reference) && !idForm.test(reference)) {
      throw new StatusError(Code.INVALID_ARGUMENT, `container-image ${named} names no image`);
    }
    const isAllowed =
      reference === image ||
      allowed.some((one) =>
        one.endsWith('*') ? reference.startsWith(one.slice(0, -1)) : reference === one,
      );
    if (!isAllowed) {
      throw new StatusError(
        Code.INVALID_ARGUMENT,
        `container-image ${named} is not among the images that this worker allows`,
      );
    }
    if (requiresDigest && !/(?:^|@)sha256:[0-9a-f]{64}$/.test(reference)) {
      throw new StatusError(
        Code.INVALID_ARGUMENT,
        `container-image ${named} must be named by its digest, as in NAME@sha256:...: this worker ` +
          'takes no tags, which may name another image tomorrow',
      );
    }
    return reference;
  }

  /**
   * An image that is on this machine, fetched if need be. Fails with FAILED_PRECONDITION when there is
   * none, and with UNAVAILABLE when its registry cannot be asked.
   */
  async find(reference: string, signal: AbortSignal): Promise<ImageFacts> {
    const { pull } = this.#policy;
    const here = await this.#engine.findImage(reference);
    const isFixed = reference.includes('sha256:');
    if (here && (pull !== 'always' || isFixed)) return this.#fitting(reference, here);
    if (pull === 'never') {
      throw missing(reference, 'and this worker fetches none (executor.docker.pull is "never")');
    }
    await orAborted(this.#pulled(reference), signal);
    const fetched = await this.#engine.findImage(reference);
    if (!fetched) throw missing(reference, 'even after it was fetched');
    return this.#fitting(reference, fetched);
  }

  #pulled(reference: string): Promise<void> {
    const running = this.#pulls.get(reference);
    if (running) return running;
    const pulling = this.#pull(reference).finally(() => this.#pulls.delete(reference));
    this.#pulls.set(reference, pulling);
    return pulling;
  }

  async #pull(reference: string): Promise<void> {
    const login = findLogin(this.#policy.credentialsPath, reference);
    // Without a tag, Docker would fetch them all.
    const isWhole = /:[^/]*$/.test(reference);
    const name = isWhole ? reference : `${reference}:latest`;
    try {
      await this.#engine.pull(name, login, AbortSignal.timeout(pullMsMax));
    } catch (error) {
      throw complaint(reference, (error as Error).message, { cause: error });
    }
  }

  #fitting(reference: string, image: ImageFacts): ImageFacts {
    const { architecture } = image;
    if (architecture === '' || architecture === this.#architecture) return image;
    throw new StatusError(
      Code.FAILED_PRECONDITION,
      `image ${reference} is for ${architecture}; this machine is ${this.#architecture}`,
    );
  }
}

function missing(reference: string, why: string): StatusError {
  return new StatusError(
    Code.FAILED_PRECONDITION,
    `image ${reference} is not on the worker's machine, ${why}`,
  );
}

/** What another attempt cannot change is the action's to repair (DK-07). */
function complaint(reference: string, said: string, options: ErrorOptions): StatusError {
  const isFinal = /not found|unknown|denied|unauthori[sz]ed|authentication required|invalid/i;
  const isPassing = /toomanyrequests|too many requests|timeout|connection|lookup|dial|EOF/i;
  const code =
    isFinal.test(said) && !isPassing.test(said) ? Code.FAILED_PRECONDITION : Code.UNAVAILABLE;
  return new StatusError(code, `image ${reference} cannot be fetched: ${said.trim()}`, options);
}
