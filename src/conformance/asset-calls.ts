import { Code, StatusError } from '../base/status.ts';
import type { Digest } from '../digest/digest.ts';
import type {
  FetchBlobRequest,
  PushBlobRequest,
} from '../proto/build/bazel/remote/asset/v1/remote_asset.ts';
import type { DeepPartial } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Api } from './api.ts';
import { expectSame, Failure, nameOfCode, NotApplicable, textOf } from './expect.ts';
import { rpcs } from './rpcs.ts';

export type AssetKind = 'blob' | 'directory';

/** What a client does that pushes something. */
export interface Push extends DeepPartial<
  Omit<PushBlobRequest, 'blobDigest' | 'uris' | 'digestFunction'>
> {
  readonly kind?: AssetKind;
  readonly uris: readonly string[];
  readonly digest?: Digest | undefined;
  readonly digestFunction?: number;
}

/** A name that nobody can fetch anything from, and nobody else has (AST-34). */
export function urn(api: Api): string {
  return `urn:expbuild:conformance:${api.random.uuid()}`;
}

/** One that no server has a meaning for. */
export function anyQualifier(name: string): { readonly name: string; readonly value: string } {
  return { name: `expbuild.conformance.${name}`, value: 'one' };
}

/** Ties names to what is in the CAS. A server that does not let us, or has no such service, is not asked. */
export async function push(
  api: Api,
  { kind = 'blob', digest, uris, ...rest }: Push,
): Promise<void> {
  const named = digest?.toMessage();
  const request = { ...rest, uris: [...uris] };
  try {
    if (kind === 'blob') await api.one(rpcs.pushBlob, { ...request, blobDigest: named });
    else await api.one(rpcs.pushDirectory, { ...request, rootDirectoryDigest: named });
  } catch (thrown) {
    throw notOffered(thrown) ?? thrown;
  }
}

/** Why a service is of no use here, if an error says so. */
function notOffered(thrown: unknown): NotApplicable | undefined {
  const codes: readonly Code[] = [Code.UNIMPLEMENTED, Code.PERMISSION_DENIED, Code.UNAUTHENTICATED];
  if (!(thrown instanceof StatusError) || !codes.includes(thrown.code)) return undefined;
  return new NotApplicable(`it is not offered: ${nameOfCode(thrown.code)}`);
}

type Fetch = DeepPartial<Omit<FetchBlobRequest, 'uris'>> & { readonly uris: readonly string[] };

/** What came of a fetch: `digest` is undefined only where the server set none at all. */
export interface Fetched {
  readonly code: number;
  readonly message: string;
  readonly uri: string;
  readonly digestFunction: number;
  readonly digest: string | undefined;
}

/** NOT_FOUND as the status of the call is taken for one in the response: clients take both (AST-32). */
export async function fetch(
  api: Api,
  { uris, ...rest }: Fetch,
  kind: AssetKind = 'blob',
): Promise<Fetched> {
  const request = { ...rest, uris: [...uris] };
  try {
    const { digest, ...answer } = await (kind === 'blob'
      ? api
          .one(rpcs.fetchBlob, request)
          .then(({ blobDigest, ...others }) => ({ ...others, digest: blobDigest }))
      : api.one(rpcs.fetchDirectory, request).then(({ rootDirectoryDigest, ...others }) => ({
          ...others,
          digest: rootDirectoryDigest,
        })));
    const { status, uri, digestFunction } = answer;
    const { code = 0, message = '' } = status ?? {};
    const found = digest && `${digest.hash}/${digest.sizeBytes}`;
    return { code, message, uri, digestFunction, digest: found };
  } catch (thrown) {
    if (!(thrown instanceof StatusError) || thrown.code !== Code.NOT_FOUND) {
      throw notOffered(thrown) ?? thrown;
    }
    const { code, message } = thrown;
    return { code, message, uri: '', digestFunction: 0, digest: undefined };
  }
}

/** That this is found under the names. */
export async function expectFound(
  api: Api,
  digest: Digest,
  request: Fetch,
  kind: AssetKind = 'blob',
): Promise<Fetched> {
  const fetched = await fetch(api, request, kind);
  if (fetched.code !== Code.OK) {
    throw new Failure(
      `a fetch that finds what was pushed under ${request.uris.join()}`,
      textOf(fetched),
    );
  }
  expectSame(fetched.digest, `${digest.hash}/${digest.sizeBytes}`, 'the digest that is fetched');
  return fetched;
}

/** That nothing is found, and no digest is told (AST-10). */
export async function expectNothing(
  api: Api,
  request: Fetch,
  why: string,
  kind: AssetKind = 'blob',
): Promise<void> {
  const { code, message, digest } = await fetch(api, request, kind);
  if (code === Code.NOT_FOUND && digest === undefined) return;
  const seen = digest === undefined ? textOf({ code, message }) : `the digest ${digest}`;
  throw new Failure(`NOT_FOUND and no digest for ${why}`, seen);
}
