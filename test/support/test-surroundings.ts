import type { Surroundings } from '../../src/config/surroundings.ts';

/** A machine whose home is `folder`, with nothing in its environment. */
export function testSurroundings(folder: string): Surroundings {
  return {
    environment: {},
    homeFolder: folder,
    workingFolder: folder,
    uid: process.getuid?.(),
    cores: 1,
    memoryBytes: 2 ** 30,
    os: 'linux',
    arch: 'x64',
  };
}
