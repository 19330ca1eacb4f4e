import type { Platform_Property } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';

/** What a worker offers: for each property name, the values it takes. */
export type Offered = ReadonlyMap<string, ReadonlySet<string>>;

/** What an action asks of its worker. Equal requirements have equal keys. */
export interface Requirements {
  readonly key: string;
  readonly properties: readonly Platform_Property[];
}

/** Values of one property that a message names; more would hide what matters. */
const namedValuesMax = 20;

export function offeredBy(properties: readonly Platform_Property[]): Offered {
  const offered = new Map<string, Set<string>>();
  for (const { name, value } of properties) {
    const values = offered.get(name);
    if (values) values.add(value);
    else offered.set(name, new Set([value]));
  }
  return offered;
}

/** Without the ignored ones, in one order, each once: however an action lists them. */
export function requirementsOf(
  properties: readonly Platform_Property[],
  ignored: ReadonlySet<string>,
): Requirements {
  const byKey = new Map<string, Platform_Property>();
  for (const property of properties) {
    if (ignored.has(property.name)) continue;
    byKey.set(JSON.stringify([property.name, property.value]), property);
  }
  const keys = [...byKey.keys()].toSorted();
  return {
    key: keys.join(),
    properties: keys.flatMap((key) => byKey.get(key) ?? []),
  };
}

/** Every property is among the worker's, exactly, upper and lower case included (ACT-06). */
export function matches({ properties }: Requirements, offered: Offered): boolean {
  return properties.every(({ name, value }) => offered.get(name)?.has(value));
}

/** Whether it asks for a property that none of the workers has in any value: a mistake, most likely. */
export function hasUnknownName({ properties }: Requirements, workers: readonly Offered[]): boolean {
  return properties.some(({ name }) => !workers.some((offered) => offered.has(name)));
}

/** Which property no worker has, and what they have instead (SC-24). */
export function explainUnmatched(requirements: Requirements, workers: readonly Offered[]): string {
  if (workers.length === 0) return 'no worker is connected';
  const unmet = requirements.properties.filter(
    ({ name, value }) => !workers.some((offered) => offered.get(name)?.has(value)),
  );
  if (unmet.length === 0) {
    const all = requirements.properties.map(({ name, value }) => `${name}=${value}`);
    return `no single worker has all of ${all.join(', ')}`;
  }
  return unmet.map((property) => explainUnmet(property, workers)).join('; ');
}

function explainUnmet({ name, value }: Platform_Property, workers: readonly Offered[]): string {
  const values = [...new Set(workers.flatMap((offered) => [...(offered.get(name) ?? [])]))];
  if (values.length === 0) return `no worker has ${name}=${value}; no worker has any ${name}`;
  const named = values.slice(0, namedValuesMax).map((offer) => `${name}=${offer}`);
  const more = values.length > named.length ? `, and ${values.length - named.length} more` : '';
  return `no worker has ${name}=${value}; workers offer ${named.join(', ')}${more}`;
}
