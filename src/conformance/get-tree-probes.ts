import { Code } from '../base/status.ts';
import {
  Directory,
  type GetTreeResponse,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Api } from './api.ts';
import { expectRefusal, expectSame, expectThat, Failure } from './expect.ts';
import { aCache } from './needs.ts';
import type { Area } from './probe.ts';
import type { Blob } from './random-blobs.ts';
import { rpcs } from './rpcs.ts';

/** Directories above each other, each twice in the one above: 2^30 paths (CAS-48). */
const DIAMONDS = 30;

export const getTreeProbes: Area = {
  name: 'get-tree',
  needs: [aCache],
  probes: [
    {
      ids: ['CAS-40'],
      title: 'GetTree gives every directory of a tree, the root included',
      run: async (api) => {
        const tree = await putTree(api);
        expectHashes(api, await getTree(api, tree.root), tree.all);
      },
    },
    {
      ids: ['CAS-41'],
      title: 'a root that is absent is NOT_FOUND',
      run: async (api) => {
        await expectRefusal(getTree(api, api.blob()), Code.NOT_FOUND, 'an unknown root');
      },
    },
    {
      ids: ['CAS-42'],
      title: 'a directory that is absent is left out, with what is below it',
      run: async (api) => {
        const absent = api.blob();
        const leaf = directory(api, {});
        const root = directory(api, { absent, leaf });
        await api.put(leaf, root);
        expectHashes(api, await getTree(api, root), [root, leaf]);
      },
    },
    {
      ids: ['CAS-43', 'CAS-46'],
      title: 'page_size caps each page, and one call brings all of them',
      run: async (api) => {
        const tree = await putTree(api);
        const answers = await getTree(api, tree.root, { pageSize: 2 });
        for (const { directories } of answers) {
          expectThat(directories.length <= 2, 'two directories a page', directories.length);
        }
        expectHashes(api, answers, tree.all);
      },
    },
    {
      ids: ['CAS-43'],
      title: 'a negative page_size is refused',
      run: async (api) => {
        const { root } = await putTree(api);
        const call = getTree(api, root, { pageSize: -1 });
        await expectRefusal(call, Code.INVALID_ARGUMENT, 'a page_size of -1');
      },
    },
    {
      ids: ['CAS-44'],
      title: 'each page has a token but the last',
      run: async (api) => {
        const { root } = await putTree(api);
        const tokens = (await getTree(api, root, { pageSize: 2 })).map(
          (page) => page.nextPageToken,
        );
        expectSame(tokens.at(-1), '', 'the token of the last page');
        const isEach = tokens.slice(0, -1).every((token) => token !== '');
        expectThat(isEach && tokens.length > 1, 'a token on each other page', tokens);
      },
    },
    {
      ids: ['CAS-45'],
      title: 'a page token goes on after its page',
      run: async (api) => {
        const { root, all } = await putTree(api);
        const [first, ...rest] = await getTree(api, root, { pageSize: 2 });
        const { nextPageToken: pageToken = '' } = first ?? {};
        expectThat(pageToken !== '', 'a token on the first of several pages', 'none');
        const resumed = await getTree(api, root, { pageSize: 2, pageToken });
        expectSame(hashesOf(api, resumed), hashesOf(api, rest), 'what is left after a page');
        expectHashes(api, [...(first ? [first] : []), ...resumed], all);
      },
    },
    {
      ids: ['CAS-45'],
      title: 'a page token that nobody gave is refused',
      run: async (api) => {
        const { root } = await putTree(api);
        const call = getTree(api, root, { pageToken: 'no such token' });
        await expectRefusal(call, Code.INVALID_ARGUMENT, 'the page token "no such token"');
      },
    },
    {
      ids: ['CAS-47', 'DIG-11'],
      title: 'the empty directory has a tree without an upload',
      run: async (api) => {
        const empty = api.blobOf(new Uint8Array());
        const answers = await getTree(api, empty);
        const directories = answers.flatMap((page) => page.directories);
        expectSame(directories.length, 1, 'the number of directories');
        expectHashes(api, answers, [empty]);
      },
    },
    {
      ids: ['CAS-48'],
      title: `a directory that is reached twice is sent once: ${DIAMONDS} levels of twins`,
      run: async (api) => {
        const all = [directory(api, {})];
        for (let i = 0; i < DIAMONDS; i++) {
          const below = all.at(-1) as Blob;
          all.push(directory(api, { left: below, right: below }));
        }
        await api.put(...all);
        const answers = await getTree(api, all.at(-1) as Blob);
        const count = answers.reduce((sum, page) => sum + page.directories.length, 0);
        expectThat(count <= 2 * all.length, `about ${all.length} directories`, count);
        expectHashes(api, answers, all);
      },
    },
    {
      ids: ['CAS-49'],
      title: 'a root that is no Directory is refused',
      run: async (api) => {
        const text = api.blobOf(Buffer.from(`no directory ${api.random.uuid()}`));
        await api.put(text);
        await expectRefusal(getTree(api, text), Code.INVALID_ARGUMENT, 'a text as the root');
      },
    },
  ],
};

/** A Directory with a file of its own, so that no other has the same digest. */
function directory(api: Api, children: Readonly<Record<string, Blob>>): Blob {
  const directories = Object.entries(children).map(([name, { digest }]) => ({
    name,
    digest: digest.toMessage(),
  }));
  const files = [{ name: `file-${api.random.uuid()}`, digest: api.blob().digest.toMessage() }];
  const message = Directory.fromPartial({ files, directories });
  return api.blobOf(Directory.encode(message).finish());
}

/** Seven directories on three levels, all of them stored. */
async function putTree(api: Api): Promise<{ readonly root: Blob; readonly all: readonly Blob[] }> {
  const leaves = Array.from({ length: 4 }, () => directory(api, {})) as [Blob, Blob, Blob, Blob];
  const left = directory(api, { a: leaves[0], b: leaves[1] });
  const right = directory(api, { a: leaves[2], b: leaves[3] });
  const root = directory(api, { left, right });
  const all = [...leaves, left, right, root];
  await api.put(...all);
  return { root, all };
}

function getTree(
  api: Api,
  { digest }: Blob,
  more: { readonly pageSize?: number; readonly pageToken?: string } = {},
): Promise<GetTreeResponse[]> {
  return api.all(rpcs.getTree, { rootDigest: digest.toMessage(), ...more });
}

function hashesOf(api: Api, answers: readonly GetTreeResponse[]): string[] {
  return answers.flatMap(({ directories }) =>
    directories.map((one) => api.blobOf(Directory.encode(one).finish()).digest.hash),
  );
}

function expectHashes(api: Api, answers: readonly GetTreeResponse[], all: readonly Blob[]): void {
  const seen = new Set(hashesOf(api, answers));
  const lost = all.filter(({ digest }) => !seen.has(digest.hash));
  if (lost.length > 0 || seen.size !== all.length) {
    throw new Failure(
      `the ${all.length} directories of the tree`,
      `${seen.size} directories, ${lost.length} of the tree's are not among them`,
    );
  }
}
