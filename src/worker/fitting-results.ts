import { HeldLease, HeldLease_Phase } from '../proto/expbuild/worker/v1/worker.ts';

/** A server takes messages of 32 MiB; the rest is for what else a worker says. */
const RESULTS_BYTES_MAX = 24 * 2 ** 20;

/**
 * The leases as they can be told in one message. Results that do not fit are told as still uploading: once
 * the scheduler has taken the others they are told as well. A message that is too large would end each
 * stream of the worker, for ever (HI-24).
 */
export function fittingResults(leases: readonly HeldLease[]): HeldLease[] {
  let left = RESULTS_BYTES_MAX;
  return leases.map((lease) => {
    if (!lease.response) return lease;
    left -= HeldLease.encode(lease).finish().length;
    if (left >= 0) return lease;
    return { ...lease, phase: HeldLease_Phase.PHASE_UPLOADING, response: undefined };
  });
}
