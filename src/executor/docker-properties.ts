import { Code, StatusError } from '../base/status.ts';

/** Ways to ask for nothing. */
const nothing = new Set(['', 'false', 'off', 'none', 'no', '0']);

/**
 * Fails with INVALID_ARGUMENT for what no action gets: other users, privileges, capabilities, devices,
 * volumes and runtimes are the worker's to choose, whatever its own properties match (DK-03).
 */
export function refuseDangerous(properties: ReadonlyMap<string, string>): void {
  for (const [name, value] of properties) {
    if (!/^(?:docker|container)/i.test(name) || name === 'container-image') continue;
    if (nothing.has(value.toLowerCase())) continue;
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `property ${name}=${value.slice(0, 200)} asks for what no action gets on this worker; ` +
        'container-image and network are what can be asked for',
    );
  }
  const network = properties.get('network') ?? 'off';
  if (network === 'on' || nothing.has(network)) return;
  throw new StatusError(
    Code.INVALID_ARGUMENT,
    `property network=${network.slice(0, 200)} must be "on" or "off"`,
  );
}
