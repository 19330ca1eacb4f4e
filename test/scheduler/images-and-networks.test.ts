import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { linux, requestOf, Rig } from './rig.ts';

describe('actions that ask for an image or a network', () => {
  it('ACT-08: an image is for workers with containers that may have it, unless it is to be ignored', () => {
    const rig = new Rig({ abandonQueuedAfterMs: 1e9 });
    const host = rig.worker('host', { properties: { ...linux, network: 'on' } });
    const asked = requestOf('a', { properties: { 'container-image': 'docker://build:1' } });
    const name = rig.enqueue(asked);
    assert.match(
      rig.waitingReason(name) ?? '',
      /^no worker has container-image=docker:\/\/build:1; .*execution.ignored_properties/,
    );
    rig.pass(rig.limits.unmatchedGraceMs + 1_000, host);
    assert.equal(rig.codeOf(name), Code.FAILED_PRECONDITION);

    const [other, fitting] = ['other', 'build'].map((image) =>
      rig.worker(image, { properties: { 'container-image': [`docker://${image}:*`] }, slots: 2 }),
    );
    rig.enqueue(asked);
    rig.enqueue(requestOf('b', { properties: { 'container-image': 'docker://build:2' } }));
    assert.deepEqual(
      [host, other, fitting].map((worker) => worker?.leases.length),
      [0, 0, 2],
    );

    const careless = new Rig({ ignoredProperties: ['container-image'] });
    const any = careless.worker('any', { properties: linux });
    careless.enqueue(asked);
    assert.equal(any.leases.length, 1);
  });

  it('a worker may say much of its isolation, which is for people and is cut', () => {
    const rig = new Rig();
    rig.worker('talks', { isolation: 'sandbox, '.repeat(1_000) });
    const [view] = rig.scheduler.workers();
    assert.match(view?.isolation ?? '', /^sandbox, /);
    assert.equal(view?.isolation.length, 2_000);
  });

  it('an image can be preferred, where any worker will do', () => {
    const rig = new Rig();
    const roomy = rig.worker('roomy', { slots: 9 });
    const fitting = rig.worker('build', { properties: { 'container-image': 'build:*' } });
    for (const action of ['a', 'b']) {
      rig.enqueue(requestOf(action, { properties: { 'prefer:container-image': 'build:2' } }));
    }
    assert.deepEqual([fitting.leases.length, roomy.leases.length], [1, 1]);
  });

  it('who asks for a network gets a worker with one, and who asks for none one without', () => {
    const rig = new Rig();
    const without = rig.worker('without', { properties: { network: 'off' }, slots: 9 });
    const onRequest = rig.worker('on request', { properties: { network: ['off', 'on'] } });
    const host = rig.worker('host', { properties: { network: 'on' } });
    for (const action of ['a', 'b']) {
      rig.enqueue(requestOf(action, { properties: { network: 'on' } }));
    }
    assert.deepEqual(
      [without, onRequest, host].map(({ leases }) => leases.length),
      [0, 1, 1],
    );
    for (const no of ['off', 'false', 'none']) {
      rig.enqueue(requestOf(no, { properties: { network: no } }));
    }
    assert.equal(without.leases.length, 3);
  });

  it('what asks for nothing of a container can be given by any worker', () => {
    const rig = new Rig();
    const worker = rig.worker('host', { properties: linux });
    const nothing = { dockerPrivileged: 'false', dockerNetwork: 'off', 'container-image': 'None' };
    rig.enqueue(requestOf('a', { properties: nothing }));
    assert.equal(worker.leases.length, 1);
    const name = rig.enqueue(requestOf('b', { properties: { dockerPrivileged: 'true' } }));
    assert.match(rig.waitingReason(name) ?? '', /no worker has dockerPrivileged=true/);
  });
});
