import type { Executor } from '../executor/executor.ts';
import type { IsolationLevel } from '../executor/isolation-levels.ts';
import type { Proof } from '../worker/self-tests.ts';

export interface StartedExecutors {
  /** One for each slot. */
  readonly executors: readonly Executor[];
  /** What commands are kept from, in one line, as far as a first command proved it. */
  readonly isolation: string;
  /** What the first command proved, for it to be proved again. */
  readonly proofs: readonly Proof[];
}

export interface LevelledExecutors extends StartedExecutors {
  /** What all of that amounts to. */
  readonly level: IsolationLevel;
}
