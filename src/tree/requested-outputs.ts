import { quoted } from '../base/quoted.ts';
import { Code, StatusError } from '../base/status.ts';
import type { Command } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { compareNames } from './name-order.ts';
import { type NodePropertyName, supportedNodeProperties } from './node-properties.ts';
import { resolveInRoot } from './output-path.ts';

/** A path that a command was asked to make. */
export interface RequestedOutput {
  /** As it was asked for, from the working directory (RES-03). */
  readonly path: string;
  /** From the input root, without `.` and `..`; `''` is the root itself. */
  readonly fromRoot: string;
  /** What may be there: `any` in output_paths; in the older fields, what each is for. */
  readonly kind: 'any' | 'file' | 'directory' | 'file-or-directory';
}

/**
 * The outputs of a command, each path once, sorted: output_paths if there are any, else the two older
 * fields (ACT-14, ACT-15, ACT-18). Fails with INVALID_ARGUMENT when one leaves the input root (ACT-17).
 */
export function requestedOutputs(command: Command): RequestedOutput[] {
  const kinds = new Map<string, RequestedOutput['kind']>();
  for (const path of command.outputPaths) kinds.set(path, 'any');
  if (kinds.size === 0) {
    for (const path of command.outputFiles) kinds.set(path, 'file');
    for (const path of command.outputDirectories) {
      // ACT-19: Buck2 names the same path in both.
      kinds.set(path, kinds.has(path) ? 'file-or-directory' : 'directory');
    }
  }
  const sorted = [...kinds].toSorted(([a], [b]) => compareNames(a, b));
  return sorted.map(([path, kind]) => {
    const fromRoot = resolveInRoot(command.workingDirectory, path);
    if (fromRoot !== undefined) return { path, fromRoot, kind };
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `output path ${quoted(path)} is not below the input root`,
    );
  });
}

/** The properties to return on outputs; INVALID_ARGUMENT for one that is not known here (ACT-25). */
export function requestedProperties(command: Command): ReadonlySet<NodePropertyName> {
  const known: readonly string[] = supportedNodeProperties;
  const unknown = command.outputNodeProperties.find((name) => !known.includes(name));
  if (unknown === undefined) {
    return new Set(command.outputNodeProperties as readonly NodePropertyName[]);
  }
  throw new StatusError(
    Code.INVALID_ARGUMENT,
    `output_node_properties names ${quoted(unknown)}; supported: ${known.join(', ')}`,
  );
}
