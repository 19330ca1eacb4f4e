import assert from 'node:assert/strict';
import { Code } from '../../src/base/status.ts';
import {
  type DesiredState,
  HeldLease,
  HeldLease_Phase,
  type Lease,
  WorkerState,
} from '../../src/proto/expbuild/worker/v1/worker.ts';
import { workerProtocolVersion } from '../../src/scheduler/work-queue.ts';
import { ranWith } from './rig.ts';

/** What a worker needs of the world around it. */
export interface WorkerWorld {
  /** Draws true with this probability. */
  chance(probability: number): boolean;
  /** Draws a number from `from` to `to`. */
  between(from: number, to: number): number;
  after(ms: number, act: () => void): void;
  /** Takes a connection's states to the scheduler, or loses them. */
  send(connection: Connection, state: WorkerState): void;
  trace(line: string): void;
}

/** One stream of a worker. */
export interface Connection {
  readonly worker: SimulatedWorker;
  isOpen: boolean;
}

interface Held {
  readonly lease: Lease;
  readonly message: HeldLease;
  /** The worker was told to end it, and is about to. */
  isEnding: boolean;
}

export interface WorkerTraits {
  readonly id: string;
  readonly slots: number;
  readonly properties: readonly { name: string; value: string }[];
  readonly capacities: readonly { name: string; amount: number }[];
  /** Bytes; 0 when nothing limits its actions. */
  readonly actionMemoryMax: number;
}

/** A worker that keeps to the protocol, and meets with whatever a world has in store. */
export class SimulatedWorker {
  readonly traits: WorkerTraits;
  readonly #world: WorkerWorld;
  readonly #held = new Map<string, Held>();
  /** Finished leases, on a disk that outlives the process. */
  readonly #outbox = new Map<string, Held>();
  #boot = 0;
  isUp = false;
  isDraining = false;
  isPaused = false;
  connection: Connection | undefined;
  #sent = 0;
  #seen = 0;
  /** How often its leases fail for a reason of its own, or are refused. */
  trouble = 0;

  constructor(traits: WorkerTraits, world: WorkerWorld) {
    this.traits = traits;
    this.#world = world;
  }

  start(): void {
    if (this.isUp) return;
    this.#boot += 1;
    this.#held.clear();
    for (const [id, held] of this.#outbox) {
      // Its file is torn.
      if (this.#world.chance(0.05)) this.#outbox.delete(id);
      else this.#held.set(id, held);
    }
    this.isUp = true;
    this.isDraining = false;
    this.#world.trace(`${this.traits.id} starts, boot ${this.#boot}`);
    this.#beat(this.#boot);
    this.connect();
  }

  crash(): void {
    this.#world.trace(`${this.traits.id} crashes`);
    this.isUp = false;
    this.#held.clear();
    this.drop();
  }

  drain(): void {
    if (!this.isUp || this.isDraining) return;
    this.#world.trace(`${this.traits.id} drains`);
    this.isDraining = true;
    this.say();
  }

  /** Its process ends, and whoever looks after it starts the next one. */
  #terminate(): void {
    if (this.isDraining) return;
    this.drain();
    this.#world.after(this.#world.between(10_000, 40_000), () => this.start());
  }

  drop(): void {
    if (this.connection) this.connection.isOpen = false;
    this.connection = undefined;
  }

  /** Opens a new stream, and forgets an old one. */
  connect(): void {
    if (!this.isUp) return;
    this.drop();
    this.connection = { worker: this, isOpen: true };
    this.#sent = 0;
    this.#seen = 0;
    this.say();
  }

  say(): void {
    if (!this.isUp || this.isPaused || !this.connection) return;
    const { id, slots, properties, capacities, actionMemoryMax } = this.traits;
    const hello = {
      workerId: id,
      bootId: `${id}.${this.#boot}`,
      slots,
      properties: [...properties],
      capacities: [...capacities],
      actionMemoryMax,
    };
    this.#sent += 1;
    const isFirst = this.#sent === 1;
    const state = WorkerState.fromPartial({
      hello: isFirst ? { ...hello, protocolVersion: workerProtocolVersion } : undefined,
      sequence: this.#sent,
      seenSequence: this.#seen,
      leases: [...this.#held.values()].map(({ message }) => ({ ...message })),
      draining: this.isDraining,
    });
    this.#world.send(this.connection, state);
  }

  hear(connection: Connection, { sequence, leases, terminate }: DesiredState): void {
    if (connection !== this.connection || sequence <= this.#seen) return;
    if (terminate) this.#terminate();
    this.#seen = sequence;
    const wanted = new Set(leases.map(({ leaseId }) => leaseId));
    for (const [id, held] of this.#held) if (!wanted.has(id)) this.#end(id, held);
    for (const lease of leases) if (!this.#held.has(lease.leaseId)) this.#begin(lease);
    this.say();
    if (this.isDraining && this.#held.size === 0) this.crash();
  }

  /** Processes that run, those included that are being ended. */
  #active(): Held[] {
    return [...this.#held.values()].filter(
      ({ message }) => message.phase !== HeldLease_Phase.PHASE_DONE,
    );
  }

  #begin(lease: Lease): void {
    if (this.isDraining || this.#world.chance(this.trouble)) return;
    const { leaseId, epoch } = lease;
    const held = { lease, message: HeldLease.fromPartial({ leaseId, epoch }), isEnding: false };
    this.#held.set(leaseId, held);
    const { id, slots } = this.traits;
    assert.ok(this.#active().length <= slots, `${id} has more leases than slots`);
    this.#goOn(held);
  }

  #goOn(held: Held): void {
    const { message } = held;
    this.#world.after(this.#world.between(10, 8_000), () => {
      if (this.#held.get(message.leaseId) !== held || held.isEnding) return;
      message.phase = (message.phase + 1) as HeldLease_Phase;
      if (message.phase !== HeldLease_Phase.PHASE_DONE) this.#goOn(held);
      else if (this.#world.chance(this.trouble)) {
        message.failure = { code: Code.RESOURCE_EXHAUSTED, message: 'disk full', details: [] };
      } else {
        message.response = ranWith(message.leaseId);
        if (this.#world.chance(0.3)) message.memoryLimitMet = this.traits.actionMemoryMax;
        this.#outbox.set(message.leaseId, held);
      }
      this.say();
    });
  }

  #end(id: string, held: Held): void {
    if (held.message.phase === HeldLease_Phase.PHASE_DONE) {
      this.#held.delete(id);
      this.#outbox.delete(id);
      return;
    }
    if (held.isEnding) return;
    held.isEnding = true;
    this.#world.after(this.#world.between(0, 3_000), () => {
      if (this.#held.get(id) !== held) return;
      this.#held.delete(id);
      this.say();
    });
  }

  #beat(boot: number): void {
    this.#world.after(5_000, () => {
      if (!this.isUp || boot !== this.#boot) return;
      this.say();
      this.#beat(boot);
    });
  }
}
