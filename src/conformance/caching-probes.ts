import { Code } from '../base/status.ts';
import type { ActionResult } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { findResult } from './action-results.ts';
import { nanosOf, putScript, resultOf } from './actions.ts';
import { expectRefusal, expectSame, expectThat, NotApplicable } from './expect.ts';
import type { Probe } from './probe.ts';

/** What an execution takes from the action cache, and what it leaves there. */
export const cachingProbes: readonly Probe[] = [
  {
    ids: ['EXE-31', 'EXE-38', 'EXE-57', 'RES-29'],
    title: 'a result is cached, and comes back with the metadata of the first run',
    run: async (api) => {
      const action = await putScript(api, 'echo "$$"');
      const first = await resultOf(api, action);
      expectSame(first.response.cachedResult, false, 'cached_result of the first run');
      await findResult(api, action);
      const second = await resultOf(api, action);
      expectSame(second.response.cachedResult, true, 'cached_result of the second');
      const [firstAt, secondAt] = [first, second].map((one) => startOf(one).toString());
      expectSame(secondAt, firstAt, 'when the command of the cached result started');
    },
  },
  {
    ids: ['EXE-32'],
    title: 'skip_cache_lookup runs the action again',
    run: async (api) => {
      const action = await putScript(api, 'true');
      const first = await resultOf(api, action);
      const second = await resultOf(api, action, { skipCacheLookup: true });
      expectSame(second.response.cachedResult, false, 'cached_result');
      const [firstAt, secondAt] = [first, second].map(startOf) as [bigint, bigint];
      expectThat(secondAt > firstAt, 'a later start of the command than before', 'no later one');
    },
  },
  {
    ids: ['EXE-33'],
    title: 'do_not_cache leaves no entry',
    run: async (api) => {
      const action = await putScript(api, 'true', { action: { doNotCache: true } });
      await resultOf(api, action);
      const call = findResult(api, action);
      await expectRefusal(call, Code.NOT_FOUND, 'the result of an action not to be cached');
    },
  },
  {
    ids: ['EXE-35'],
    title: 'do_not_cache of two at once is run twice, and leaves no entry',
    run: async (api) => {
      const script = 'sleep 1; od -An -N16 -tx1 /dev/urandom';
      const action = await putScript(api, script, { action: { doNotCache: true } });
      const [one, other] = await Promise.all([resultOf(api, action), resultOf(api, action)]);
      if (one.result.exitCode !== 0) throw new NotApplicable('the worker has no od');
      const [first, second] = [one, other].map(({ result }) => result.stdoutDigest?.hash ?? '');
      expectThat(first !== '' && first !== second, 'two random outputs', [first, second]);
      const call = findResult(api, action);
      await expectRefusal(call, Code.NOT_FOUND, 'the result of an action not to be cached');
    },
  },
];

/** When the command started. */
function startOf({ result }: { readonly result: ActionResult }): bigint {
  return nanosOf(result.executionMetadata?.executionStartTimestamp);
}
