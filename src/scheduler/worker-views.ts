import type { WorkerSelection, WorkerView } from './administration.ts';
import type { Worker } from './worker.ts';

/** The worker as its operators see it. */
export function viewOfWorker(worker: Worker): WorkerView {
  return {
    id: worker.id,
    bootId: worker.bootId,
    softwareVersion: worker.softwareVersion,
    isolation: worker.isolation,
    isConnected: worker.session !== undefined,
    isDraining: worker.isDraining,
    trouble: worker.trouble,
    isDrained: worker.isDrained,
    isTerminating: worker.isTerminating,
    isResting: worker.rest !== undefined,
    slots: worker.slots,
    busySlots: worker.busySlots,
    offered: worker.offered,
    lastSeenAt: worker.lastSeenAt,
    operationNames: [...worker.leases.values()].flatMap(({ run }) =>
      [...run.operations].map(({ name }) => name),
    ),
  };
}

/** The worker is one of those that the selection means. */
export function isMeant({ id, offered }: Worker, selection: WorkerSelection): boolean {
  if ('ids' in selection) return selection.ids.has(id);
  return selection.properties.every(({ name, value }) => offered.values.get(name)?.has(value));
}
