import { Code, StatusError } from '../base/status.ts';
import { sha256 } from '../digest/digest-functions.ts';
import { Directory } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Api } from './api.ts';
import {
  anyQualifier,
  expectFound,
  expectNothing,
  fetch,
  type Push,
  push,
  urn,
} from './asset-calls.ts';
import { expectRefusal, expectSame, expectThat, NotApplicable } from './expect.ts';
import { aCache } from './needs.ts';
import type { Area } from './probe.ts';
import type { Blob } from './random-blobs.ts';
import { rpcs } from './rpcs.ts';

/** Moments that are long gone and far away, whatever the clocks say; in seconds since 1970. */
const [YEAR_2000, YEAR_2100] = [946_684_800, 4_102_444_800];

const [a, b, c] = [anyQualifier('a'), anyQualifier('b'), anyQualifier('c')];

/** What is pushed has random names, and stays in nobody's way. */
export const pushProbes: Area = {
  name: 'push',
  needs: [aCache],
  prepare: async (api) => {
    await pushed(api, [urn(api)]);
    await fetch(api, { uris: [urn(api)] });
  },
  probes: [
    {
      ids: ['AST-01', 'AST-25'],
      title: 'a push without a URI or without a digest is refused',
      run: async (api) => {
        const blob = api.blob();
        await api.put(blob);
        const blobDigest = blob.digest.toMessage();
        const empty = new Uint8Array();
        for (const [ask, what] of [
          [() => api.raw(rpcs.pushBlob.path, empty), 'an empty PushBlob'],
          [() => api.raw(rpcs.pushDirectory.path, empty), 'an empty PushDirectory'],
          [() => api.one(rpcs.pushBlob, { blobDigest }), 'a PushBlob without a URI'],
          [() => api.one(rpcs.pushBlob, { uris: [urn(api)] }), 'a PushBlob without a digest'],
        ] as const) {
          await expectRefusal(ask(), Code.INVALID_ARGUMENT, what);
        }
      },
    },
    {
      ids: ['AST-25'],
      title: 'a push of a blob that is not there is refused, and finds nothing',
      run: async (api) => {
        const uris = [urn(api)];
        const blobDigest = api.blob().digest.toMessage();
        const codes = [Code.FAILED_PRECONDITION, Code.NOT_FOUND, Code.INVALID_ARGUMENT];
        const call = api.one(rpcs.pushBlob, { uris, blobDigest });
        await expectRefusal(call, codes, 'a blob that nobody uploaded');
        await expectNothing(api, { uris }, 'what was refused');
      },
    },
    {
      ids: ['AST-02', 'AST-09', 'AST-26', 'AST-34'],
      title: 'a blob is found under each name that it was pushed with, and can be read',
      run: async (api) => {
        const uris = [urn(api), urn(api), urn(api)];
        const { digest } = await pushed(api, uris);
        for (const uri of uris) {
          const { uri: used } = await expectFound(api, digest, { uris: [urn(api), uri] });
          expectSame(used, uri, 'the URI that was used');
        }
        expectSame(await api.missing(digest), [], 'the blobs missing after a fetch');
      },
    },
    {
      ids: ['AST-26', 'AST-33'],
      title: 'blobs and directories have names of their own',
      run: async (api) => {
        const bytes = Directory.encode(Directory.fromPartial({ symlinks: [symlinkOf(api)] }));
        const directory = api.blobOf(bytes.finish());
        await api.put(directory);
        const [ofBlob, ofDirectory] = [[urn(api)], [urn(api)]];
        const { digest } = directory;
        await push(api, { uris: ofBlob, digest });
        await push(api, { kind: 'directory', uris: ofDirectory, digest });
        await expectFound(api, digest, { uris: ofDirectory }, 'directory');
        await expectNothing(api, { uris: ofBlob }, 'FetchDirectory of a blob', 'directory');
        await expectNothing(api, { uris: ofDirectory }, 'FetchBlob of a directory');
      },
    },
    {
      ids: ['AST-04', 'AST-27'],
      title: 'qualifiers count in any order, and one that was not pushed finds nothing',
      run: async (api) => {
        const uris = [urn(api)];
        const { digest } = await pushed(api, uris, { qualifiers: [a, b] }).catch(
          (thrown: unknown) => {
            if (StatusError.from(thrown).code !== Code.INVALID_ARGUMENT) throw thrown;
            throw new NotApplicable('nothing can be pushed with such qualifiers');
          },
        );
        await expectFound(api, digest, { uris, qualifiers: [a, b] });
        await expectFound(api, digest, { uris, qualifiers: [b, a] });
        await expectNothing(api, { uris, qualifiers: [a, c] }, 'another qualifier');
        const other = [a, { ...b, value: 'two' }];
        await expectNothing(api, { uris, qualifiers: other }, 'another value of a qualifier');
      },
    },
    {
      ids: ['AST-12'],
      title: 'nothing is found that is older than the client wants it',
      run: async (api) => {
        const uris = [urn(api)];
        const { digest } = await pushed(api, uris);
        const since = (seconds: number) => ({ uris, oldestContentAccepted: { seconds } });
        await expectFound(api, digest, since(YEAR_2000));
        await expectNothing(api, since(YEAR_2100), 'content of after the year 2100');
      },
    },
    {
      ids: ['AST-28'],
      title: 'what has expired is not found, until it is pushed again',
      run: async (api) => {
        const uris = [urn(api)];
        const blob = await pushed(api, uris, { expireAt: { seconds: YEAR_2000 } });
        await expectNothing(api, { uris }, 'what expired in the year 2000');
        await push(api, { uris, digest: blob.digest, expireAt: { seconds: YEAR_2100 } });
        await expectFound(api, blob.digest, { uris });
      },
    },
    {
      ids: ['AST-11'],
      title: 'the digest function of a fetch is told, where it is not SHA256',
      run: async (api) => {
        const uris = [urn(api)];
        const { digest } = await pushed(api, uris);
        const { digestFunction } = await expectFound(api, digest, { uris });
        const { function: wanted } = digest;
        const isSame = digestFunction === wanted.value || (wanted === sha256 && !digestFunction);
        expectThat(isSame, `the digest function ${wanted.name}`, digestFunction);
      },
    },
    {
      ids: ['AST-31'],
      title: 'a push need not name a digest function that is known by its length',
      needs: [
        ({ digestFunctions }) =>
          digestFunctions.includes(sha256) ? undefined : 'SHA256 is not announced',
      ],
      run: async (api) => {
        const uris = [urn(api)];
        const blob = api.blob(1000, sha256);
        await api.put(blob);
        await push(api, { uris, digest: blob.digest, digestFunction: 0 });
        await expectFound(api, blob.digest, { uris, digestFunction: sha256.value });
      },
    },
  ],
};

/** A blob that was uploaded, and pushed under these names. */
async function pushed(
  api: Api,
  uris: readonly string[],
  more: Omit<Push, 'uris' | 'digest'> = {},
): Promise<Blob> {
  const blob = api.blob();
  await api.put(blob);
  await push(api, { ...more, uris, digest: blob.digest });
  return blob;
}

/** All that a directory needs to be like no other. */
function symlinkOf(api: Api): { name: string; target: string } {
  return { name: 'link', target: api.random.uuid() };
}
