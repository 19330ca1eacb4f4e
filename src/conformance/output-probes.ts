import {
  type ActionResult,
  Command_OutputDirectoryFormat,
  Directory,
  type OutputDirectory,
  type OutputSymlink,
  Tree,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { contentOf, putScript, resultOf } from './actions.ts';
import type { Api } from './api.ts';
import { expectBytes, expectSame, expectThat, NotApplicable } from './expect.ts';
import type { Probe } from './probe.ts';

const { TREE_ONLY, DIRECTORY_ONLY, TREE_AND_DIRECTORY } = Command_OutputDirectoryFormat;

/** The first is the only one without directories. */
const formats = [TREE_ONLY, DIRECTORY_ONLY, TREE_AND_DIRECTORY] as const;

/** What a command leaves behind, as the result tells of it. */
export const outputProbes: readonly Probe[] = [
  {
    ids: ['ACT-14', 'ACT-22', 'RES-01', 'RES-02', 'RES-03', 'RES-04'],
    title: 'output_paths decide what comes back; folders above them are made beforehand',
    run: async (api) => {
      const script =
        'echo x > a/b/file && echo y > other && test ! -e a/b/absent && : > x && chmod 755 x';
      const action = await putScript(api, script, {
        command: { outputPaths: ['a/b/absent', 'a/b/file', 'x'], outputFiles: ['other'] },
      });
      const { result } = await resultOf(api, action);
      expectSame(result.exitCode, 0, 'the exit code of a script that writes into a/b');
      const files = result.outputFiles.map(({ path, isExecutable }) => [path, isExecutable]);
      const expected = [
        ['a/b/file', false],
        ['x', true],
      ];
      expectSame(files, expected, 'the output files, and whether they are executable');
      const bytes = await contentOf(api, result.outputFiles[0]?.digest);
      expectBytes(bytes, Buffer.from('x\n'), 'the file');
    },
  },
  {
    ids: ['ACT-15'],
    title: 'without output_paths, output_files and output_directories count',
    run: async (api) => {
      const action = await putScript(api, 'echo x > file; mkdir -p folder', {
        command: { outputFiles: ['file'], outputDirectories: ['folder'] },
      });
      const { result } = await resultOf(api, action);
      expectSame(pathsOf(result), ['file', 'folder'], 'the outputs');
    },
  },
  {
    ids: ['RES-05', 'RES-17', 'RES-19'],
    title: 'an output folder comes as a Tree, with all its files stored and links as they are',
    run: async (api) => {
      const script = 'mkdir -p out/sub && echo x > out/sub/file && ln -s nowhere out/link';
      const action = await putScript(api, script, { command: { outputPaths: ['out'] } });
      const { result } = await resultOf(api, action);
      const [directory] = result.outputDirectories;
      expectSame(directory?.path, 'out', 'the output directory');
      const { root, children } = Tree.decode(await contentOf(api, directory?.treeDigest));
      expectSame(root?.symlinks[0]?.target, 'nowhere', 'the target of out/link');
      const content = await contentOf(api, children[0]?.files[0]?.digest);
      expectBytes(content, Buffer.from('x\n'), 'out/sub/file');
    },
  },
  {
    ids: ['RES-14'],
    title: 'an output folder comes as a Tree in each output_directory_format',
    run: async (api) => {
      for (const format of formats) {
        const { treeDigest } = await folderAs(api, format);
        expectThat(treeDigest !== undefined, `tree_digest in the format ${format}`, 'none');
      }
    },
  },
  {
    ids: ['RES-13'],
    title: 'in a format with directories, each is stored, and the root is that of the Tree',
    run: async (api) => {
      for (const format of formats.slice(1)) {
        const { treeDigest, rootDirectoryDigest: given } = await folderAs(api, format);
        if (!given) throw new NotApplicable('root_directory_digest is not filled');
        const { root = Directory.create(), children } = Tree.decode(
          await contentOf(api, treeDigest),
        );
        const blobs = [root, ...children].map((directory) =>
          api.blobOf(Directory.encode(directory).finish()),
        );
        expectSame(given.hash, blobs[0]?.digest.hash, 'root_directory_digest');
        const missing = await api.missing(...blobs.map(({ digest }) => digest));
        expectSame(missing, [], 'the directories that are missing');
      }
    },
  },
  {
    ids: ['RES-06', 'RES-07'],
    title: 'an output that is a symlink stays one, in the new field and the old ones',
    run: async (api) => {
      const script = 'ln -s nowhere link; mkdir folder; ln -s folder to-folder';
      const outputPaths = ['link', 'to-folder'];
      const { result } = await resultOf(
        api,
        await putScript(api, script, { command: { outputPaths } }),
      );
      const [file, directory] = ['link to nowhere', 'to-folder to folder'];
      const both = linksOf(result.outputSymlinks).toSorted();
      expectSame(both, [file, directory], 'output_symlinks');
      const files = linksOf(result.outputFileSymlinks);
      expectSame(files, [file], 'output_file_symlinks');
      const directories = linksOf(result.outputDirectorySymlinks);
      expectSame(directories, [directory], 'output_directory_symlinks');
    },
  },
];

function linksOf(links: readonly OutputSymlink[]): string[] {
  return links.map(({ path, target }) => `${path} to ${target}`);
}

function pathsOf({ outputFiles, outputDirectories }: ActionResult): string[] {
  return [...outputFiles, ...outputDirectories].map(({ path }) => path);
}

/** A folder with one in it, as the result of an action with this format has it. */
async function folderAs(
  api: Api,
  outputDirectoryFormat: Command_OutputDirectoryFormat,
): Promise<OutputDirectory> {
  const command = { outputPaths: ['out'], outputDirectoryFormat };
  const action = await putScript(api, 'mkdir -p out/sub && echo x > out/sub/file', { command });
  const [directory] = (await resultOf(api, action)).result.outputDirectories;
  expectThat(directory !== undefined, 'an output directory', 'none');
  return directory;
}
