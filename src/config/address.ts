/** Where a server listens or is found. */
export interface Address {
  /** Without brackets, also when it is an IPv6 address. */
  readonly host: string;
  readonly port: number;
}

export type AddressProblem = 'tls' | 'malformed';

const form = /^(?:(\w+):\/\/)?(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::(\d{1,5}))?\/?$/;

/**
 * Understands `grpc://host:port`, `http://host:port` and `host:port`; IPv6 addresses stand in
 * brackets. The port must be given. `grpcs://` and `https://` are understood only to be refused.
 */
export function parseAddress(text: string): Address | AddressProblem {
  const [, scheme, host, port] = form.exec(text) ?? [];
  if (host === undefined) return 'malformed';
  if (scheme === 'grpcs' || scheme === 'https') return 'tls';
  if (scheme !== undefined && scheme !== 'grpc' && scheme !== 'http') return 'malformed';
  if (port === undefined || Number(port) > 65_535) return 'malformed';
  return { host: host.startsWith('[') ? host.slice(1, -1) : host, port: Number(port) };
}

/** `host:port`, with brackets around an IPv6 address. */
export function formatAddress({ host, port }: Address): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Whether only this machine can reach a server that listens on `host`. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}
