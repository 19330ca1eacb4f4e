import assert from 'node:assert/strict';
import { type TestContext, describe, it } from 'node:test';
import type { ActionCache, ActionCacheStorage } from '../../src/action-cache/action-cache.ts';
import { Digest } from '../../src/digest/digest.ts';
import { blake3 } from '../../src/digest/digest-functions.ts';
import { ActionResult } from '../../src/proto/whole/build/bazel/remote/execution/v2/remote_execution.ts';
import { blobOf } from '../support/blob-of.ts';
import { never } from '../support/never.ts';

const action = blobOf('an action').digest;
const otherAction = blobOf('another action').digest;

/** A result that needs no blobs. */
export function resultOf(worker: string): ActionResult {
  return ActionResult.fromPartial({
    exitCode: 3,
    executionMetadata: { worker, virtualExecutionDuration: { seconds: 1, nanos: 5 } },
    outputSymlinks: [{ path: 'l', target: 't' }],
    outputFileSymlinks: [{ path: 'l', target: 't' }],
  });
}

const bytesOf = (result: ActionResult | undefined) =>
  result && Buffer.from(ActionResult.encode(result).finish());

/** What every ActionCache promises, whatever it is made of. */
export function actionCacheContract(
  name: string,
  make: (t: TestContext) => Promise<ActionCache>,
): void {
  describe(name, () => {
    it('AC-01: finds nothing for an action that has no result', async (t) => {
      const cache = await make(t);
      assert.equal(await cache.find(action, never), undefined);
    });

    it('AC-25: gives back what was stored, both generations of symlinks included', async (t) => {
      const cache = await make(t);
      await cache.update(action, resultOf('w'), never);
      assert.deepEqual(bytesOf(await cache.find(action, never)), bytesOf(resultOf('w')));
      assert.equal(await cache.find(otherAction, never), undefined);
    });

    it('HI-25, AC-25: keeps fields that are unknown here', async (t) => {
      const cache = await make(t);
      const later = Buffer.concat([
        ActionResult.encode(resultOf('w')).finish(),
        Buffer.from([0xfa, 0x3f, 2, 0x68, 0x69]),
      ]);
      await cache.update(action, ActionResult.decode(later), never);
      assert.deepEqual(bytesOf(await cache.find(action, never)), later);
    });

    it('AC-18: the last of several updates wins, whole', async (t) => {
      const cache = await make(t);
      const workers = Array.from({ length: 20 }, (_, index) => `w${index}`);
      await Promise.all(workers.map((worker) => cache.update(action, resultOf(worker), never)));
      const found = await cache.find(action, never);
      assert.ok(
        workers.some((worker) => bytesOf(found)?.equals(bytesOf(resultOf(worker)) as Buffer)),
      );
      await cache.update(action, resultOf('last'), never);
      assert.equal((await cache.find(action, never))?.executionMetadata?.worker, 'last');
    });
  });
}

/** What every ActionCacheStorage promises; `make` gives one with room for `maxSizeBytes`. */
export function actionCacheStorageContract(
  name: string,
  make: (t: TestContext, maxSizeBytes: number) => Promise<ActionCacheStorage>,
): void {
  actionCacheContract(name, async (t) => (await make(t, 1_000_000)).namespace('main'));

  describe(`${name}, for several instances`, () => {
    it('DIG-10: an instance sees nothing of another', async (t) => {
      const storage = await make(t, 1_000_000);
      await storage.namespace('a').update(action, resultOf('of a'), never);
      assert.equal(await storage.namespace('b').find(action, never), undefined);
      assert.equal(await storage.namespace('').find(action, never), undefined);
      const again = await storage.namespace('a').find(action, never);
      assert.equal(again?.executionMetadata?.worker, 'of a');
    });

    it('RAC-14, DIG-10: the same hash under another function or with another size is another action', async (t) => {
      const cache = (await make(t, 1_000_000)).namespace('main');
      await cache.update(action, resultOf('w'), never);
      const { hash, sizeBytes } = action;
      assert.equal(await cache.find(Digest.of(blake3, hash, sizeBytes), never), undefined);
      assert.equal(await cache.find(Digest.of(action.function, hash, 1), never), undefined);
    });

    it('AC-24: the results used longest ago make room for new ones, of whatever instance', async (t) => {
      const storage = await make(t, 20_000);
      const first = storage.namespace('first');
      const second = storage.namespace('second');
      await first.update(action, resultOf('first'), never);
      for (let index = 0; index < 200; index++) {
        await second.update(blobOf(`action ${index}`).digest, resultOf('w'), never);
      }
      assert.equal(await first.find(action, never), undefined);
      assert.ok(await second.find(blobOf('action 199').digest, never));
      const kept = [];
      for (let index = 0; index < 200; index++) {
        kept.push(await second.find(blobOf(`action ${index}`).digest, never));
      }
      const count = kept.filter((result) => result !== undefined).length;
      assert.ok(count > 20 && count < 100, `${count} are kept`);
    });

    it('RAC-13: refuses a result that is too large to be sent', async (t) => {
      const cache = (await make(t, 100_000_000)).namespace('main');
      const large = resultOf('w'.repeat(5_000_000));
      await assert.rejects(cache.update(action, large, never), { name: 'StatusError' });
      assert.equal(await cache.find(action, never), undefined);
    });
  });
}
