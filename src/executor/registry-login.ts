import { readFileSync } from 'node:fs';
import { Code, StatusError } from '../base/status.ts';
import type { RegistryLogin } from './docker-engine.ts';

/** How Docker's own registry is called in its config.json. */
const dockerHub = 'https://index.docker.io/v1/';

interface DockerConfig {
  readonly auths?: Readonly<
    Record<string, { readonly auth?: string; readonly identitytoken?: string }>
  >;
  /** Programs that keep logins: of all registries, and of some by their names. */
  readonly credsStore?: string;
  readonly credHelpers?: Readonly<Record<string, string>>;
}

/**
 * The login for an image's registry in Docker's config.json, which is read each time: logins change.
 * Undefined when there is none. Fails with UNAVAILABLE when the file cannot be read, and when it names a
 * program that keeps the login: that would run with all that the worker may do.
 */
export function findLogin(file: string | undefined, reference: string): RegistryLogin | undefined {
  if (file === undefined) return undefined;
  const registry = registryOf(reference);
  const config = readConfig(file);
  const auths = new Map(Object.entries(config.auths ?? {}));
  const names =
    registry === 'docker.io' ? [dockerHub, registry] : [registry, `https://${registry}`];
  const name = names.find((one) => auths.has(one));
  const { auth = '', identitytoken } = auths.get(name ?? '') ?? {};
  if (name === undefined || (auth === '' && identitytoken === undefined)) {
    // `docker login` leaves an entry without a login when a program keeps it.
    const stored = name === undefined ? undefined : config.credsStore;
    const helpers = new Map(Object.entries(config.credHelpers ?? {}));
    const program = names.map((one) => helpers.get(one)).find(Boolean) ?? stored;
    if (program !== undefined) throw keptElsewhere(file, registry, program);
    return undefined;
  }
  const [username = '', ...rest] = Buffer.from(auth, 'base64').toString('utf8').split(':');
  return {
    username,
    password: rest.join(':'),
    serveraddress: name,
    ...(identitytoken === undefined ? {} : { identitytoken }),
  };
}

/** What stands before the first slash, if it looks like a host; else it is Docker's own. */
function registryOf(reference: string): string {
  const [first = '', ...rest] = reference.split('/');
  const isHost = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost');
  return isHost ? first : 'docker.io';
}

function keptElsewhere(file: string, registry: string, program: string): StatusError {
  return new StatusError(
    Code.UNAVAILABLE,
    `${file} leaves the login for ${registry} to docker-credential-${program} (credHelpers or credsStore), ` +
      'which a worker does not run. Put the login itself under "auths", as docker login does without them',
  );
}

function readConfig(file: string): DockerConfig {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as DockerConfig;
  } catch (error) {
    const message = `the logins for registries in ${file} cannot be read: ${(error as Error).message}`;
    throw new StatusError(Code.UNAVAILABLE, message, { cause: error });
  }
}
