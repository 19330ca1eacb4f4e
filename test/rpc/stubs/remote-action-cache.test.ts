import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code, StatusError } from '../../../src/base/status.ts';
import { blake3 } from '../../../src/digest/digest-functions.ts';
import { Digest } from '../../../src/digest/digest.ts';
import {
  ActionResult,
  GetActionResultRequest,
  UpdateActionResultRequest,
} from '../../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { RemoteActionCache } from '../../../src/rpc/stubs/remote-action-cache.ts';
import { never } from '../../support/never.ts';
import { fakeServer, unary } from './fake-server.ts';

const service = '/build.bazel.remote.execution.v2.ActionCache';
const action = Digest.ofBytes(blake3, Buffer.from('action'));

test('a result that was stored is found, another action has none', async (t) => {
  const results = new Map<string, ActionResult>();
  const channel = await fakeServer(t, [
    unary(
      `${service}/GetActionResult`,
      GetActionResultRequest,
      ActionResult,
      ({ instanceName, actionDigest, digestFunction }) => {
        const found = results.get(`${instanceName} ${digestFunction} ${actionDigest?.hash}`);
        if (!found) throw new StatusError(Code.NOT_FOUND, 'no result');
        return found;
      },
    ),
    unary(
      `${service}/UpdateActionResult`,
      UpdateActionResultRequest,
      ActionResult,
      ({ instanceName, actionDigest, actionResult, digestFunction }) => {
        const result = actionResult ?? ActionResult.fromPartial({});
        results.set(`${instanceName} ${digestFunction} ${actionDigest?.hash}`, result);
        return result;
      },
    ),
  ]);
  const cache = new RemoteActionCache(channel, 'main');
  assert.equal(await cache.find(action, never), undefined);
  await cache.update(action, ActionResult.fromPartial({ exitCode: 3 }), never);
  assert.equal((await cache.find(action, never))?.exitCode, 3);
  const other = new RemoteActionCache(channel, 'other');
  assert.equal(await other.find(action, never), undefined);
});

test('an error other than NOT_FOUND is no miss', async (t) => {
  const channel = await fakeServer(t, [
    unary(`${service}/GetActionResult`, GetActionResultRequest, ActionResult, () => {
      throw new StatusError(Code.INVALID_ARGUMENT, 'no such instance');
    }),
  ]);
  await assert.rejects(new RemoteActionCache(channel, 'main').find(action, never), {
    code: Code.INVALID_ARGUMENT,
  });
});

test('a lookup is repeated when the server is unavailable for a moment', async (t) => {
  let failures = 2;
  const channel = await fakeServer(t, [
    unary(`${service}/GetActionResult`, GetActionResultRequest, ActionResult, () => {
      if (failures-- > 0) throw new StatusError(Code.UNAVAILABLE, 'not now');
      return ActionResult.fromPartial({ exitCode: 1 });
    }),
  ]);
  assert.equal((await new RemoteActionCache(channel, '').find(action, never))?.exitCode, 1);
});
