import type { Offered, Requirements } from './platform.ts';

/** Beside those of `others` there is enough left of what the worker shares out for one more action. */
export function hasRoom(
  offered: Offered,
  others: Iterable<Requirements>,
  requirements: Requirements,
): boolean {
  const wanted = takenOf(requirements, offered);
  if (wanted.size === 0) return true;
  const taken = takenTogether(others, offered);
  return [...wanted].every(
    ([name, amount]) =>
      (taken.get(name) ?? 0) + amount <= (offered.capacities.get(name) ?? 0) + rounding(amount),
  );
}

/** Together they take no more than the worker has. */
export function isWithinCapacities(offered: Offered, all: Iterable<Requirements>): boolean {
  return [...takenTogether(all, offered)].every(
    ([name, taken]) => taken <= (offered.capacities.get(name) ?? 0) + rounding(taken),
  );
}

function takenTogether(all: Iterable<Requirements>, offered: Offered): Map<string, number> {
  const taken = new Map<string, number>();
  for (const requirements of all) {
    for (const [name, amount] of takenOf(requirements, offered)) {
      taken.set(name, (taken.get(name) ?? 0) + amount);
    }
  }
  return taken;
}

/** What the action takes of what the worker shares out. */
function takenOf({ amounts }: Requirements, { capacities }: Offered): ReadonlyMap<string, number> {
  if (amounts.size === 0) return amounts;
  return new Map([...amounts].filter(([name]) => capacities.has(name)));
}

/** Ten tenths are a whole, whatever adding them gives. */
function rounding(amount: number): number {
  return amount * 1e-9;
}
