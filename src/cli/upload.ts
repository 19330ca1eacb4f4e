import type { Argv } from 'yargs';
import { printable } from '../base/printable.ts';
import { hashPath, type LocalPath } from '../client/hash-path.ts';
import { uploadMissing } from '../tree/upload-files.ts';
import type { Program } from './command.ts';
import { ExitCode } from './exit-codes.ts';
import { counted, formatSize, Progress } from './progress.ts';
import { type UploadFlags, uploadFlags, openSession, settingsOf } from './session.ts';

export interface UploadOptions extends UploadFlags {
  readonly files: readonly string[];
  readonly json: boolean;
}

export const uploadCommand = {
  command: 'upload <files..>',
  describe: 'Upload files and directories, and print their digests',
  flags: (yargs: Argv) =>
    uploadFlags(yargs)
      .positional('files', {
        type: 'string',
        array: true,
        demandOption: true,
        describe: 'Files and directories',
      })
      .option('json', { type: 'boolean', default: false, describe: 'Print one JSON object' })
      .example('$0 upload report.txt src/', 'A file, and a directory as its Directory message'),
};

/** Sends only what the server lacks. */
export async function upload(program: Program, options: UploadOptions): Promise<number> {
  const { terminal, clock, leaving } = program;
  using session = await openSession(program, settingsOf(program, options), { execution: false });
  const { remote, digestFunction } = session;
  const paths: LocalPath[] = [];
  for (const file of options.files) {
    terminal.progress(`hashing ${printable(file)}`);
    paths.push(await hashPath(file, digestFunction, leaving));
  }
  const progress = new Progress('uploading', terminal, clock);
  const sources = paths.flatMap((path) => path.sources);
  const total = await uploadMissing(remote.blobs, sources, leaving, (state) =>
    progress.show({
      done: state.sentBlobs,
      all: state.blobs,
      doneBytes: state.sentBytes,
      allBytes: state.bytes,
    }),
  ).finally(() => progress.end());
  if (options.json) {
    const uploaded = paths.map(({ path, kind, digest }) => ({ path, kind, digest: `${digest}` }));
    terminal.out(JSON.stringify({ uploaded, ...total }));
    return ExitCode.OK;
  }
  for (const { digest, path } of paths) terminal.out(`${digest}  ${path}`);
  terminal.note(
    `${counted(total.blobs, 'blob')} of ${formatSize(total.bytes)}; sent ` +
      `${total.sentBlobs} of ${formatSize(total.sentBytes)}, the server had the rest`,
  );
  return ExitCode.OK;
}
