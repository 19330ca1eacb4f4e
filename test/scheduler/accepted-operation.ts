import type { OperationState } from '../../src/scheduler/operations.ts';

/** An operation, as those know it who asked for it. */
export interface Accepted {
  readonly name: string;
  isWatched: boolean;
  /** Its client has lost interest; a crash may undo that. */
  isDeleted: boolean;
  /** How it ended, once anybody was told so. */
  told: OperationState | undefined;
  toldAt: number;
}

export const justAccepted = { isWatched: false, isDeleted: false, told: undefined, toldAt: 0 };
