import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '../base/clock.ts';
import { Code } from '../base/status.ts';
import type { RoomShare } from './download-room.ts';
import { OriginFailure, shown } from './origin-failure.ts';
import { type GitOutcome, type GitRepository, runGit } from './run-git.ts';

/** What is wanted of a repository; without commit and branch, what its HEAD is. */
export interface GitReference {
  readonly commit: string | undefined;
  readonly branch: string | undefined;
  /** Below the root of the repository; empty for all of it. */
  readonly directory: string;
}

export interface FetchCommitOptions {
  /** Bytes that may come. */
  readonly sizeBytesMax: number;
  readonly share: RoomShare;
  readonly clock: Clock;
}

/**
 * Brings the commit to the repository, and gives its hash. A commit that is asked for with a branch must
 * be on it (AST-07). Fails with an OriginFailure.
 */
export async function fetchCommit(
  repository: GitRepository,
  url: URL,
  { commit, branch }: GitReference,
  options: FetchCommitOptions,
  signal: AbortSignal,
): Promise<string> {
  const fetch = (...args: string[]) => fetchLimited(repository, args, options, signal);
  const name = branch === undefined ? 'HEAD' : `refs/heads/${branch}`;
  if (commit === undefined) {
    const fetched = await fetch('--depth=1', 'origin', name);
    if (fetched.exitCode !== 0) throw failureOf(url, fetched);
    const args = ['rev-parse', '--verify', 'FETCH_HEAD^{commit}'];
    const { exitCode, stdout } = await runGit(repository, args, signal);
    if (exitCode === 0) return stdout.trim();
    throw new OriginFailure(Code.ABORTED, `${name} of ${shown(url)} is no commit`);
  }
  if (branch === undefined) {
    const fetched = await fetch('--depth=1', 'origin', commit);
    if (fetched.exitCode === 0) return commit;
    // Not every server gives commits that no branch ends with by their hash.
    const whole = await fetch('origin', '+refs/heads/*:refs/heads/*');
    if (whole.exitCode !== 0) throw failureOf(url, whole);
    const looked = await runGit(repository, ['cat-file', '-e', `${commit}^{commit}`], signal);
    if (looked.exitCode === 0) return commit;
    throw new OriginFailure(Code.NOT_FOUND, `${shown(url)} has no commit ${commit}`);
  }
  const fetched = await fetch('origin', name);
  if (fetched.exitCode !== 0) throw failureOf(url, fetched);
  const isOnBranch = ['merge-base', '--is-ancestor', commit, 'FETCH_HEAD'];
  if ((await runGit(repository, isOnBranch, signal)).exitCode === 0) return commit;
  const what = `commit ${commit} is not on branch ${branch} of ${shown(url)}`;
  throw new OriginFailure(Code.ABORTED, what);
}

/** Git itself knows no limit for what it fetches, so its files are looked at. */
const lookEveryMs = 500;

async function fetchLimited(
  repository: GitRepository,
  args: readonly string[],
  { sizeBytesMax, share, clock }: FetchCommitOptions,
  signal: AbortSignal,
): Promise<GitOutcome> {
  const tooLarge = new AbortController();
  const done = new AbortController();
  const either = AbortSignal.any([signal, tooLarge.signal]);
  const watch = async () => {
    for (;;) {
      await clock.sleep(lookEveryMs, done.signal);
      await look().catch((thrown: unknown) => tooLarge.abort(thrown));
    }
  };
  const look = async () => {
    const bytes = await fetchedBytes(repository);
    if (bytes > sizeBytesMax) throw largeFailure(sizeBytesMax);
    share.growTo(bytes);
  };
  watch().catch(() => {});
  try {
    const flags = ['fetch', '--quiet', '--no-tags', '--no-recurse-submodules'];
    const outcome = await runGit(repository, [...flags, ...args], either);
    await look();
    return outcome;
  } finally {
    done.abort();
  }
}

/** Packs, and what servers that know no packs send one by one. */
async function fetchedBytes({ folder }: GitRepository): Promise<number> {
  const objects = path.join(folder, 'objects');
  const entries = await readdir(objects, { recursive: true, withFileTypes: true }).catch(() => []);
  let bytes = 0;
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    // There may be thousands, which are not to be looked at together.
    const stats = await stat(path.join(entry.parentPath, entry.name)).catch(() => undefined);
    bytes += stats?.size ?? 0;
  }
  return bytes;
}

function largeFailure(sizeBytesMax: number): OriginFailure {
  return new OriginFailure(
    Code.RESOURCE_EXHAUSTED,
    `the repository has more than ${sizeBytesMax} bytes, the limit of this server (remote_asset.max_fetch_size)`,
  );
}

const kinds: readonly (readonly [RegExp, Code, string])[] = [
  [/couldn't find remote ref|not our ref/i, Code.NOT_FOUND, 'has no such branch or commit'],
  [/not found|error: 404|error: 410/i, Code.NOT_FOUND, 'is not there, or is no git repository'],
  [
    /authentication failed|could not read (?:username|password)|error: 40[13]/i,
    Code.PERMISSION_DENIED,
    'is not for whoever asked: its server wants other credentials',
  ],
  [/redirect|error: 30\d/i, Code.ABORTED, 'redirects: give the address that it leads to'],
  [/not valid: is this a git repository/i, Code.NOT_FOUND, 'is no git repository'],
];

/** Not in git's own words: they may have the whole address in them. */
function failureOf(url: URL, { stderr }: GitOutcome): OriginFailure {
  const [, code, what] = kinds.find(([pattern]) => pattern.test(stderr)) ?? [
    undefined,
    Code.UNAVAILABLE,
    'cannot be fetched by git',
  ];
  return new OriginFailure(code, `${shown(url)} ${what}`);
}
