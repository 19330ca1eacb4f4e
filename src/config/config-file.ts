import { existsSync, readFileSync } from 'node:fs';
import { ConfigError, type Sources } from './read-config.ts';
import { clientConfigFiles, type Surroundings } from './surroundings.ts';

/** The text of a configuration file that was asked for: a ConfigError when it cannot be read. */
export function readConfigFile(path: string): NonNullable<Sources['file']> {
  try {
    return { path, text: readFileSync(path, 'utf8') };
  } catch (thrown) {
    throw new ConfigError([`cannot read the configuration: ${(thrown as Error).message}`]);
  }
}

/** The client's configuration file where it lies by habit: the working folder, else the user's. */
export function findClientConfigFile(surroundings: Surroundings): Sources['file'] {
  const found = clientConfigFiles(surroundings).find((candidate) => existsSync(candidate));
  return found === undefined ? undefined : readConfigFile(found);
}
