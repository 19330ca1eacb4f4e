/** About as many actions as the file caches of a large farm have inputs of: some 20 MB here. */
const kindsMax = 100_000;

/** Enough to find a free one among; the inputs of older ones are the likeliest to be gone. */
const workersMax = 4;

/** Which workers ran which kind of action last, and so may still have its inputs. */
export class FamiliarWorkers {
  /** Least recently run first. */
  readonly #byKind = new Map<string, readonly string[]>();

  /** Names of workers; those that have left may be among them. */
  of(kind: string | undefined): readonly string[] {
    return (kind === undefined ? undefined : this.#byKind.get(kind)) ?? [];
  }

  ran(kind: string | undefined, workerId: string): void {
    if (kind === undefined) return;
    const others = this.of(kind).filter((id) => id !== workerId);
    this.#byKind.delete(kind);
    this.#byKind.set(kind, [workerId, ...others.slice(0, workersMax - 1)]);
    if (this.#byKind.size <= kindsMax) return;
    const [oldest] = this.#byKind.keys();
    if (oldest !== undefined) this.#byKind.delete(oldest);
  }
}
