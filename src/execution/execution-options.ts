import type { AbsoluteSymlinks } from '../action-cache/absolute-symlinks.ts';
import { defaultTreeLimits, type TreeLimits } from '../tree/walk-directories.ts';

/** What an action may ask for. */
export interface ExecutionOptions {
  /** For an action that names none (EXE-18). */
  readonly defaultTimeoutMs: number;
  /** A longer one is refused (EXE-17). */
  readonly maxTimeoutMs: number;
  /** Of inputs and of outputs (DIR-14, RES-21). */
  readonly absoluteSymlinks: AbsoluteSymlinks;
  readonly treeLimits: TreeLimits;
  /** An Action is a few digests, a salt and platform properties. */
  readonly actionSizeBytesMax: number;
  /** Arguments and environment; a kernel takes a few MiB of them, the API any number (ACT-28). */
  readonly commandSizeBytesMax: number;
  /** Actions that are looked at together: each holds its input tree in memory meanwhile. */
  readonly preparationsMax: number;
  /** Memory for directories of input trees that were read before. */
  readonly directoryCacheSizeBytes: number;
  /**
   * For so long, inputs that were all there are taken to be there still. They count as used then, so
   * only a store that turns over within this time could have lost them, and the worker would tell.
   */
  readonly inputsTrustedMs: number;
}

export const defaultExecutionOptions: ExecutionOptions = {
  // Longer than all but a few compile steps and tests; those that need more say so.
  defaultTimeoutMs: 15 * 60_000,
  maxTimeoutMs: 24 * 3_600_000,
  absoluteSymlinks: 'allowed',
  treeLimits: defaultTreeLimits,
  actionSizeBytesMax: 4 * 1024 * 1024,
  commandSizeBytesMax: 32 * 1024 * 1024,
  // One thread does the work: more at once only wait for one another, with their memory.
  preparationsMax: 16,
  directoryCacheSizeBytes: 128 * 1024 * 1024,
  // Asking the store for 10 000 inputs was measured at 90 ms; a build asks for mostly the same ones with
  // each of its actions.
  inputsTrustedMs: 30_000,
};
