import path from 'node:path';
import * as v from 'valibot';
import { choice, duration, flag, list, section, text } from './keys.ts';
import { ConfigError } from './read-config.ts';
import type { Surroundings } from './surroundings.ts';

/** How commands are run in containers. */
export interface DockerConfig {
  /** Absolute. */
  readonly socketPath: string;
  /** How long the daemon may take to answer. */
  readonly answerMsMax: number;
  /** For actions that name none; empty where the executor is another. */
  readonly image: string;
  readonly allowedImages: readonly string[];
  readonly requiresDigest: boolean;
  readonly pull: 'never' | 'missing' | 'always';
  readonly credentialsPath: string | undefined;
  readonly warmUp: readonly string[];
  readonly runtime: string;
  /** For actions that ask for a network and may have it. */
  readonly network: string;
}

export const dockerSchema = section({
  socket: v.optional(
    text("The socket of Docker's daemon, or of Podman's service as root; on this machine."),
    '/var/run/docker.sock',
  ),
  answer_timeout: v.optional(
    duration(
      'How long the daemon may take to answer what it is asked; one that takes longer is taken to hang.',
      '1ms',
    ),
    '1m',
  ),
  image: v.optional(text('The image that actions run in which name none.')),
  allowed_images: v.optional(
    list(
      'The images that actions may ask for by their property container-image; with a * at its end an ' +
        'entry stands for all that begin so.',
    ),
    [],
  ),
  require_digest: v.optional(
    flag('Whether images must be named by their digest: a tag may name another image tomorrow.'),
    false,
  ),
  pull: v.optional(
    choice('When an image is fetched from its registry.', ['never', 'missing', 'always']),
    'missing',
  ),
  credentials_file: v.optional(
    text("A config.json of Docker's with the logins for registries; without it, none is used."),
  ),
  warm_up: v.optional(
    list('Images that are fetched before the worker takes actions, beside the one of image.'),
    [],
  ),
  runtime: v.optional(
    text('What runs containers, by the name that the daemon knows it by; runsc is gVisor.'),
    'runc',
  ),
  network: v.optional(
    text(
      'The network of the daemon that actions get which ask for one, where executor.network is ' +
        '"on-request". All others have no network.',
    ),
    'bridge',
  ),
});

/** Networks that are the machine's own or another container's. */
const sharedNetworks = /^(?:host|container:.*)$/;

/** Fails with a ConfigError when a worker that is to use Docker lacks an image. */
export function dockerConfigOf(
  values: v.InferOutput<typeof dockerSchema>,
  isUsed: boolean,
  { workingFolder }: Pick<Surroundings, 'workingFolder'>,
): DockerConfig {
  const { image, network, credentials_file: credentials } = values;
  if (isUsed && image === undefined) {
    throw new ConfigError([
      'key "executor.docker.image" is needed when "executor.type" is "docker": the image that actions ' +
        'run in, such as "registry.example/build@sha256:..."',
    ]);
  }
  if (sharedNetworks.test(network)) {
    throw new ConfigError([
      `key "executor.docker.network" must be a network for containers alone; it is "${network}"`,
    ]);
  }
  return {
    socketPath: path.resolve(workingFolder, values.socket.replace(/^unix:\/\//, '')),
    answerMsMax: values.answer_timeout,
    image: image ?? '',
    allowedImages: values.allowed_images,
    requiresDigest: values.require_digest,
    pull: values.pull,
    credentialsPath:
      credentials === undefined ? undefined : path.resolve(workingFolder, credentials),
    warmUp: values.warm_up,
    runtime: values.runtime,
    network,
  };
}

/** What actions may ask for where they run in containers. */
export function dockerPlatform({
  image,
  allowed_images: allowed,
}: v.InferOutput<typeof dockerSchema>): Readonly<Record<string, readonly string[]>> {
  const images = [...(image === undefined ? [] : [image]), ...allowed];
  return { 'container-image': images.flatMap((one) => [one, `docker://${one}`]) };
}
