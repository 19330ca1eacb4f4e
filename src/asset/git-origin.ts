import { mkdir, rm, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import path from 'node:path';
import type { Clock } from '../base/clock.ts';
import { printable } from '../base/printable.ts';
import { Code, StatusError } from '../base/status.ts';
import { checkOut } from './check-out.ts';
import type { DownloadOptions } from './download-blob.ts';
import { fetchCommit, type GitReference } from './fetch-commit.ts';
import type { HostPolicy } from './host-policy.ts';
import { authorizationIn, type HttpOptions } from './http-content.ts';
import type { Headers } from './origin-headers.ts';
import type { Origin } from './origin.ts';
import { canonicalIdName } from './qualifiers.ts';
import { type GitRepository, type GitSettings, runGit } from './run-git.ts';
import { storeFolder } from './store-folder.ts';

const mediaType = 'application/x-git';
const ownQualifiers = ['resource_type', 'vcs.branch', 'vcs.commit', 'directory'];

export interface GitOptions extends HttpOptions, DownloadOptions {
  /** The executable, of version 2.37 or later: earlier ones look hosts up for themselves. */
  readonly git: string;
  readonly clock: Clock;
}

/**
 * Directories from git repositories over HTTP and HTTPS: those that are asked for by one of git's
 * qualifiers, or end in `.git` (AST-19). It is the tree of a commit, without `.git`; submodules stay empty.
 */
export function gitOrigin(policy: HostPolicy, options: GitOptions): Origin {
  return {
    kind: 'directory',
    qualifiers: new Set([...ownQualifiers, canonicalIdName]),
    takes: ({ protocol, pathname }, content) =>
      (protocol === 'http:' || protocol === 'https:') &&
      (pathname.endsWith('.git') || ownQualifiers.some((name) => content.has(name))),
    fetch: async ({ url, content, headers, digestFunction }, blobs, signal) => {
      const reference = parseReference(content);
      const addresses = await policy.addressesOf(url, signal);
      const folder = path.join(options.folder, options.newId());
      const share = options.room.share();
      const limits = { ...options, share };
      try {
        const repository = await newRepository(folder, url, headers, addresses, options);
        const init = ['init', '--quiet', '--template='];
        const { exitCode, stderr } = await runGit(repository, init, signal);
        if (exitCode !== 0)
          throw new StatusError(Code.INTERNAL, `git init failed: ${stderr.slice(0, 300)}`);
        const commit = await fetchCommit(repository, url, reference, limits, signal);
        const { directory } = reference;
        const tree = directory === '' ? `${commit}^{tree}` : `${commit}:${directory}`;
        await checkOut(repository, tree, limits, signal);
        return await storeFolder(repository.workTree, digestFunction, options, blobs, signal);
      } finally {
        await rm(folder, { recursive: true, force: true });
        share.end();
      }
    },
  };
}

async function newRepository(
  folder: string,
  url: URL,
  headers: Headers,
  addresses: readonly string[],
  { git, idleTimeoutMs, trustedCertificates }: GitOptions,
): Promise<GitRepository> {
  const repository = path.join(folder, 'repository');
  const workTree = path.join(folder, 'files');
  await mkdir(folder, { mode: 0o700 });
  await mkdir(repository);
  await mkdir(workTree);
  const bare = new URL(url);
  bare.username = '';
  bare.password = '';
  const settings: (readonly [string, string])[] = [
    ['remote.origin.url', bare.href],
    ['http.lowSpeedLimit', '1'],
    ['http.lowSpeedTime', String(Math.ceil(idleTimeoutMs / 1000))],
    ...resolved(url, addresses),
  ];
  for (const [name, value] of new Map([...authorizationIn(url), ...headers])) {
    settings.push(['http.extraHeader', `${name}: ${value}`]);
  }
  if (trustedCertificates) {
    const file = path.join(folder, 'certificates.pem');
    await writeFile(file, trustedCertificates.join('\n'));
    settings.push(['http.sslCAInfo', file]);
  }
  return { git, folder: repository, workTree, settings };
}

/** Git connects to the very addresses that were checked. */
function resolved({ hostname, port, protocol }: URL, addresses: readonly string[]): GitSettings {
  if (isIP(hostname) > 0 || hostname.startsWith('[')) return [];
  const bracketed = addresses.map((one) => (isIP(one) === 6 ? `[${one}]` : one));
  const portNumber = port || (protocol === 'https:' ? '443' : '80');
  return [['http.curloptResolve', `${hostname}:${portNumber}:${bracketed.join(',')}`]];
}

const commitHash = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;
/** What git-check-ref-format(1) forbids, beside control characters. */
const badBranch = /[ ~^:?*[\\]|^[-/]|\/$|\/\/|\.\.|@\{|^@$|(?:^|\/)\.|\.$|\.lock(?:\/|$)/;

function isBranch(name: string): boolean {
  const isShort = name !== '' && name.length <= 255;
  return isShort && !badBranch.test(name) && printable(name) === name;
}

/** Fails with INVALID_ARGUMENT when a qualifier is malformed. */
function parseReference(content: ReadonlyMap<string, string>): GitReference {
  const type = content.get('resource_type') ?? mediaType;
  if (type !== mediaType) throw invalid('resource_type', `is not ${mediaType}`);
  const commit = content.get('vcs.commit');
  if (commit !== undefined && !commitHash.test(commit)) {
    throw invalid('vcs.commit', 'is not a whole commit hash in lower-case hex');
  }
  const branch = content.get('vcs.branch');
  if (branch !== undefined && !isBranch(branch)) {
    throw invalid('vcs.branch', 'is not the name of a branch');
  }
  const directory = content.get('directory') ?? '';
  const isPath = directory.split('/').every((name) => !['', '.', '..'].includes(name));
  if (directory !== '' && (!isPath || directory.includes('\0'))) {
    throw invalid('directory', 'is not a relative path without a slash at its end');
  }
  return { commit, branch, directory };
}

function invalid(name: string, why: string): StatusError {
  return new StatusError(Code.INVALID_ARGUMENT, `qualifier ${name} ${why}`);
}
