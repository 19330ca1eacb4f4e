import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import path from 'node:path';
import { makeFolder } from '../base/make-folder.ts';
import { Code, StatusError } from '../base/status.ts';
import { defaultPath } from './find-executable.ts';
import { startTicksOf } from './processes.ts';

/** A user of the operating system that only commands of this process run as, one of them at a time. */
export interface ClaimedUser {
  readonly uid: number;
  /** A person or a service may have it too, who are no worker. */
  readonly hasAccount: boolean;
}

/** Gone after a restart of the machine, as all claims are. */
const claimsFolder = '/run/expbuild/users';
/** How `getent` ends when one it was asked for is not known; it tells the others all the same. */
const someUnknown = 2;
/** The last before those that no user may have: `nobody` and what 16 bits call "none". */
const lastOfSixteenBits = 65_533;

/**
 * Claims users for as many slots, until `closing` or this process ends: commands of one user can read and end
 * each other, and what belongs to a user can be removed only if it is nobody else's. They are those from
 * `first` on; unless `isFixed`, those are left out that have an account or are another worker's. Fails with
 * FAILED_PRECONDITION when another worker has one of them, or too few are free.
 */
export async function claimUsers(
  first: number,
  count: number,
  isFixed: boolean,
  closing: AsyncDisposableStack,
): Promise<ClaimedUser[]> {
  const claimed: ClaimedUser[] = [];
  let accounts = await withAccounts(first, count);
  for (let uid = first, known = first + count; claimed.length < count; uid++) {
    if (!isFixed && uid > lastOfSixteenBits) {
      throw new StatusError(
        Code.FAILED_PRECONDITION,
        `there are no ${count} users for commands from ${first} to ${lastOfSixteenBits} that no account and ` +
          'no other worker has: configure executor.uid',
      );
    }
    if (uid === known) {
      accounts = await withAccounts(uid, count);
      known += count;
    }
    const hasAccount = accounts.has(uid);
    if (hasAccount && !isFixed) continue;
    const claim = await tryClaim(uid);
    if (claim) {
      closing.defer(claim);
      claimed.push({ uid, hasAccount });
    } else if (isFixed) {
      throw new StatusError(
        Code.FAILED_PRECONDITION,
        `commands of another worker on this machine run as user ${uid}: configure another executor.uid`,
      );
    }
  }
  return claimed;
}

/** Gives what ends the claim; undefined when another has it. */
async function tryClaim(uid: number): Promise<(() => void) | undefined> {
  const socket = await tryListen(`\0expbuild-user-${uid}`);
  if (!socket) return undefined;
  const file = path.join(claimsFolder, String(uid));
  if (isHeld(file)) {
    socket.close();
    return undefined;
  }
  hold(file);
  return () => {
    rmSync(file, { force: true });
    socket.close();
  };
}

/** The name of a socket that no file stands for: the kernel gives it to one, and takes it when that ends. */
async function tryListen(name: string): Promise<Server | undefined> {
  const server = createServer((socket) => socket.destroy());
  try {
    await once(server.listen({ path: name }), 'listening');
    return server.unref();
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw thrown;
    return undefined;
  }
}

/** Another process that lives has written itself down: each network namespace has such sockets of its own. */
function isHeld(file: string): boolean {
  if (!existsSync(file)) return false;
  const [id, startTicks] = readFileSync(file, 'utf8').split(' ');
  return Number(id) !== process.pid && startTicksOf(Number(id)) === startTicks;
}

/** Where nothing can be written, the sockets have to do. */
function hold(file: string): void {
  try {
    makeFolder(claimsFolder, 0o755);
    const own = `${file}.${process.pid}`;
    writeFileSync(own, `${process.pid} ${startTicksOf(process.pid)}`);
    renameSync(own, file);
  } catch (thrown) {
    const { code = '' } = thrown as NodeJS.ErrnoException;
    if (!['EACCES', 'EPERM', 'EROFS', 'EEXIST', 'ENOTDIR', 'ENOSPC'].includes(code)) throw thrown;
  }
}

/** The users that are claimed on this machine, as far as it is written down. */
export function claimedUsers(): number[] {
  try {
    return readdirSync(claimsFolder)
      .filter((name) => /^\d+$/.test(name))
      .map(Number);
  } catch {
    return [];
  }
}

/** Those of as many users from `first` on that this machine has an account for. */
function withAccounts(first: number, count: number): Promise<Set<number>> {
  const ids = Array.from({ length: count }, (_, index) => String(first + index));
  const { promise, resolve, reject } = Promise.withResolvers<Set<number>>();
  execFile('getent', ['passwd', ...ids], { env: { PATH: defaultPath } }, (error, stdout) => {
    // A user that is taken for nobody's loses all it has.
    if (error && error.code !== someUnknown) {
      const message = `cannot tell which users have accounts: getent: ${error.message}`;
      reject(new StatusError(Code.FAILED_PRECONDITION, message, { cause: error }));
      return;
    }
    const lines = stdout.split('\n').filter(Boolean);
    const named = lines.map((line) => line.split(':')[2] ?? '');
    // Those that systemd gave to services for as long as they run.
    const dynamic = ids.filter((id) => existsSync(`/run/systemd/dynamic-uid/${id}`));
    resolve(new Set([...named, ...dynamic].map(Number)));
  });
  return promise;
}
