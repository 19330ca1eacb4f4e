import { availableParallelism, totalmem } from 'node:os';
import path from 'node:path';
import { findHomeFolder } from '../base/home-folder.ts';

/** What the machine and the user's session say, before any configuration. */
export interface Surroundings {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly homeFolder: string;
  readonly workingFolder: string;
  /** The user this process runs as; undefined where users have no numbers. */
  readonly uid: number | undefined;
  readonly cores: number;
  readonly memoryBytes: number;
  /** As Node names them: linux, x64. */
  readonly os: string;
  readonly arch: string;
}

/** An absolute folder: the one that is configured, or else one of that name where data is kept. */
export type FolderOf = (configured: string | undefined, name: string) => string;

export function currentSurroundings(): Surroundings {
  return {
    environment: process.env,
    homeFolder: findHomeFolder(),
    workingFolder: process.cwd(),
    uid: process.getuid?.(),
    cores: availableParallelism(),
    // What a control group allows, where one does; without a limit it says more than there is.
    memoryBytes: Math.min(totalmem(), process.constrainedMemory() || totalmem()),
    os: process.platform,
    arch: process.arch,
  };
}

/**
 * Where this user's data is kept by default: the XDG base directory rules. Root's home is closed to the
 * users that its commands run as.
 */
export function dataFolder({ environment, homeFolder }: Surroundings): string {
  const usual = homeFolder === '/root' ? '/var/lib' : path.join(homeFolder, '.local', 'share');
  return path.join(environment['XDG_DATA_HOME'] || usual, 'expbuild');
}

/** Where this user's client configuration is looked for, best first. */
export function clientConfigFiles({ environment, homeFolder, workingFolder }: Surroundings) {
  const home = environment['XDG_CONFIG_HOME'] || path.join(homeFolder, '.config');
  return [path.join(workingFolder, 'expbuild.toml'), path.join(home, 'expbuild', 'config.toml')];
}
