import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { linux, requestOf, Rig } from './rig.ts';

const onLinux = (action: string) => requestOf(action, { properties: linux, doNotCache: true });
const linuxWorker = { properties: linux };

/** Nobody watches here. */
const unwatched = { abandonQueuedAfterMs: 1e9, abandonRunningAfterMs: 1e9 };

describe('why an operation waits, and how long', () => {
  it('SC-24: workers that match and take nothing are named with what they do', () => {
    const rig = new Rig();
    const [drained, away, resting] = ['drained', 'away', 'resting'].map((id) =>
      rig.worker(id, linuxWorker),
    );
    assert.ok(drained && away && resting);
    rig.scheduler.updateWorkers({ ids: new Set(['drained']) }, 'drain');
    away.disconnect();
    rig.enqueue(onLinux('fails'));
    resting.fail(resting.lease, Code.RESOURCE_EXHAUSTED, 'disk full');
    const name = rig.enqueue(onLinux('waits'));
    assert.equal(
      rig.waitingReason(name),
      '3 workers match: 1 rests after it failed or handed back an action (resting), ' +
        '1 is drained (drained), 1 is away, and may come back (away)',
    );
    resting.isDraining = true;
    resting.say();
    assert.match(
      rig.waitingReason(name) ?? '',
      /^no worker takes it now: .*1 shuts down \(resting\)/,
    );
  });

  it('busy ones are counted where there are many', () => {
    const rig = new Rig();
    for (let n = 0; n < 5; n += 1) {
      rig.worker(`w${n}`, linuxWorker);
      rig.enqueue(onLinux(`${n}`));
    }
    const name = rig.enqueue(onLinux('waits'));
    assert.equal(rig.waitingReason(name), 'the 5 workers that match are busy');
  });

  it('names the worker that lacks least when none has all', () => {
    const rig = new Rig();
    rig.worker('a', { properties: { OSFamily: 'linux', disk: 'ssd' } });
    rig.worker('b', { properties: { pool: 'fast' } });
    const properties = { OSFamily: 'linux', disk: 'ssd', pool: 'fast' };
    const name = rig.enqueue(requestOf('x', { properties }));
    assert.match(rig.waitingReason(name) ?? '', /the nearest, a, lacks pool=fast$/);
  });

  it('SC-03: what the last worker of its kind ran ends with UNAVAILABLE, though others are here', () => {
    const rig = new Rig(unwatched);
    const other = rig.worker('other', { properties: { OSFamily: 'macos' } });
    const worker = rig.worker('w', linuxWorker);
    const name = rig.enqueue(onLinux('a'));
    worker.run();
    rig.pass(120_000, other);
    assert.equal(rig.codeOf(name), Code.UNAVAILABLE);
    // What comes later has made no mistake either.
    const later = rig.enqueue(onLinux('b'));
    rig.pass(61_000, other);
    assert.equal(rig.codeOf(later), Code.UNAVAILABLE);
  });

  it('what a worker of before a restart offers is not known, so nobody who needs it makes a mistake', () => {
    const rig = new Rig({ ...unwatched, unmatchedGraceMs: 20_000 });
    const worker = rig.worker('w', linuxWorker);
    rig.enqueue(onLinux('a'));
    worker.run();
    rig.restart();
    const other = rig.worker('other', { properties: { OSFamily: 'macos' } });
    const name = rig.enqueue(onLinux('b'));
    assert.equal(
      rig.waitingReason(name),
      'no worker has OSFamily=linux; workers offer OSFamily=macos; 1 of before the restart may come back',
    );
    rig.pass(21_000, other);
    assert.equal(rig.codeOf(name), Code.UNAVAILABLE);
  });

  it('EXE-10: an action whose only workers are drained ends after the grace, with UNAVAILABLE and the reason', () => {
    const rig = new Rig(unwatched);
    const worker = rig.worker('w', linuxWorker);
    rig.scheduler.updateWorkers({ ids: new Set(['w']) }, 'drain');
    const name = rig.enqueue(onLinux('a'));
    assert.equal(
      rig.waitingReason(name),
      'no worker takes it now: the one worker that matches is drained (w)',
    );
    rig.pass(61_000, worker);
    assert.equal(rig.codeOf(name), Code.UNAVAILABLE);
    assert.match(rig.messageOf(name), /is drained \(w\)/);
  });

  it('a worker in trouble gets nothing, and tells operators why', () => {
    const rig = new Rig(unwatched);
    const worker = rig.worker('w', linuxWorker);
    const [one, two] = [rig.enqueue(onLinux('a')), rig.enqueue(onLinux('b'))];
    worker.run();
    worker.isDraining = true;
    worker.trouble = `the sandbox is gone${'!'.repeat(10_000)}`;
    worker.say();
    assert.match(rig.scheduler.workers()[0]?.trouble ?? '', /^the sandbox is gone!{1981}$/);
    assert.equal(
      rig.waitingReason(two),
      'no worker takes it now: the one worker that matches is in trouble, as `expbuild workers show` tells (w)',
    );
    worker.finish();
    rig.commitAll();
    worker.obey();
    assert.equal(rig.codeOf(one), Code.OK);
    assert.deepEqual(worker.leases, []);
    worker.isDraining = false;
    worker.trouble = '';
    worker.say();
    assert.equal(rig.scheduler.workers()[0]?.trouble, '');
    worker.finish();
    rig.commitAll();
    assert.equal(rig.codeOf(two), Code.OK);
  });

  it('one who asks for the same more urgently does not start the grace anew', () => {
    const rig = new Rig(unwatched);
    const worker = rig.worker('w', linuxWorker);
    const request = requestOf('a', { properties: { OSFamily: 'plan9' } });
    const name = rig.enqueue(request);
    rig.pass(40_000, worker);
    rig.enqueue({ ...request, priority: -1 });
    rig.pass(21_000, worker);
    assert.equal(rig.codeOf(name), Code.FAILED_PRECONDITION);
  });

  it('any number of actions that avoid a worker leave it to those that do not', () => {
    const rig = new Rig({ restMs: 1, restMsMax: 1 });
    const sick = rig.worker('sick', { slots: 200 });
    for (let n = 0; n < 150; n += 1) rig.enqueue(requestOf(`${n}`));
    const well = rig.worker('well');
    rig.enqueue(requestOf('long'));
    for (const lease of sick.leases) sick.fail(lease, Code.RESOURCE_EXHAUSTED, 'disk full');
    sick.obey();
    rig.pass(1_000, sick, well);
    const name = rig.enqueue(requestOf('new'));
    assert.deepEqual(
      sick.leases.map(({ operationName }) => operationName),
      [name],
    );
  });
});
