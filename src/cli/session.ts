import type { Argv } from 'yargs';
import { Code, StatusError } from '../base/status.ts';
import { checkCapabilities } from '../client/check-capabilities.ts';
import { type Address, formatAddress } from '../config/address.ts';
import { type ClientConfig, readClientConfig } from '../config/client-config.ts';
import { findClientConfigFile, readConfigFile } from '../config/config-file.ts';
import { ConfigError, type FlagValue } from '../config/read-config.ts';
import { parseDigestFunctions } from '../digest/announced-digest-functions.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import { type Program, verboseFlag } from './command.ts';
import type { Remote } from './remote.ts';

/** Which server a client command speaks to. */
export interface ServerFlags {
  readonly config: string | undefined;
  readonly remote: string | undefined;
  readonly instanceName: string | undefined;
  readonly digestFunction: string | undefined;
  readonly verbose: boolean;
}

/** The same, and how blobs travel, for commands that read some. */
export interface DownloadFlags extends ServerFlags {
  readonly compression: string | undefined;
}

/** The same, for commands that send some too. */
export interface UploadFlags extends DownloadFlags {
  readonly chunking: string | undefined;
}

export const serverFlags = (yargs: Argv) =>
  yargs
    .option('verbose', verboseFlag)
    .option('remote', { type: 'string', describe: 'The server, such as localhost:50051' })
    .option('instance-name', { type: 'string', describe: 'The instance name; "main" by default' })
    .option('digest-function', { type: 'string', describe: 'SHA256 (the default), BLAKE3, …' })
    .option('config', {
      type: 'string',
      describe: 'Configuration; ./expbuild.toml or ~/.config/expbuild/config.toml by default',
    });

export const downloadFlags = (yargs: Argv) =>
  serverFlags(yargs).option('compression', {
    type: 'string',
    describe: 'How blobs travel: "off" (the default), or "zstd" where it helps',
  });

export const uploadFlags = (yargs: Argv) =>
  downloadFlags(yargs).option('chunking', {
    type: 'string',
    describe: 'Whether only new parts of large blobs are sent: "off" (the default) or "uploads"',
  });

/** Which instance of which server, and how blobs are named there. */
export interface Settings {
  readonly address: Address;
  readonly instanceName: string;
  readonly digestFunction: DigestFunction;
  readonly compression: ClientConfig['compression'];
  readonly chunking: ClientConfig['chunking'];
}

/** From flags, environment and configuration file; no server is asked. */
export function settingsOf(
  { surroundings }: Pick<Program, 'surroundings'>,
  flags: ServerFlags & Partial<UploadFlags>,
): Settings {
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
      ...given('compression', '--compression', flags.compression),
      ...given('chunking', '--chunking', flags.chunking),
    ],
  });
  const { remote: address, instanceName, compression, chunking } = config;
  const digestFunction = digestFunctionOf(config.digestFunction);
  return { address, instanceName, compression, chunking, digestFunction };
}

/** A client's view of one instance of the server, until it is disposed of. */
export interface Session extends Settings, Disposable {
  readonly remote: Remote;
}

/** Connects to the server, and sees to it that it can do what `needs` says (CLI-01). */
export async function openSession(
  program: Pick<Program, 'clock' | 'newId' | 'leaving'>,
  settings: Settings,
  needs: { readonly execution: boolean; readonly digestFunction?: DigestFunction },
): Promise<Session> {
  const remote = await connect(settings, program);
  try {
    checkCapabilities(remote.capabilities, { digestFunction: settings.digestFunction, ...needs });
  } catch (thrown) {
    remote[Symbol.dispose]();
    throw thrown;
  }
  return { ...settings, remote, [Symbol.dispose]: () => remote[Symbol.dispose]() };
}

async function connect(
  settings: Settings,
  program: Pick<Program, 'clock' | 'newId' | 'leaving'>,
): Promise<Remote> {
  // The client of gRPC takes a tenth of a second to load: not before it is needed.
  const { connectRemote } = await import('./remote.ts');
  try {
    return await connectRemote(settings, program, program.leaving);
  } catch (thrown) {
    const { code } = StatusError.from(thrown);
    const isAnswer = code !== Code.UNAVAILABLE && code !== Code.DEADLINE_EXCEEDED;
    const address = formatAddress(settings.address);
    throw StatusError.during(isAnswer ? address : `no answer from ${address}`, thrown);
  }
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
