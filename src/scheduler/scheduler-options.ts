import { heapBytesMax } from '../base/memory.ts';

/** Limits of the scheduler. All waits are in milliseconds. */
export interface SchedulerOptions {
  /** Actions that wait for a worker; one more is refused with RESOURCE_EXHAUSTED (SC-27). */
  readonly queuedMax: number;
  /** Names and values of an action's platform properties, all together, in characters. */
  readonly platformCharsMax: number;
  /** The same for all actions that are not done, together. */
  readonly platformCharsSumMax: number;
  /** Workers that are here, or that have leases from when they were. */
  readonly workersMax: number;
  /** Operations that are not done; several may wait for one action. */
  readonly pendingOperationsMax: number;
  /** When a client that was refused for want of room should come back. */
  readonly retryDelayMs: number;
  /** Names of properties that do not choose a worker (ACT-08). */
  readonly ignoredProperties: readonly string[];
  /** How often a worker says what it is doing. */
  readonly heartbeatMs: number;
  /** A worker that says nothing for so long loses its leases (EXE-64). */
  readonly lostAfterMs: number;
  /**
   * A worker whose connection has ended loses its leases when it is not back within so long. For as
   * long after its last word, one that is connected keeps its name from other processes.
   */
  readonly reconnectGraceMs: number;
  /** A worker that does not confirm a lease for so long does not get it. */
  readonly offerTimeoutMs: number;
  /** How long leases of before a restart wait for their worker. */
  readonly reattachGraceMs: number;
  /** How long an action waits when no connected worker could ever run it (EXE-08). */
  readonly unmatchedGraceMs: number;
  /** Workers that may be lost while they run an action, before it ends with UNAVAILABLE (EXE-64). */
  readonly attemptsMax: number;
  /** How long an action that lost as many workers is not run again (SC-18). */
  readonly quarantineMs: number;
  /** Actions in quarantine; the oldest go free first. */
  readonly quarantinedMax: number;
  /** Times an action may meet a worker that cannot run it, before it ends with the last one's error. */
  readonly failuresMax: number;
  /** Times an action may be handed back unrun, before it ends with UNAVAILABLE. */
  readonly refusalsMax: number;
  /** What a point of priority is worth in waiting: a run that waited so long longer is as urgent. */
  readonly priorityPointMs: number;
  /** A run that takes more of a worker than any has left gets one kept for it after so long. */
  readonly reserveAfterMs: number;
  /** Names of workers kept as drained that are not here; those drained first are forgotten. */
  readonly drainedAwayMax: number;
  /** A worker that failed or refused gets nothing for so long, doubled for each time in a row. */
  readonly restMs: number;
  readonly restMsMax: number;
  /** Tries to store a result, before its action ends with the error. */
  readonly commitAttemptsMax: number;
  readonly commitRetryMs: number;
  /** A queued operation that nobody watches for so long is cancelled (EXE-21). */
  readonly abandonQueuedAfterMs: number;
  /** A running operation that nobody watches for so long is cancelled (EXE-20). */
  readonly abandonRunningAfterMs: number;
  /** How long a done operation can still be asked for (EXE-23). */
  readonly retainDoneMs: number;
  /** Done operations kept at most; the oldest go first. */
  readonly retainedDoneMax: number;
  /** What the responses of those take in memory, at most; but the newest one is kept in any case. */
  readonly retainedDoneBytesMax: number;
  /** A process that wakes so much later than it meant to stood still: nobody is late (SC-15). */
  readonly pauseMs: number;
}

export const defaultSchedulerOptions: SchedulerOptions = {
  // About 2 KB each in memory: 200 MB.
  queuedMax: 100_000,
  // As many as a worker may offer. Real ones have some hundred.
  platformCharsMax: 64 * 1024,
  // 2,000 for each of as many actions as may be queued.
  platformCharsSumMax: 200_000_000,
  // A heartbeat of each every 5 s is 2,000 a second.
  workersMax: 10_000,
  pendingOperationsMax: 200_000,
  retryDelayMs: 5_000,
  // ACT-08 without what says where, in what, and with which network a command can run at all.
  ignoredProperties: [
    'Pool',
    'JDK_SYMLINK',
    'unixUID',
    'unixGID',
    'remoteApisSocketPath',
    'InputRootAbsolutePath',
    'persistentWorkerKey',
    'persistentWorkerProtocol',
  ],
  heartbeatMs: 5_000,
  // Six heartbeats: a network that hiccups, or a worker that swaps, loses nothing.
  lostAfterMs: 30_000,
  // The connection of a process that was killed ends at once; one that lives tries every 3 s.
  reconnectGraceMs: 15_000,
  offerTimeoutMs: 15_000,
  // Workers come back within their back-off of at most 10 s; twice that, and time to start.
  reattachGraceMs: 60_000,
  unmatchedGraceMs: 60_000,
  attemptsMax: 3,
  // At most three workers in ten minutes for one action; whoever has mended it can release it sooner.
  quarantineMs: 600_000,
  quarantinedMax: 1_000,
  failuresMax: 5,
  refusalsMax: 10,
  // A build of priority 10 is overtaken by urgent ones for ten minutes, then goes with them.
  priorityPointMs: 60_000,
  // Long enough for most actions that are in its way to end by themselves.
  reserveAfterMs: 10_000,
  // Hosts that were taken away and never undrained: years of them.
  drainedAwayMax: 10_000,
  restMs: 1_000,
  restMsMax: 60_000,
  commitAttemptsMax: 5,
  commitRetryMs: 1_000,
  // EXE-20 asks for 60 s at least; Siso cuts its streams every 60 s and comes back at once.
  abandonQueuedAfterMs: 60_000,
  abandonRunningAfterMs: 600_000,
  // EXE-23 asks for 10 minutes at least.
  retainDoneMs: 900_000,
  // Measured at 10 KB each in memory, most of it the message that the result came in: 200 MB.
  retainedDoneMax: 20_000,
  // Where results are as large as they may be, 3.75 MiB, some fifty.
  retainedDoneBytesMax: heapBytesMax / 8,
  pauseMs: 10_000,
};
