import path from 'node:path';

/** Where the commands of a worker run, each in a folder of its own below it. */
export function actionsFolder(rootPath: string): string {
  return path.join(rootPath, 'actions');
}
