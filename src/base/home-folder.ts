import { homedir } from 'node:os';

/** `/` for who has none: in a container a process may run without HOME, as a user that is not listed. */
export function findHomeFolder(find: () => string = homedir): string {
  try {
    return find();
  } catch {
    return '/';
  }
}
