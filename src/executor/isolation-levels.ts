/** How commands are kept apart, weakest first. */
const isolationLevels = ['host', 'sandbox', 'docker', 'gvisor'] as const;

export type IsolationLevel = (typeof isolationLevels)[number];

/** The platform property by which an action asks for a level, or for what is stronger. */
const isolationProperty = 'isolation';

/**
 * What a worker of a level offers: its own and all weaker ones. So an action gets what it asks for or more,
 * and none can ask for less than a worker has.
 */
export function isolationOffered(
  level: IsolationLevel,
): { readonly name: string; readonly value: IsolationLevel }[] {
  const offered = isolationLevels.slice(0, isolationLevels.indexOf(level) + 1);
  return offered.map((value) => ({ name: isolationProperty, value }));
}

/** The platform property by which an action asks for a network, or for none. */
const networkProperty = 'network';

/** What a worker of a level offers of it: on the host every command has the machine's network. */
export function networkOffered(
  level: IsolationLevel,
  isOnRequest: boolean,
): { readonly name: string; readonly value: 'off' | 'on' }[] {
  const off = { name: networkProperty, value: 'off' } as const;
  const on = { name: networkProperty, value: 'on' } as const;
  if (level === 'host') return [on];
  return isOnRequest ? [off, on] : [off];
}
