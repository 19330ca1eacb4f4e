import assert from 'node:assert/strict';
import { existsSync, globSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { Code } from '../../../src/base/status.ts';
import { sha256 } from '../../../src/digest/digest-functions.ts';
import { Digest } from '../../../src/digest/digest.ts';
import { readTree, defaultTreeLimits } from '../../../src/tree/walk-directories.ts';
import { qualifiersOf } from '../../support/asset-client.ts';
import { allowed, startAssetServer } from '../../support/asset-server.ts';
import { certificateSkip, selfSigned } from '../../support/certificate.ts';
import { gitServer, gitSkip } from '../../support/git-server.ts';
import { httpOrigin } from '../../support/http-origin.ts';
import { never } from '../../support/never.ts';

type Values = Readonly<Record<string, string>>;

function write(file: string, text: string, mode = 0o644): void {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, text, { mode });
}

async function start(
  t: TestContext,
  toml = allowed,
  before?: Parameters<typeof gitServer>[1],
  onDisk = false,
) {
  const { server, fetchDirectory, folder } = await startAssetServer(t, { toml, onDisk });
  const git = await gitServer(t, before);
  const fetch = (name: string, values: Values = {}) =>
    fetchDirectory({ uris: [`${git.url}/${name}`], qualifiers: qualifiersOf(values) });
  /** The status, or the names in the tree that was fetched, with a `*` behind what is executable. */
  const namesOf = async (name: string, values: Values = {}) => {
    const { status, rootDirectoryDigest } = await fetch(name, values);
    if (status?.code !== Code.OK) return [status?.code, status?.message];
    const root = Digest.fromMessage(sha256, rootDirectoryDigest, 'root');
    const names: string[] = [];
    const blobs = server.blobsOf('');
    for await (const { parsed } of readTree(root, blobs, defaultTreeLimits, never)) {
      for (const one of parsed.files) names.push(`${one.name}${one.isExecutable ? '*' : ''}`);
      for (const one of parsed.symlinks) names.push(`${one.name} -> ${one.target}`);
      for (const one of parsed.directories) names.push(`${one.name}/`);
      const missing = await blobs.findMissing(
        parsed.files.map(({ digest }) => digest),
        never,
      );
      assert.deepEqual(missing, []);
    }
    return names;
  };
  return { git, fetch, fetchDirectory, namesOf, folder };
}

describe('git', { skip: gitSkip() }, () => {
  test('AST-19, AST-22, AST-09: a repository is fetched as the directory that its HEAD has', async (t) => {
    const onDisk = true;
    const { git, fetch, namesOf, folder } = await start(t, allowed, undefined, onDisk);
    const { folder: repository, commit } = git.repository('a');
    write(path.join(repository, 'file'), 'hello');
    write(path.join(repository, 'tool'), '#!/bin/sh', 0o755);
    write(path.join(repository, 'below/more'), 'more');
    symlinkSync('file', path.join(repository, 'link'));
    commit('first');
    const expected = ['file', 'tool*', 'link -> file', 'below/', 'more'];
    assert.deepEqual(await namesOf('a.git'), expected);
    const type = { resource_type: 'application/x-git' };
    assert.deepEqual(await namesOf('a.git', type), expected);
    assert.deepEqual(await namesOf('a.git', { ...type, directory: 'below' }), ['more']);
    const requests = git.requests.length;
    const again = await fetch('a.git', { directory: 'below', ...type });
    assert.equal(again.status?.code, Code.OK);
    assert.equal(git.requests.length, requests);
    assert.deepEqual(globSync('data/remote_asset/downloads/*', { cwd: folder }), []);
  });

  test('AST-19, AST-07: a branch, a commit, and a commit on a branch', async (t) => {
    const { git, namesOf } = await start(t);
    const { folder: repository, commit, run } = git.repository('a');
    write(path.join(repository, 'first'), '1');
    const first = commit('first');
    write(path.join(repository, 'second'), '2');
    const second = commit('second');
    run('checkout', '--quiet', '-b', 'side/branch', first);
    write(path.join(repository, 'third'), '3');
    const third = commit('third');
    run('checkout', '--quiet', 'main');
    assert.deepEqual(await namesOf('a.git'), ['first', 'second']);
    assert.deepEqual(await namesOf('a.git', { 'vcs.branch': 'side/branch' }), ['first', 'third']);
    assert.deepEqual(await namesOf('a.git', { 'vcs.commit': first }), ['first']);
    assert.deepEqual(await namesOf('a.git', { 'vcs.commit': third }), ['first', 'third']);
    const both = { 'vcs.branch': 'main', 'vcs.commit': first };
    assert.deepEqual(await namesOf('a.git', both), ['first']);
    assert.deepEqual(await namesOf('a.git', { ...both, 'vcs.commit': second }), [
      'first',
      'second',
    ]);
    const [elsewhere] = await namesOf('a.git', { ...both, 'vcs.commit': third });
    assert.equal(elsewhere, Code.ABORTED);
  });

  test('AST-08: what a repository does not have is NOT_FOUND in the response', async (t) => {
    const { git, namesOf } = await start(t);
    const { folder: repository, commit } = git.repository('a');
    write(path.join(repository, 'file'), 'hello');
    commit('first');
    git.repository('empty');
    for (const [name, values] of [
      ['b.git', {}],
      ['empty.git', {}],
      ['a.git', { 'vcs.branch': 'none' }],
      ['a.git', { 'vcs.commit': 'a'.repeat(40) }],
      ['a.git', { directory: 'none' }],
      ['a.git', { directory: 'file' }],
    ] as const) {
      const [code, message] = await namesOf(name, values);
      assert.equal(code, Code.NOT_FOUND, `${name} ${JSON.stringify(values)} ${message}`);
    }
  });

  test('AST-19: qualifiers that make no sense are INVALID_ARGUMENT', async (t) => {
    const { fetch, git } = await start(t);
    for (const [what, values] of [
      ['a part of a commit hash', { 'vcs.commit': 'abc123' }],
      ['an option for a commit', { 'vcs.commit': '--upload-pack=touch /tmp/x' }],
      ['an option for a branch', { 'vcs.branch': '--upload-pack=x' }],
      ['a reference instead of a branch', { 'vcs.branch': 'a:refs/heads/b' }],
      ['a branch above its folder', { 'vcs.branch': 'a/../b' }],
      ['a directory outside', { directory: '../a' }],
      ['an absolute directory', { directory: '/a' }],
      ['a directory with a slash behind', { directory: 'a/' }],
      ['another type', { resource_type: 'application/zip' }],
      ['a checksum', { 'checksum.sri': `sha256-${'a'.repeat(43)}=`, 'vcs.branch': 'a' }],
    ] as const) {
      await assert.rejects(fetch('a.git', values), { code: Code.INVALID_ARGUMENT }, what);
    }
    assert.equal(git.requests.length, 0);
  });

  test('AST-20: headers and passwords go to the repository', async (t) => {
    const { git, namesOf } = await start(t, allowed, ({ headers }, response) => {
      if (headers.authorization === 'Bearer right' && headers['x-more'] === 'more') return false;
      response.writeHead(401, { 'www-authenticate': 'Basic' }).end();
      return true;
    });
    const { folder: repository, commit } = git.repository('a');
    write(path.join(repository, 'file'), 'hello');
    commit('first');
    const right = { 'http_header:Authorization': 'Bearer right', 'http_header:X-More': 'more' };
    assert.equal((await namesOf('a.git'))[0], Code.PERMISSION_DENIED);
    assert.deepEqual(await namesOf('a.git', right), ['file']);
  });

  test('over HTTPS, git trusts whom the server trusts', { skip: certificateSkip() }, async (t) => {
    const certificate = selfSigned(t);
    const git = await gitServer(t, undefined, certificate);
    const { folder, commit } = git.repository('a');
    write(path.join(folder, 'file'), 'hello');
    commit('first');
    const uris = [`${git.url}/a.git`];
    const strict = await startAssetServer(t);
    assert.equal((await strict.fetchDirectory({ uris })).status?.code, Code.UNAVAILABLE);
    const toml = `${allowed}\nca_file = ${JSON.stringify(certificate.file)}`;
    const { fetchDirectory } = await startAssetServer(t, { toml });
    assert.equal((await fetchDirectory({ uris })).status?.code, Code.OK);
  });

  test('AST-24: git asks nobody but the host that was checked', async (t) => {
    const inside = await httpOrigin(t, (_request, response) => void response.end('inside'));
    const { fetch, git } = await start(t, allowed, (request, response) => {
      if (!request.url?.startsWith('/redirecting.git')) return false;
      response.writeHead(302, { location: `${inside.url}${request.url}` }).end();
      return true;
    });
    const redirected = await fetch('redirecting.git');
    assert.equal(redirected.status?.code, Code.ABORTED);
    assert.equal(inside.requests.length, 0);
    assert.ok(git.requests.length > 0);
  });

  test('AST-24: a repository at a private address is PERMISSION_DENIED', async (t) => {
    const { fetch, git } = await start(t, '');
    const { status } = await fetch('a.git');
    assert.equal(status?.code, Code.PERMISSION_DENIED);
    assert.equal(git.requests.length, 0);
  });

  test('AST-24: submodules, filters and hooks of a repository run nothing', async (t) => {
    const { git, namesOf, folder } = await start(t);
    const { folder: repository, commit, run } = git.repository('a');
    const proof = path.join(folder, 'proof');
    const other = git.repository('other');
    const otherCommit = other.commit('other');
    write(
      path.join(repository, '.gitmodules'),
      `[submodule "m"]\n\tpath = m\n\turl = ${git.url}/other.git\n\tupdate = !touch ${proof}\n`,
    );
    write(path.join(repository, '.gitattributes'), '* filter=evil\n');
    write(path.join(repository, 'file'), 'hello');
    run('update-index', '--add', '--cacheinfo', `160000,${otherCommit},m`);
    commit('first');
    run('update-index', '--add', '--cacheinfo', `160000,${otherCommit},m`);
    run('commit', '--quiet', '--message=submodule', '--allow-empty');
    const names = await namesOf('a.git');
    assert.deepEqual(names, ['.gitattributes', '.gitmodules', 'file', 'm/']);
    assert.ok(!git.requests.some(({ url }) => url?.startsWith('/other.git')));
    assert.ok(!existsSync(proof));
  });

  test('AST-08: a repository whose files are too large is RESOURCE_EXHAUSTED', async (t) => {
    const { git, namesOf } = await start(t, `${allowed}\nmax_fetch_size = "100KiB"`);
    const { folder: repository, commit } = git.repository('a');
    write(path.join(repository, 'zeros'), '0'.repeat(200_000));
    commit('first');
    assert.equal((await namesOf('a.git'))[0], Code.RESOURCE_EXHAUSTED);
  });

  test('AST-14: a repository that does not answer is DEADLINE_EXCEEDED', async (t) => {
    const { git, fetchDirectory, folder } = await start(t, allowed, () => true, true);
    const timeout = { seconds: 0, nanos: 300_000_000 };
    const { status } = await fetchDirectory({ uris: [`${git.url}/a.git`], timeout });
    assert.equal(status?.code, Code.DEADLINE_EXCEEDED);
    assert.deepEqual(globSync('data/remote_asset/downloads/*', { cwd: folder }), []);
  });
});
