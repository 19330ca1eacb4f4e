import { Code, StatusError } from '../base/status.ts';
import {
  Directory,
  type DeepPartial,
  Tree,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  ActionResult,
  UpdateActionResultRequest,
} from '../proto/whole/build/bazel/remote/execution/v2/remote_execution.ts';
import { findBytes, findResult, updateResult } from './action-results.ts';
import { expectRefusal, expectSame, expectThat, NotApplicable } from './expect.ts';
import { inliningProbes } from './inlining-probes.ts';
import { aCache, cacheUpdates } from './needs.ts';
import type { Area, Need } from './probe.ts';
import { rpcs } from './rpcs.ts';
import { hasField, withUnknownField } from './wire-fields.ts';

const noUpdates: Need = (tested) =>
  cacheUpdates(tested) === undefined ? 'action cache updates are enabled' : undefined;

/** Results are stored under random digests, which no action has. */
export const actionCacheProbes: Area = {
  name: 'action-cache',
  needs: [aCache],
  probes: [
    {
      ids: ['AC-01'],
      title: 'a result that is not there is NOT_FOUND',
      run: async (api) => {
        await expectRefusal(findResult(api, api.blob()), Code.NOT_FOUND, 'an unknown action');
      },
    },
    {
      ids: ['AC-16', 'CAP-09'],
      title: 'where updates are not enabled they are PERMISSION_DENIED',
      needs: [noUpdates],
      run: async (api) => {
        const call = updateResult(api, api.blob(), {});
        await expectRefusal(call, Code.PERMISSION_DENIED, 'UpdateActionResult');
      },
    },
    {
      ids: ['AC-12', 'AC-13', 'CAP-09'],
      title: 'a result is stored under any digest, and comes back',
      needs: [cacheUpdates],
      run: async (api) => {
        const [action, output] = [api.blob(), api.blob()];
        await api.put(output);
        const outputFiles = [{ path: 'a/b', digest: output.digest.toMessage() }];
        const stored = await updateResult(api, action, { outputFiles, exitCode: 0 });
        expectSame(stored.outputFiles[0]?.path, 'a/b', 'the path that the update answers');
        const found = await findResult(api, action);
        expectSame(found.outputFiles[0]?.digest?.hash, output.digest.hash, 'the stored digest');
      },
    },
    {
      ids: ['AC-02'],
      title: 'a result whose tree names a file that is not stored is no hit',
      needs: [cacheUpdates],
      run: async (api) => {
        const action = api.blob();
        const file = { name: 'absent', digest: api.blob().digest.toMessage() };
        const root = Directory.fromPartial({ files: [file] });
        const tree = api.blobOf(Tree.encode(Tree.fromPartial({ root })).finish());
        await api.put(tree);
        const outputDirectories = [{ path: 'out', treeDigest: tree.digest.toMessage() }];
        try {
          await updateResult(api, action, { outputDirectories });
        } catch (thrown) {
          // To refuse it at once is as good.
          if (StatusError.from(thrown).code === Code.FAILED_PRECONDITION) return;
          throw thrown;
        }
        await expectRefusal(findResult(api, action), Code.NOT_FOUND, 'a tree with a file missing');
      },
    },
    {
      ids: ['AC-14'],
      title: 'a result with a file that is not stored is refused',
      needs: [cacheUpdates],
      run: async (api) => {
        const outputFiles = [{ path: 'a', digest: api.blob().digest.toMessage() }];
        const call = updateResult(api, api.blob(), { outputFiles });
        await expectRefusal(call, Code.FAILED_PRECONDITION, 'an output that nobody uploaded');
      },
    },
    ...inliningProbes,
    {
      ids: ['AC-17'],
      title: 'raw output that is uploaded with a result is stored, and read by its digest',
      needs: [cacheUpdates],
      run: async (api) => {
        const [action, output] = [api.blob(), api.blob()];
        await updateResult(api, action, { stdoutRaw: output.bytes });
        const { stdoutDigest, stdoutRaw } = await findResult(api, action);
        const isThere = stdoutDigest?.hash === output.digest.hash;
        const isRaw = Buffer.compare(stdoutRaw, output.bytes) === 0;
        expectThat(isThere || isRaw, 'the output, raw or by its digest', 'neither');
        if (isThere) await api.expectPresent(output, 'the update');
      },
    },
    {
      ids: ['AC-18'],
      title: 'the last of several updates is what is found',
      needs: [cacheUpdates],
      run: async (api) => {
        const action = api.blob();
        for (const exitCode of [1, 2, 3]) await updateResult(api, action, { exitCode });
        expectSame((await findResult(api, action)).exitCode, 3, 'the exit code of the last update');
        const exitCodes = Array.from({ length: 20 }, (_, i) => i + 10);
        await Promise.all(exitCodes.map((exitCode) => updateResult(api, action, { exitCode })));
        const { exitCode } = await findResult(api, action);
        expectThat(exitCodes.includes(exitCode), 'one of twenty updates at once', exitCode);
      },
    },
    {
      ids: ['AC-19', 'AC-20'],
      title: 'a stored result has execution_metadata, even if none was uploaded',
      needs: [cacheUpdates],
      run: async (api) => {
        const action = api.blob();
        await updateResult(api, action, {});
        const answer = await findBytes(api, action);
        expectThat(answer.length > 0, 'a message that is not empty', 'no bytes');
        expectThat(hasField(answer, [9]), 'execution_metadata to be set', 'no such field');
      },
    },
    {
      ids: ['AC-21', 'CAP-10'],
      title: 'priorities of results are taken as announced, and refused beyond',
      needs: [cacheUpdates],
      run: async (api) => {
        const { priorities = [] } = api.tested.cache.cachePriorityCapabilities ?? {};
        if (priorities.length === 0) throw new NotApplicable('no priorities are announced');
        for (const { minPriority, maxPriority } of priorities) {
          for (const priority of [minPriority, maxPriority]) {
            await updateResult(api, api.blob(), {}, { resultsCachePolicy: { priority } });
          }
        }
        const priority = Math.max(...priorities.map((range) => range.maxPriority)) + 1;
        if (priority > 2 ** 31 - 1) return;
        const call = updateResult(api, api.blob(), {}, { resultsCachePolicy: { priority } });
        await expectRefusal(call, Code.INVALID_ARGUMENT, `the priority ${priority}`);
      },
    },
    {
      ids: ['AC-22'],
      title: 'a result with paths or digests that cannot be is refused',
      needs: [cacheUpdates],
      run: async (api) => {
        const output = api.blob();
        await api.put(output);
        const digest = output.digest.toMessage();
        const wrong: Readonly<Record<string, DeepPartial<ActionResult>>> = {
          'the path /a': { outputFiles: [{ path: '/a', digest }] },
          'the path a//b': { outputFiles: [{ path: 'a//b', digest }] },
          'the hash x': { outputFiles: [{ path: 'a', digest: { hash: 'x', sizeBytes: 1 } }] },
          'a symlink to nothing': { outputSymlinks: [{ path: 'a', target: '' }] },
        };
        for (const [what, result] of Object.entries(wrong)) {
          const call = updateResult(api, api.blob(), result);
          await expectRefusal(call, Code.INVALID_ARGUMENT, what);
        }
      },
    },
    {
      ids: ['AC-23'],
      title: 'an update without a result or an action digest is refused',
      needs: [cacheUpdates],
      run: async (api) => {
        const actionDigest = api.blob().digest.toMessage();
        for (const request of [{ actionDigest }, { actionResult: { exitCode: 1 } }]) {
          const call = api.one(rpcs.updateActionResult, request);
          await expectRefusal(call, Code.INVALID_ARGUMENT, Object.keys(request).join());
        }
      },
    },
    {
      ids: ['AC-25'],
      title: 'fields of later versions, and both kinds of symlinks, survive in a result',
      needs: [cacheUpdates],
      run: async (api) => {
        const action = api.blob();
        const symlinks = [{ path: 'link', target: 'target' }];
        const result = ActionResult.encode(
          ActionResult.fromPartial({ outputSymlinks: symlinks, outputFileSymlinks: symlinks }),
        ).finish();
        const request = { actionDigest: action.digest.toMessage() };
        const whole = UpdateActionResultRequest.decode(
          api.encoded(rpcs.updateActionResult, request),
        );
        whole.actionResult = ActionResult.decode(withUnknownField(result));
        const updating = UpdateActionResultRequest.encode(whole).finish();
        await api.raw(rpcs.updateActionResult.path, updating);
        const answer = await findBytes(api, action);
        const found = ActionResult.decode(answer);
        expectSame(
          [found.outputSymlinks.length, found.outputFileSymlinks.length],
          [1, 1],
          'the numbers of symlinks in output_symlinks and output_file_symlinks',
        );
        expectThat(hasField(answer, [1999]), 'field 1999 to be set', 'no such field');
      },
    },
    {
      ids: ['AC-27'],
      title: 'a result with an exit code is stored as it is uploaded',
      needs: [cacheUpdates],
      run: async (api) => {
        const action = api.blob();
        await updateResult(api, action, { exitCode: 1 });
        expectSame((await findResult(api, action)).exitCode, 1, 'the exit code');
      },
    },
  ],
};
