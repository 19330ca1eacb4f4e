import {
  type HeldLease,
  HeldLease_Phase,
  type Hello,
  type WorkerState,
} from '../proto/expbuild/worker/v1/worker.ts';
import type { Deadline } from './deadlines.ts';
import { nothingOffered, type Offered, offeredBy, type Requirements } from './platform.ts';
import type { GivenLease } from './run.ts';
import { hasRoom, isWithinCapacities } from './shared-capacities.ts';
import { isolationOf, metadataOf, streamNamesOf } from './worker-messages.ts';

/** One stream of a worker, and how far each side has come. */
export interface Session {
  readonly worker: Worker;
  /** The last WorkerState taken. */
  received: number;
  /** The last DesiredState sent, and when. */
  sent: number;
  sentAt: number;
  /** The last DesiredState the worker has acted on. */
  seen: number;
  /** Of the results that the worker came with and that its leases had not told: those taken, and those too late. */
  readonly results: { taken: number; late: number };
  /** True once the worker has another session or counts as lost: the stream is to end. */
  hasEnded: boolean;
}

/** What a report changed. */
export interface Report {
  /** Leases of which the worker told something new. */
  readonly changed: readonly GivenLease[];
  readonly done: readonly { readonly lease: GivenLease; readonly held: HeldLease }[];
  /** Leases that the worker should have and does not. */
  readonly missing: readonly GivenLease[];
}

/** A lease that the worker shall no longer have and may still work on. */
interface Leaving {
  /** Undefined when it is none of this scheduler's. */
  readonly lease: GivenLease | undefined;
  /** The first DesiredState of the session without it; undefined until that is sent. */
  goneFrom: number | undefined;
  isActive: boolean;
}

/** One start of a worker, as the scheduler sees it. */
export class Worker {
  readonly id: string;
  readonly bootId: string;
  /** What the scheduler wants it to have. */
  readonly leases = new Map<string, GivenLease>();
  readonly #leaving = new Map<string, Leaving>();
  offered: Offered = nothingOffered;
  softwareVersion = '';
  isolation = '';
  slots = 0;
  isDraining = false;
  /** Why it takes nothing although it does not shut down, in its own words; empty when it is well. */
  trouble = '';
  /** An operator wants it to get nothing new. */
  isDrained = false;
  /** An operator wants its process to end. */
  isTerminating = false;
  /** When it last said something, in the scheduler's own time. */
  heardAt = Number.NEGATIVE_INFINITY;
  /** The same in milliseconds since the Unix epoch, for people. */
  lastSeenAt = 0;
  session: Session | undefined;
  lost: Deadline | undefined;
  /** Set while it gets nothing because it failed or refused. */
  rest: Deadline | undefined;
  troublesInARow = 0;
  /** The queue whose runs it is kept for; those of others do not get it. */
  reservedFor: object | undefined;
  /** What whoever came last to its turn here had had of the farm by then, in slot-milliseconds. */
  levelMs = 0;

  constructor(id: string, bootId: string) {
    this.id = id;
    this.bootId = bootId;
  }

  /** It may be given leases, now or later. */
  get isOpen(): boolean {
    return this.session !== undefined && !this.isDraining && !this.isDrained && !this.isTerminating;
  }

  /** Wanted leases that take a slot: a finished one does not, it only waits to be stored. */
  get givenSlots(): number {
    let given = 0;
    for (const { phase } of this.leases.values()) {
      if (phase !== HeldLease_Phase.PHASE_DONE) given += 1;
    }
    return given;
  }

  /** Also counts those that the worker has not let go of yet. */
  get busySlots(): number {
    let busy = this.givenSlots;
    for (const { isActive } of this.#leaving.values()) if (isActive) busy += 1;
    return busy;
  }

  /** How many leases it may be given now. Finished ones may pile up to as many as it has slots. */
  get freeSlots(): number {
    if (!this.isOpen || this.rest) return 0;
    const listed = this.leases.size + this.#leaving.size;
    return Math.min(this.slots - this.busySlots, 2 * this.slots - listed);
  }

  give(lease: GivenLease): void {
    this.leases.set(lease.id, lease);
  }

  /** Takes a lease whose result it brings, of before it was started anew or counted as lost. */
  adopt(lease: GivenLease): void {
    lease.offer?.cancel();
    lease.bootId = this.bootId;
    lease.isSent = true;
    lease.offeredIn = undefined;
    this.leases.set(lease.id, lease);
    this.#leaving.delete(lease.id);
  }

  /** It has enough left of what its actions share. */
  hasRoomFor(requirements: Requirements): boolean {
    return hasRoom(this.offered, this.#busy(), requirements);
  }

  /**
   * Starts a session; the one before it ends, and what was sent on it can arrive no more. So what the
   * first state of this one does not list, the worker does not have and has not heard of.
   */
  attach(hello: Hello): Session {
    this.detach();
    this.offered = offeredBy(hello.properties, hello.capacities, hello.actionMemoryMax);
    this.slots = hello.slots;
    this.softwareVersion = hello.softwareVersion;
    this.isolation = isolationOf(hello);
    this.session = {
      worker: this,
      received: 0,
      sent: 0,
      sentAt: 0,
      seen: 0,
      results: { taken: 0, late: 0 },
      hasEnded: false,
    };
    for (const lease of this.leases.values()) {
      lease.offeredIn = undefined;
      lease.isSent = false;
    }
    for (const leaving of this.#leaving.values()) leaving.goneFrom = 0;
    return this.session;
  }

  detach(): void {
    if (this.session) this.session.hasEnded = true;
    this.session = undefined;
  }

  /** Wants the lease no more. Its slot stays taken until the worker has let go of it. */
  withdraw(lease: GivenLease): void {
    lease.offer?.cancel();
    if (!this.leases.delete(lease.id) || !lease.isSent) return;
    const isActive = lease.phase !== HeldLease_Phase.PHASE_DONE;
    this.#leaving.set(lease.id, { lease, goneFrom: undefined, isActive });
  }

  /** Numbers what it now wants of the worker, which is told next. */
  nextSequence(now: number): number {
    const { session } = this;
    if (!session) return 0;
    session.sent += 1;
    session.sentAt = now;
    for (const lease of this.leases.values()) {
      lease.isSent = true;
      lease.offeredIn ??= session.sent;
    }
    for (const leaving of this.#leaving.values()) leaving.goneFrom ??= session.sent;
    return session.sent;
  }

  /** Compares what the worker has with what it should have. */
  reconcile(session: Session, state: WorkerState): Report {
    const heldById = new Map(state.leases.map((held) => [held.leaseId, held]));
    const changed: GivenLease[] = [];
    const done: { lease: GivenLease; held: HeldLease }[] = [];
    const missing: GivenLease[] = [];
    for (const lease of this.leases.values()) {
      const held = heldById.get(lease.id);
      if (held?.epoch === lease.epoch) {
        lease.offer?.cancel();
        lease.isSent = true;
        const known = lease.phase ?? -1;
        // What is older, of a stream that was given up and arrived late, is no news.
        const isNews = held.phase >= known;
        if (isNews) lease.metadata = metadataOf(held);
        const hasStreams = isNews && takeStreams(lease, held);
        if (held.phase > known) lease.phase = held.phase;
        if (held.phase > known || hasStreams) changed.push(lease);
        if (held.phase === HeldLease_Phase.PHASE_DONE) done.push({ lease, held });
      } else if (hasSeen(session, lease.offeredIn) || state.draining) {
        missing.push(lease);
      }
    }
    this.#forgetGone(session, heldById);
    return { changed, done, missing };
  }

  /** What it is given now takes no more than there is. */
  get isWithinCapacity(): boolean {
    return isWithinCapacities(this.offered, this.#given());
  }

  /** What the wanted leases ask for that may be at work. */
  *#given(): Iterable<Requirements> {
    for (const { phase, run } of this.leases.values()) {
      if (phase !== HeldLease_Phase.PHASE_DONE) yield run.requirements;
    }
  }

  /** Also what those ask for that the worker has not let go of yet. */
  *#busy(): Iterable<Requirements> {
    yield* this.#given();
    for (const { isActive, lease } of this.#leaving.values()) {
      if (isActive && lease) yield lease.run.requirements;
    }
  }

  #forgetGone(session: Session, heldById: ReadonlyMap<string, HeldLease>): void {
    for (const [id, { goneFrom }] of this.#leaving) {
      if (!heldById.has(id) && hasSeen(session, goneFrom)) this.#leaving.delete(id);
    }
    for (const [id, { phase }] of heldById) {
      if (this.leases.has(id)) continue;
      const unknown = { lease: undefined, goneFrom: 0, isActive: true };
      const leaving = this.#leaving.get(id) ?? unknown;
      leaving.isActive = phase !== HeldLease_Phase.PHASE_DONE;
      this.#leaving.set(id, leaving);
    }
  }
}

/** Whether the worker tells other streams than before. */
function takeStreams(lease: GivenLease, held: HeldLease): boolean {
  const { stdout, stderr } = streamNamesOf(held);
  if (stdout === (lease.streams?.stdout ?? '') && stderr === (lease.streams?.stderr ?? '')) {
    return false;
  }
  lease.streams = { stdout, stderr };
  return true;
}

function hasSeen(session: Session, sequence: number | undefined): boolean {
  return sequence !== undefined && session.seen >= sequence;
}
