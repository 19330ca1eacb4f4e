import type { DigestFunction } from '../../src/digest/digest-function.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import type { Digest } from '../../src/digest/digest.ts';
import {
  Action,
  Command,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { dir, putTree, type TreeEntry } from './input-tree.ts';
import type { PlainBlobStore } from './memory-blob-store.ts';

export interface ActionParts {
  readonly command?: Partial<Command>;
  readonly inputs?: ReadonlyMap<string, TreeEntry>;
  readonly digestFunction?: DigestFunction;
}

/** Stores an action that runs `script` in a shell, and all it needs; its digest. */
export async function putAction(
  store: PlainBlobStore,
  script: string,
  { command = {}, inputs = dir({}), digestFunction = sha256 }: ActionParts = {},
): Promise<Digest> {
  const message = Command.fromPartial({ arguments: ['sh', '-c', script], ...command });
  const commandDigest = await store.put(Command.encode(message).finish(), digestFunction);
  const inputRootDigest = await putTree(store, inputs, digestFunction);
  const action = Action.fromPartial({
    commandDigest: commandDigest.toMessage(),
    inputRootDigest: inputRootDigest.toMessage(),
  });
  return store.put(Action.encode(action).finish(), digestFunction);
}
