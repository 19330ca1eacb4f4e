import type {
  ActionResult,
  Digest,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { printable } from '../base/printable.ts';

/** An action result for scripts: digests as `hash/size`, moments in ISO 8601. */
export function describeResult(result: ActionResult) {
  const { executionMetadata: metadata } = result;
  return {
    exitCode: result.exitCode,
    stdoutDigest: text(result.stdoutDigest),
    stderrDigest: text(result.stderrDigest),
    outputFiles: result.outputFiles.map(({ path, digest, isExecutable }) => ({
      path,
      digest: text(digest),
      isExecutable,
    })),
    outputDirectories: result.outputDirectories.map((directory) => ({
      path: directory.path,
      treeDigest: text(directory.treeDigest),
      rootDirectoryDigest: text(directory.rootDirectoryDigest),
    })),
    outputSymlinks: symlinksOf(result),
    worker: metadata?.worker,
    queuedAt: moment(metadata?.queuedTimestamp),
    workerStartedAt: moment(metadata?.workerStartTimestamp),
    executionStartedAt: moment(metadata?.executionStartTimestamp),
    executionCompletedAt: moment(metadata?.executionCompletedTimestamp),
    workerCompletedAt: moment(metadata?.workerCompletedTimestamp),
  };
}

/** The same for people. */
export function resultLines(result: ActionResult): string[] {
  const shown = describeResult(result);
  const lines = [
    ['exit code', String(shown.exitCode)],
    ['worker', shown.worker ?? ''],
    ['executed', `${shown.executionStartedAt ?? '?'} to ${shown.executionCompletedAt ?? '?'}`],
    ['stdout', shown.stdoutDigest ?? 'none'],
    ['stderr', shown.stderrDigest ?? 'none'],
    ...shown.outputFiles.map((file) => [
      file.isExecutable ? 'executable' : 'file',
      `${file.digest}  ${file.path}`,
    ]),
    ...shown.outputDirectories.map((directory) => [
      'directory',
      `${directory.treeDigest ?? directory.rootDirectoryDigest}  ${directory.path}`,
    ]),
    ...shown.outputSymlinks.map(({ path, target }) => ['symlink', `${path} -> ${target}`]),
  ];
  return lines.map(([name = '', value = '']) => `${name.padEnd(12)}${printable(value)}`);
}

/** Servers tell one link in up to two lists. */
function symlinksOf(result: ActionResult) {
  const targets = new Map<string, string>();
  const { outputSymlinks, outputFileSymlinks, outputDirectorySymlinks } = result;
  for (const list of [outputFileSymlinks, outputDirectorySymlinks, outputSymlinks]) {
    for (const { path, target } of list) targets.set(path, target);
  }
  return [...targets].map(([path, target]) => ({ path, target }));
}

const text = (digest: Digest | undefined) => digest && `${digest.hash}/${digest.sizeBytes}`;

const moment = (timestamp: { seconds: number; nanos: number } | undefined) =>
  timestamp && new Date(timestamp.seconds * 1000 + timestamp.nanos / 1e6).toISOString();
