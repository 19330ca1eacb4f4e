import type {
  DeepPartial,
  GetActionResultRequest,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { ActionResult } from '../proto/whole/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Api } from './api.ts';
import type { Blob } from './random-blobs.ts';
import { rpcs } from './rpcs.ts';

type Hints = DeepPartial<GetActionResultRequest>;

/** The result that is stored under an action's digest. */
export function findResult(api: Api, { digest }: Blob, hints: Hints = {}) {
  return api.one(rpcs.getActionResult, { actionDigest: digest.toMessage(), ...hints });
}

/** The same as the server sends it, with fields that are unknown here. */
export async function findBytes(
  api: Api,
  { digest }: Blob,
  hints: Hints = {},
): Promise<Uint8Array> {
  const request = { actionDigest: digest.toMessage(), ...hints };
  const bytes = api.encoded(rpcs.getActionResult, request);
  const [answer = new Uint8Array()] = await api.raw(rpcs.getActionResult.path, bytes);
  return answer;
}

/** Stores a result under an action's digest. */
export function updateResult(
  api: Api,
  { digest }: Blob,
  actionResult: DeepPartial<ActionResult>,
  more: { readonly resultsCachePolicy?: { readonly priority: number } } = {},
) {
  const actionDigest = digest.toMessage();
  return api.one(rpcs.updateActionResult, { actionDigest, actionResult, ...more });
}
