import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { type HttpOrigin, httpOrigin, type TlsOptions } from './http-origin.ts';
import { tempDir } from './temp-dir.ts';

const git = '/usr/bin/git';
const backend = '/usr/lib/git-core/git-http-backend';

/** Why there is no git here, or false if there is; for a test's `skip`. */
export function gitSkip(): string | false {
  return existsSync(backend) ? false : "git is not installed: install Debian's package git";
}

export interface GitServer extends HttpOrigin {
  /** A repository that is served as `/NAME.git`; its files are in the folder that is given. */
  readonly repository: (name: string) => TestRepository;
}

export interface TestRepository {
  readonly folder: string;
  /** What git prints. */
  readonly run: (...args: readonly string[]) => string;
  /** Commits all files in the folder; its hash. */
  readonly commit: (message: string) => string;
}

/** Serves repositories as any host of them does. `before` may answer a request itself, with true. */
export async function gitServer(
  t: Pick<TestContext, 'after'>,
  before: (request: IncomingMessage, response: ServerResponse) => boolean = () => false,
  tls?: TlsOptions,
): Promise<GitServer> {
  const root = tempDir(t);
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    if (!before(request, response)) serve(root, request, response);
  };
  const origin = await httpOrigin(t, answer, tls);
  return {
    ...origin,
    repository: (name) => {
      const folder = path.join(root, `${name}.git`);
      mkdirSync(folder, { recursive: true });
      const run = (...args: readonly string[]) =>
        execFileSync(git, args, { cwd: folder, env: environmentOf(root), encoding: 'utf8' }).trim();
      run('init', '--quiet', '--initial-branch=main');
      return {
        folder,
        run,
        commit: (message) => {
          run('add', '--all');
          run('commit', '--quiet', '--allow-empty', `--message=${message}`);
          return run('rev-parse', 'HEAD');
        },
      };
    },
  };
}

const environmentOf = (root: string) => ({
  PATH: '/usr/bin:/bin',
  HOME: root,
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_AUTHOR_NAME: 'A',
  GIT_AUTHOR_EMAIL: 'a@example.com',
  GIT_COMMITTER_NAME: 'A',
  GIT_COMMITTER_EMAIL: 'a@example.com',
});

/** Git's own CGI program: headers, an empty line, the body. */
function serve(root: string, request: IncomingMessage, response: ServerResponse): void {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://127.0.0.1');
  const child = spawn(backend, {
    env: {
      ...environmentOf(root),
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      PATH_INFO: pathname.replace(/\.git\//, '.git/.git/'),
      QUERY_STRING: searchParams.toString(),
      REQUEST_METHOD: request.method ?? 'GET',
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
      REMOTE_ADDR: '127.0.0.1',
    },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  request.pipe(child.stdin);
  child.stdin.on('error', () => {});
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.on('close', () => {
    const answer = Buffer.concat(chunks);
    const end = answer.indexOf('\r\n\r\n');
    for (const line of answer.subarray(0, end).toString('latin1').split('\r\n')) {
      const [, name = '', value = ''] = /^([^:]+): (.*)$/.exec(line) ?? [];
      if (name.toLowerCase() === 'status') response.statusCode = Number.parseInt(value, 10);
      else if (name !== '') response.setHeader(name, value);
    }
    response.end(answer.subarray(end + 4));
  });
}
