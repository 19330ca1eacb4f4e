import { readFileSync } from 'node:fs';
import { Code, StatusError } from '../base/status.ts';
import type { RegistryLogin } from './docker-engine.ts';

/** How Docker's own registry is called in its config.json. */
const dockerHub = 'https://index.docker.io/v1/';

interface DockerConfig {
  readonly auths?: Readonly<
    Record<string, { readonly auth?: string; readonly identitytoken?: string }>
  >;
}

/**
 * The login for an image's registry in Docker's config.json, which is read each time: logins change.
 * Undefined when there is none. Fails with UNAVAILABLE when the file cannot be read.
 */
export function findLogin(file: string | undefined, reference: string): RegistryLogin | undefined {
  if (file === undefined) return undefined;
  const registry = registryOf(reference);
  const auths = new Map(Object.entries(readConfig(file).auths ?? {}));
  const names =
    registry === 'docker.io' ? [dockerHub, registry] : [registry, `https://${registry}`];
  const name = names.find((one) => auths.has(one));
  const { auth = '', identitytoken } = auths.get(name ?? '') ?? {};
  if (name === undefined || (auth === '' && identitytoken === undefined)) return undefined;
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

function readConfig(file: string): DockerConfig {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as DockerConfig;
  } catch (error) {
    const message = `the logins for registries in ${file} cannot be read: ${(error as Error).message}`;
    throw new StatusError(Code.UNAVAILABLE, message, { cause: error });
  }
}
