import { saysNo } from '../base/says-no.ts';
import type { Platform_Property } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Capacity } from '../proto/expbuild/worker/v1/worker.ts';
import { parseAmount } from './amounts.ts';

/** What a worker offers. */
export interface Offered {
  /** For each property name, the values it takes; one that ends with `*` takes all that begin so. */
  readonly values: ReadonlyMap<string, ReadonlySet<string>>;
  /** What its actions share: for each name, how much there is in all. */
  readonly capacities: ReadonlyMap<string, number>;
  /** The most that one action gets of them, where that is less. */
  readonly actionMaxes: ReadonlyMap<string, number>;
  /** Bytes of memory that an action may use which asks for no amount. */
  readonly actionMemoryMax: number;
}

/** What an action asks of its worker. Equal requirements have equal keys. */
export interface Requirements {
  readonly key: string;
  readonly properties: readonly Platform_Property[];
  /** Those of the properties that are amounts, where a worker has that to share out. */
  readonly amounts: ReadonlyMap<string, number>;
  /** What it would rather have; a worker without it will do. */
  readonly preferences: readonly Platform_Property[];
  /** Bytes of memory that were too little for it; 0 when it has not run out of memory. */
  readonly memoryAbove: number;
}

/** Before the name of a property that an action would rather have than not. */
const preferencePrefix = 'prefer:';

export const nothingOffered: Offered = {
  values: new Map(),
  capacities: new Map(),
  actionMaxes: new Map(),
  actionMemoryMax: Infinity,
};

export function offeredBy(
  properties: readonly Platform_Property[],
  capacities: readonly Capacity[] = [],
  actionMemoryMax = 0,
): Offered {
  const values = new Map<string, Set<string>>();
  for (const { name, value } of properties) {
    const known = values.get(name);
    if (known) known.add(value);
    else values.set(name, new Set([value]));
  }
  return {
    values,
    capacities: new Map(capacities.map(({ name, amount }) => [name, amount])),
    actionMaxes: new Map(
      capacities.flatMap(({ name, actionMax }) => (actionMax > 0 ? [[name, actionMax]] : [])),
    ),
    actionMemoryMax: actionMemoryMax || Infinity,
  };
}

/** Without those that are ignored or ask for nothing, in one order, each once: however an action lists them. */
export function requirementsOf(
  properties: readonly Platform_Property[],
  ignored: ReadonlySet<string>,
): Requirements {
  const byKey = new Map<string, Platform_Property>();
  const amounts = new Map<string, number>();
  const preferences: Platform_Property[] = [];
  for (const asked of properties) {
    const property = plainly(asked);
    if (!property || ignored.has(property.name)) continue;
    if (property.name.startsWith(preferencePrefix)) {
      preferences.push({ ...property, name: property.name.slice(preferencePrefix.length) });
      continue;
    }
    byKey.set(JSON.stringify([property.name, property.value]), property);
    const amount = parseAmount(property.value);
    if (amount === undefined) continue;
    amounts.set(property.name, Math.max(amount, amounts.get(property.name) ?? 0));
  }
  const keys = [...byKey.keys()].toSorted();
  return {
    key: keys.join(),
    properties: keys.flatMap((key) => byKey.get(key) ?? []),
    amounts,
    preferences,
    memoryAbove: 0,
  };
}

/** Of containers only what is asked for counts: `dockerPrivileged=false` any worker can do. */
const ofContainers = /^(?:docker|container)/i;

/** One spelling for no network; undefined for what asks for nothing. */
function plainly(property: Platform_Property): Platform_Property | undefined {
  const { name, value } = property;
  if (!saysNo(value)) return property;
  if (name === 'network') return { ...property, value: 'off' };
  return ofContainers.test(name) ? undefined : property;
}

/** The same for an action that has run out of memory; unchanged for 0 bytes. */
export function withMoreMemory(requirements: Requirements, memoryAbove: number): Requirements {
  if (memoryAbove === 0) return requirements;
  return { ...requirements, memoryAbove, key: `${requirements.key}>${memoryAbove}` };
}

/** How many of the action's preferences the worker meets. */
export function countPreferred({ preferences }: Requirements, { values }: Offered): number {
  return preferences.filter(({ name, value }) => takes(values.get(name) ?? new Set(), value))
    .length;
}

/**
 * Every property is among the worker's, upper and lower case included (ACT-06); of what the
 * worker shares out it has as much, and it gives more memory than was too little.
 */
export function matches({ properties, memoryAbove }: Requirements, offered: Offered): boolean {
  return (
    offered.actionMemoryMax > memoryAbove &&
    properties.every((property) => isMet(property, offered))
  );
}

/** What workers offer by themselves, if they can: no mistake where none does. */
const standardNames = new Set(['container-image', 'network', 'isolation', 'cpu', 'memory']);

/** Whether it asks for a property that none of the workers has in any value: a mistake, most likely. */
export function hasUnknownName({ properties }: Requirements, workers: readonly Offered[]): boolean {
  return properties.some(
    ({ name }) =>
      !standardNames.has(name) &&
      !workers.some(({ values, capacities }) => values.has(name) || capacities.has(name)),
  );
}

/** One that is to be an amount, as workers share it out, and is none: no wait can change that. */
export function findNoAmount(
  { properties, amounts }: Requirements,
  workers: readonly Offered[],
): Platform_Property | undefined {
  return properties.find(
    ({ name }) =>
      !amounts.has(name) &&
      workers.some(({ capacities }) => capacities.has(name)) &&
      !workers.some(({ values }) => values.has(name)),
  );
}

/** As much of it as one action may have; undefined where the worker does not share it out. */
export function mostOf(name: string, { capacities, actionMaxes }: Offered): number | undefined {
  const capacity = capacities.get(name);
  return capacity && Math.min(capacity, actionMaxes.get(name) ?? capacity);
}

/** The worker has the property, or as much of it. */
export function isMet({ name, value }: Platform_Property, offered: Offered): boolean {
  const most = mostOf(name, offered);
  if (most === undefined) return takes(offered.values.get(name) ?? new Set(), value);
  const amount = parseAmount(value);
  return amount !== undefined && amount <= most;
}

function takes(offers: ReadonlySet<string>, value: string): boolean {
  if (offers.has(value)) return true;
  return [...offers].some((offer) => offer.endsWith('*') && value.startsWith(offer.slice(0, -1)));
}
