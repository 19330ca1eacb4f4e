import path from 'node:path';
import type { Argv } from 'yargs';
import { counting } from '../base/chunks.ts';
import { makeFolder } from '../base/make-folder.ts';
import type { Digest } from '../digest/digest.ts';
import { downloadEntries } from '../tree/download-entries.ts';
import { downloadFile } from '../tree/download-file.ts';
import { entriesOfDirectory, entriesOfTree } from '../tree/download-tree.ts';
import type { Program } from './command.ts';
import { parseDigestText } from './digest-text.ts';
import { ExitCode, UsageError } from './exit-codes.ts';
import { counted, formatSize, Progress } from './progress.ts';
import {
  type DownloadFlags,
  downloadFlags,
  openSession,
  settingsOf,
  type Session,
} from './session.ts';

export interface DownloadOptions extends DownloadFlags {
  readonly digest: string;
  readonly output: string | undefined;
  readonly kind: string;
  readonly executable: boolean;
}

export const downloadCommand = {
  command: 'download <digest>',
  describe: 'Download a blob, a directory or a tree',
  flags: (yargs: Argv) =>
    downloadFlags(yargs)
      .positional('digest', {
        type: 'string',
        demandOption: true,
        describe: 'As upload and others print it: HASH/SIZE',
      })
      .option('output', {
        alias: 'o',
        type: 'string',
        describe: 'Where to; without it a blob goes to standard output',
      })
      .option('kind', {
        choices: ['blob', 'directory', 'tree'],
        default: 'blob',
        describe: 'What the digest names: bytes, a Directory message, or a Tree message',
      })
      .option('executable', {
        type: 'boolean',
        default: false,
        describe: 'Make the downloaded blob an executable file',
      })
      .example('$0 download 2cf24d…/5 -o hello.txt', 'One file')
      .example('$0 download 5f70bf…/86 --kind directory -o src', 'A directory'),
};

export async function download(program: Program, options: DownloadOptions): Promise<number> {
  const settings = settingsOf(program, options);
  const digest = parseDigestText(options.digest, settings.digestFunction);
  using session = await openSession(program, settings, { execution: false });
  if (options.kind !== 'blob') await downloadFolder(program, session, digest, options);
  else await downloadBlob(program, session, digest, options);
  return ExitCode.OK;
}

async function downloadBlob(
  { terminal, clock, newId, leaving }: Program,
  { remote }: Session,
  digest: Digest,
  { output, executable }: DownloadOptions,
): Promise<void> {
  const chunks = remote.blobs.read(digest, 0, leaving);
  if (output !== undefined) {
    const target = path.resolve(output);
    makeFolder(path.dirname(target), 0o777);
    const progress = new Progress('downloading', terminal, clock);
    let doneBytes = 0;
    const shown = counting(chunks, (bytes) => {
      doneBytes += bytes;
      progress.show({ done: 0, all: 1, doneBytes, allBytes: digest.sizeBytes });
    });
    await downloadFile(target, shown, executable, newId).finally(() => progress.end());
    terminal.note(`${formatSize(digest.sizeBytes)} to ${output}`);
    return;
  }
  for await (const chunk of chunks) await terminal.write(chunk);
}

async function downloadFolder(
  { terminal, clock, newId, leaving }: Program,
  { remote: { blobs } }: Session,
  digest: Digest,
  { output, kind }: DownloadOptions,
): Promise<void> {
  if (output === undefined) throw new UsageError(`a ${kind} needs a place: add -o FOLDER`);
  const entriesOf = kind === 'tree' ? entriesOfTree : entriesOfDirectory;
  const entries = await entriesOf(digest, '', blobs, leaving);
  const progress = new Progress('downloading', terminal, clock);
  const total = await downloadEntries(output, entries, blobs, newId, leaving, (state) =>
    progress.show({
      done: state.doneFiles,
      all: state.files,
      doneBytes: state.doneBytes,
      allBytes: state.bytes,
    }),
  ).finally(() => progress.end());
  terminal.note(`${counted(total.files, 'file')} of ${formatSize(total.bytes)} to ${output}`);
}
