import { collect } from '../base/chunks.ts';
import { holdMemory } from '../base/memory.ts';
import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import { Digest } from '../digest/digest.ts';
import { Action, Command } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { type Decodable, decodeWeighed } from './decode-message.ts';

/** An Action and the digests it names, which are of its own digest function (DIG-12). */
export interface FoundAction {
  readonly action: Action;
  readonly command: Digest;
  readonly inputRoot: Digest;
}

/**
 * The Action stored under `digest`; undefined when it is not stored. Fails with INVALID_ARGUMENT when it
 * is larger than `sizeBytesMax`, is no Action, or lacks one of its digests (EXE-05, DIG-19).
 */
export async function findAction(
  digest: Digest,
  blobs: BlobStore,
  sizeBytesMax: number,
  signal: AbortSignal,
): Promise<FoundAction | undefined> {
  const action = await findMessage(Action, 'action', digest, blobs, sizeBytesMax, signal);
  return (
    action && {
      action,
      command: Digest.fromMessage(digest.function, action.commandDigest, 'Action.command_digest'),
      inputRoot: Digest.fromMessage(
        digest.function,
        action.inputRootDigest,
        'Action.input_root_digest',
      ),
    }
  );
}

/** The Command stored under `digest`; else as for an Action. */
export async function findCommand(
  digest: Digest,
  blobs: BlobStore,
  sizeBytesMax: number,
  signal: AbortSignal,
): Promise<Command | undefined> {
  return findMessage(Command, 'command', digest, blobs, sizeBytesMax, signal);
}

async function findMessage<T>(
  type: Decodable<T>,
  kind: string,
  digest: Digest,
  blobs: BlobStore,
  sizeBytesMax: number,
  signal: AbortSignal,
): Promise<T | undefined> {
  if (digest.sizeBytes > sizeBytesMax) {
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `${kind} ${digest} is larger than ${sizeBytesMax} bytes, the limit here`,
    );
  }
  try {
    holdMemory(digest.sizeBytes);
    const bytes = await collect(blobs.read(digest, 0, signal));
    const { message, memoryBytes } = decodeWeighed(type, bytes, `${kind} ${digest}`);
    holdMemory(memoryBytes);
    return message;
  } catch (error) {
    if (error instanceof StatusError && error.code === Code.NOT_FOUND) return undefined;
    throw error;
  }
}
