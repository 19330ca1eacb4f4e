import type { Platform_Property } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { amountText, parseAmount } from './amounts.ts';
import { isMet, mostOf, type Offered, type Requirements } from './platform.ts';

/** Values of one property that a message names; more would hide what matters. */
const namedValuesMax = 20;

const containersHint =
  ' (those with executor.type = "docker" do; execution.ignored_properties of the server can let any worker do)';

/** Which property no worker has, and what they have instead (SC-24). */
export function explainUnmatched(
  requirements: Requirements,
  named: readonly { readonly id: string; readonly offered: Offered }[],
): string {
  if (named.length === 0) return 'no worker is connected';
  const workers = named.map(({ offered }) => offered);
  const unmet = requirements.properties.filter(
    (property) => !workers.some((offered) => isMet(property, offered)),
  );
  if (workers.some((offered) => requirements.properties.every((each) => isMet(each, offered)))) {
    const memory = amountText(requirements.memoryAbove);
    return `no worker gives an action more than ${memory} of memory, which was too little`;
  }
  if (unmet.length === 0) {
    const all = requirements.properties.map(({ name, value }) => `${name}=${value}`);
    let nearest: { id: string; lacks: readonly string[] } | undefined;
    for (const { id, offered } of named) {
      const lacks = requirements.properties.flatMap((property) =>
        isMet(property, offered) ? [] : [`${property.name}=${property.value}`],
      );
      if (!nearest || lacks.length < nearest.lacks.length) nearest = { id, lacks };
    }
    return `no single worker has all of ${all.join(', ')}; the nearest, ${nearest?.id}, lacks ${nearest?.lacks.join(', ')}`;
  }
  return unmet.map((property) => explainUnmet(property, workers)).join('; ');
}

function explainUnmet({ name, value }: Platform_Property, workers: readonly Offered[]): string {
  const shares = workers.flatMap((offered) => mostOf(name, offered) ?? []);
  if (shares.length > 0) {
    if (parseAmount(value) === undefined) return `${name}=${value} is no amount`;
    const most = amountText(Math.max(...shares));
    return `no worker has ${name}=${value}; the largest has ${name}=${most}`;
  }
  const values = [...new Set(workers.flatMap((offered) => [...(offered.values.get(name) ?? [])]))];
  if (values.length === 0) {
    const more = name === 'container-image' ? containersHint : '';
    return `no worker has ${name}=${value}; no worker has any ${name}${more}`;
  }
  const named = values.slice(0, namedValuesMax).map((offer) => `${name}=${offer}`);
  const more = values.length > named.length ? `, and ${values.length - named.length} more` : '';
  return `no worker has ${name}=${value}; workers offer ${named.join(', ')}${more}`;
}
