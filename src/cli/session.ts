import type { Argv } from 'yargs';
import { formatAddress } from '../config/address.ts';
import { readClientConfig } from '../config/client-config.ts';
import { findClientConfigFile, readConfigFile } from '../config/config-file.ts';
import { ConfigError, type FlagValue } from '../config/read-config.ts';
import { parseDigestFunctions } from '../digest/announced-digest-functions.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import type { Program } from './command.ts';
import type { Remote } from './remote.ts';

/** Which server a client command speaks to, and how. */
export interface ClientFlags {
  readonly config: string | undefined;
  readonly remote: string | undefined;
  readonly instanceName: string | undefined;
  readonly digestFunction: string | undefined;
}

export const clientFlags = (yargs: Argv) =>
  yargs
    .option('remote', { type: 'string', describe: 'The server, such as localhost:50051' })
    .option('instance-name', { type: 'string', describe: 'The instance name; "main" by default' })
    .option('digest-function', { type: 'string', describe: 'SHA256 (the default), BLAKE3, …' })
    .option('config', {
      type: 'string',
      describe: 'Configuration; ./expbuild.toml or ~/.config/expbuild/config.toml by default',
    });

/** A client's view of one instance of the server, until it is disposed of. */
export interface Session extends Disposable {
  readonly remote: Remote;
  readonly address: string;
  readonly instanceName: string;
  readonly digestFunction: DigestFunction;
}

export async function openSession(
  { surroundings, connect }: Pick<Program, 'surroundings' | 'connect'>,
  flags: ClientFlags,
): Promise<Session> {
  const config = readClientConfig({
    file:
      flags.config === undefined
        ? findClientConfigFile(surroundings)
        : readConfigFile(flags.config),
    environment: surroundings.environment,
    flags: [
      ...given('remote_endpoint', '--remote', flags.remote),
      ...given('instance_name', '--instance-name', flags.instanceName),
      ...given('digest_function', '--digest-function', flags.digestFunction),
    ],
  });
  const digestFunction = digestFunctionOf(config.digestFunction);
  const { remote: address, instanceName } = config;
  const remote = await connect({ address, instanceName, digestFunction });
  return {
    remote,
    address: formatAddress(address),
    instanceName,
    digestFunction,
    [Symbol.dispose]: () => remote.close(),
  };
}

function given(key: string, flag: string, value: string | undefined): FlagValue[] {
  return value === undefined ? [] : [{ key, flag, value }];
}

function digestFunctionOf(name: string): DigestFunction {
  try {
    return parseDigestFunctions([name]).functions[0] as DigestFunction;
  } catch (thrown) {
    throw new ConfigError([(thrown as Error).message]);
  }
}
