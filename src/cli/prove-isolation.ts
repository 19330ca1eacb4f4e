import { rmSync } from 'node:fs';
import path from 'node:path';
import { Code, StatusError } from '../base/status.ts';
import type { WorkerConfig } from '../config/worker-config.ts';
import type { Executor } from '../executor/executor.ts';
import { type Promised, provePromises } from '../executor/promises.ts';
import type { Proof } from '../worker/self-tests.ts';
import { actionsFolder } from './actions-folder.ts';

const never = new AbortController().signal;

/** A proof that an executor keeps its promises. Fails with FAILED_PRECONDITION and `help` for who runs the worker. */
export function proofOf(
  name: string,
  promises: readonly Promised[],
  help: string,
  {
    network = false,
    outside,
  }: { readonly network?: boolean; readonly outside?: string | undefined } = {},
): Proof {
  return async (executor, folder, signal) => {
    try {
      await provePromises(promises, executor, { folder, network, outside }, signal);
    } catch (thrown) {
      const { message } = StatusError.from(thrown);
      throw new StatusError(
        Code.FAILED_PRECONDITION,
        `the executor "${name}" cannot be used: ${message}. ${help}`,
        { cause: thrown },
      );
    }
  };
}

/** For the first time, before anything else runs. */
export async function prove(
  executor: Executor,
  proofs: readonly Proof[],
  { rootPath }: Pick<WorkerConfig, 'rootPath'>,
): Promise<void> {
  // Where commands work, which is all that those on the host can write to.
  const folder = path.join(actionsFolder(rootPath), 'self-test');
  for (const proof of proofs) {
    rmSync(folder, { recursive: true, force: true });
    try {
      await proof(executor, folder, never);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
}
