import type { Argv } from 'yargs';
import { readConfigFile } from '../config/config-file.ts';
import type { FlagValue, Sources } from '../config/read-config.ts';
import { dataFolder, type Surroundings } from '../config/surroundings.ts';
import { readWorkerConfig, type WorkerConfig } from '../config/worker-config.ts';
import { verboseFlag, wholeNumber } from './command.ts';
import { UsageError } from './exit-codes.ts';

/** What a server and a worker have in common on the command line. */
export interface RoleFlags {
  readonly config: string | undefined;
  readonly set: readonly string[];
  readonly verbose: boolean;
}

export const roleFlags = (yargs: Argv) =>
  yargs
    .option('config', { type: 'string', describe: 'Configuration file (TOML)' })
    .option('set', {
      type: 'string',
      array: true,
      default: [] as string[],
      describe: 'KEY=VALUE in place of what the file says; may be given several times',
    })
    .option('verbose', verboseFlag);

/** Of those that run actions. */
export const slotsFlag = {
  type: 'number',
  describe: 'Actions at once; as many as cores by default',
  coerce: wholeNumber('--slots', 1, 10_000),
} as const;

/** A flag that stands for a key, if it was given. */
export interface KeyFlag {
  readonly key: string;
  readonly value: string | number | undefined;
  readonly flag: string;
}

/** Where the configuration of a role comes from; `own` are its own flags. */
export function sourcesOf(
  { config, set, verbose }: RoleFlags,
  own: readonly KeyFlag[],
  { environment }: Surroundings,
): Sources {
  const flags: FlagValue[] = verbose
    ? [{ key: 'logging.level', value: 'debug', flag: '--verbose' }]
    : [];
  for (const entry of set) {
    const [, key, value] = /^([^=]+)=(.*)$/s.exec(entry) ?? [];
    if (key === undefined || value === undefined) {
      throw new UsageError(`--set ${entry} is not KEY=VALUE, such as cas_storage.max_size=10GiB`);
    }
    flags.push({ key, value, flag: '--set' });
  }
  for (const { key, value, flag } of own) {
    if (value !== undefined) flags.push({ key, value: String(value), flag });
  }
  const file = config === undefined ? undefined : readConfigFile(config);
  return { file, environment, flags };
}

/** The configuration of a worker inside of its server's process: environment variables alone. */
export function localWorkerConfig(
  surroundings: Surroundings,
  data = dataFolder(surroundings),
  slots?: number,
): WorkerConfig {
  const flags =
    slots === undefined ? [] : [{ key: 'slots', value: String(slots), flag: '--slots' }];
  const { environment } = surroundings;
  return readWorkerConfig({ file: undefined, environment, flags }, surroundings, data);
}
