import { Code } from '../base/status.ts';
import type { RoomShare } from './download-room.ts';
import { OriginFailure } from './origin-failure.ts';
import { type GitRepository, runGit } from './run-git.ts';

/** A large checkout has some 100,000 files. */
const filesMax = 1_000_000;

/** What git says of one file: some 100 characters, and its path, of which Linux takes 4,095 bytes. */
const entryCharactersMax = 4_400;

/**
 * Writes the files of a tree, such as `COMMIT:PATH`, to the work tree, once their number and size are known to be
 * within bounds: a few objects can stand for terabytes, and one for a name of a gigabyte (AST-23). Fails with an
 * OriginFailure.
 */
export async function checkOut(
  repository: GitRepository,
  tree: string,
  { sizeBytesMax, share }: { readonly sizeBytesMax: number; readonly share: RoomShare },
  signal: AbortSignal,
): Promise<void> {
  const parsed = await runGit(repository, ['rev-parse', '--verify', tree], signal);
  const hash = parsed.stdout.trim();
  const type =
    parsed.exitCode === 0 && (await runGit(repository, ['cat-file', '-t', hash], signal));
  if (type === false || type.stdout.trim() !== 'tree') {
    throw new OriginFailure(Code.NOT_FOUND, 'the commit has no such directory');
  }
  let files = 0;
  let bytes = 0;
  let rest = '';
  const count = (chunk: Buffer) => {
    const entries = (rest + chunk.toString('latin1')).split('\0');
    rest = entries.pop() ?? '';
    if (rest.length > entryCharactersMax) {
      throw new OriginFailure(Code.ABORTED, 'it has a path that is longer than any disk takes');
    }
    for (const entry of entries) {
      files++;
      bytes += Number(/^\d+ \w+ \w+ +(\d+)\t/.exec(entry)?.[1] ?? 0);
    }
    if (files > filesMax || bytes > sizeBytesMax) {
      throw new OriginFailure(
        Code.RESOURCE_EXHAUSTED,
        `it has more than ${filesMax} files or ${sizeBytesMax} bytes, the limits of this server`,
      );
    }
  };
  const steps: readonly (readonly [readonly string[], typeof count | undefined])[] = [
    [['ls-tree', '-r', '-t', '-l', '-z', hash], count],
    [['read-tree', hash], undefined],
    [['checkout-index', '--all', '--force', '--quiet'], undefined],
  ];
  for (const [args, onOutput] of steps) {
    const { exitCode, stderr } = await runGit(repository, args, signal, onOutput);
    if (exitCode === 0) {
      if (onOutput) share.growTo(share.bytes + bytes);
      continue;
    }
    // A name that no disk takes, an object that is damaged: the origin's doing.
    const what = stderr.replaceAll(repository.workTree, '').slice(0, 300);
    throw new OriginFailure(Code.ABORTED, `git cannot check it out: ${what}`);
  }
}
