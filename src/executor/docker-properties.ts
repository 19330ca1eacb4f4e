import { saysNo } from '../base/says-no.ts';
import { Code, StatusError } from '../base/status.ts';

/**
 * Fails with INVALID_ARGUMENT for what no action gets: other users, privileges, capabilities, devices,
 * volumes and runtimes are the worker's to choose, whatever its own properties match (DK-03).
 */
export function refuseDangerous(properties: ReadonlyMap<string, string>): void {
  for (const [name, value] of properties) {
    if (!/^(?:docker|container)/i.test(name) || name === 'container-image') continue;
    if (saysNo(value)) continue;
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `property ${name}=${value.slice(0, 200)} asks for what no action gets on this worker; ` +
        'container-image and network are what can be asked for',
    );
  }
  const network = properties.get('network') ?? 'off';
  if (network === 'on' || saysNo(network)) return;
  throw new StatusError(
    Code.INVALID_ARGUMENT,
    `property network=${network.slice(0, 200)} must be "on" or "off"`,
  );
}

/** The image that an action asks for; undefined for none. */
export function imageAsked(properties: ReadonlyMap<string, string>): string | undefined {
  const image = properties.get('container-image') ?? '';
  return saysNo(image) ? undefined : image;
}
