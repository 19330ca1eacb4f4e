import { lookup } from 'node:dns/promises';
import { BlockList, isIP } from 'node:net';
import { Code } from '../base/status.ts';
import { orAborted } from '../base/until-aborted.ts';
import { connectionFailure, OriginFailure, shown } from './origin-failure.ts';

/**
 * Hosts are written as in URLs: `example.com`, `[::1]`, each with a port or without; `*.example.com` is
 * every host below it, `*` every host.
 */
export interface HostRules {
  /** Whom a client may have asked at all. */
  readonly allowedHosts: readonly string[];
  /** Whose addresses may be private ones. */
  readonly allowedPrivateHosts: readonly string[];
}

/** The addresses of a host name; tests pass their own. */
export type Resolve = (hostname: string) => Promise<readonly string[]>;

const systemResolve: Resolve = async (hostname) => {
  const found = await lookup(hostname, { all: true, verbatim: true });
  return found.map(({ address }) => address);
};

/**
 * Keeps clients from reaching, through this server, what only this server can reach (AST-24): its own
 * loopback, the services of its cloud, the network around it.
 */
export class HostPolicy {
  readonly #rules: HostRules;
  readonly #resolve: Resolve;

  constructor(rules: HostRules, resolve: Resolve = systemResolve) {
    this.#rules = rules;
    this.#resolve = resolve;
  }

  /**
   * The addresses that a connection for `url` may go to, at least one. They are to be used as they are:
   * a second look at the DNS could give others. Fails with PERMISSION_DENIED, which is said in the
   * response, when the scheme, the host or all of its addresses are forbidden. A DNS that says nothing is
   * waited for until `signal` aborts.
   */
  async addressesOf(url: URL, signal: AbortSignal): Promise<readonly string[]> {
    if (url.protocol !== 'http:' && url.protocol !== 'https:') {
      throw denied(url, 'only http and https are fetched');
    }
    if (!this.#rules.allowedHosts.some((rule) => covers(rule, url))) {
      throw denied(url, 'this server may not fetch from its host (remote_asset.allowed_hosts)');
    }
    const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
    const found = isIP(host) > 0 ? [host] : await this.#lookUp(host, url, signal);
    if (this.#rules.allowedPrivateHosts.some((rule) => covers(rule, url))) return found;
    const permitted = found.filter((address) => isPublic(address));
    if (permitted.length > 0) return permitted;
    throw denied(
      url,
      'its host has no public address, and is not one of remote_asset.allowed_private_hosts',
    );
  }

  async #lookUp(host: string, url: URL, signal: AbortSignal): Promise<readonly string[]> {
    try {
      const found = await orAborted(this.#resolve(host), signal);
      if (found.length > 0) return found;
    } catch (thrown) {
      signal.throwIfAborted();
      throw connectionFailure(url, thrown);
    }
    throw new OriginFailure(Code.NOT_FOUND, `the host of ${shown(url)} has no address`);
  }
}

const defaultPorts: ReadonlyMap<string, string> = new Map([
  ['http:', '80'],
  ['https:', '443'],
]);

function covers(rule: string, { hostname, port, protocol }: URL): boolean {
  const written = rule.toLowerCase();
  if (written === '*') return true;
  if (written.startsWith('*.')) return hostname.endsWith(written.slice(1));
  return written === hostname || written === `${hostname}:${port || defaultPorts.get(protocol)}`;
}

/** Everything in the IANA registries of special-purpose addresses, and multicast (RFC 6890). */
const specialIpv4: readonly (readonly [string, number])[] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
];

/** What of 2000::/3 is not a host on the Internet, or stands for an IPv4 address (Teredo, 6to4). */
const specialIpv6: readonly (readonly [string, number])[] = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
];

const special = new BlockList();
for (const [network, prefix] of specialIpv4) special.addSubnet(network, prefix, 'ipv4');
for (const [network, prefix] of specialIpv6) special.addSubnet(network, prefix, 'ipv6');

/** Global unicast: loopback, unique-local, link-local, IPv4-mapped and multicast are all outside. */
const globalIpv6 = new BlockList();
globalIpv6.addSubnet('2000::', 3, 'ipv6');

/** Whether an address is one that everybody on the Internet can reach. */
export function isPublic(address: string): boolean {
  if (isIP(address) === 4) return !special.check(address, 'ipv4');
  return globalIpv6.check(address, 'ipv6') && !special.check(address, 'ipv6');
}

function denied(url: URL, why: string): OriginFailure {
  return new OriginFailure(Code.PERMISSION_DENIED, `${shown(url)} is not fetched: ${why}`);
}
