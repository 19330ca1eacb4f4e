import { existsSync, readFileSync } from 'node:fs';

const places = ['/tmp', '/var/tmp', '/dev/shm', '/run/lock'];

/** Where everybody may make files, message queues too, and what a command made is looked for. */
export function sharedFolders(): string[] {
  const queues = messageQueuesFolder();
  return [...places, ...(queues === undefined ? [] : [queues])].filter((one) => existsSync(one));
}

/** Where the kernel shows message queues; undefined when nobody has mounted it, and none can be found. */
export function messageQueuesFolder(): string | undefined {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  return mounts.map((line) => line.split(' ')).find(([, , type]) => type === 'mqueue')?.[1];
}
