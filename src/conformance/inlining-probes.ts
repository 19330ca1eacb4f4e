import { findBytes, findResult, updateResult } from './action-results.ts';
import { type Api, piecesOf } from './api.ts';
import { expectSame, expectThat } from './expect.ts';
import { cacheUpdates } from './needs.ts';
import type { Probe } from './probe.ts';
import type { Blob } from './random-blobs.ts';

/** What every client takes in one message. */
const MESSAGE_BYTES_MAX = 4 * 2 ** 20;

const TOO_LARGE_TO_INLINE = 5 * 2 ** 20;

/** Outputs within the answer for a cached result, for those who ask for them. */
export const inliningProbes: readonly Probe[] = [
  {
    ids: ['AC-05', 'RES-32'],
    title: 'nothing is inlined that was not asked for',
    needs: [cacheUpdates],
    run: async (api) => {
      const { action } = await putResult(api);
      const { stdoutRaw, stderrRaw, outputFiles } = await findResult(api, action);
      const inlined = [stdoutRaw, stderrRaw, ...outputFiles.map(({ contents }) => contents)];
      expectSame(
        inlined.map(({ length }) => length),
        [0, 0, 0, 0],
        'the inlined bytes of stdout, stderr and two files',
      );
    },
  },
  {
    ids: ['AC-06', 'AC-07', 'AC-10'],
    title: 'small outputs are inlined when that is asked for, and only those',
    needs: [cacheUpdates],
    run: async (api) => {
      const { action, output } = await putResult(api);
      const hints = { inlineStdout: true, inlineOutputFiles: ['a', 'no such path'] };
      const { stdoutRaw, outputFiles } = await findResult(api, action, hints);
      expectSame(stdoutRaw.length, output.bytes.length, 'the inlined bytes of stdout');
      const contents = outputFiles.map((file) => [file.path, file.contents.length]);
      expectSame(
        contents,
        [
          ['a', 1000],
          ['b', 0],
        ],
        'the inlined bytes of the two files',
      );
    },
  },
  {
    ids: ['AC-09'],
    title: 'what is inlined has its digest too',
    needs: [cacheUpdates],
    run: async (api) => {
      const { action, output } = await putResult(api);
      const hints = { inlineStdout: true, inlineOutputFiles: ['a'] };
      const { stdoutDigest, outputFiles } = await findResult(api, action, hints);
      expectSame(stdoutDigest?.hash, output.digest.hash, 'the digest of stdout');
      for (const { digest } of outputFiles) {
        expectSame(digest?.hash, output.digest.hash, 'the digest of a file');
      }
    },
  },
  {
    ids: ['AC-08', 'GEN-09'],
    title: 'what would make the answer too large is not inlined, and no error',
    needs: [cacheUpdates],
    run: async (api) => {
      const [action, output] = [api.blob(), api.blob(TOO_LARGE_TO_INLINE)];
      await api.write(api.writeName(output.digest), piecesOf(output.bytes, 2 ** 20));
      await updateResult(api, action, { stdoutDigest: output.digest.toMessage() });
      const answer = await findBytes(api, action, { inlineStdout: true });
      expectThat(answer.length <= MESSAGE_BYTES_MAX, '4 MiB at most', `${answer.length} bytes`);
    },
  },
];

/** A result with two files and both streams, all of one blob of 1000 bytes. */
async function putResult(api: Api): Promise<{ readonly action: Blob; readonly output: Blob }> {
  const [action, output] = [api.blob(), api.blob()];
  await api.put(output);
  const digest = output.digest.toMessage();
  await updateResult(api, action, {
    outputFiles: ['a', 'b'].map((path) => ({ path, digest })),
    stdoutDigest: digest,
    stderrDigest: digest,
  });
  return { action, output };
}
