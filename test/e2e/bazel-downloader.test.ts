import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { bazelSkip, bazelWorkspace } from '../support/bazel.ts';
import { certificateSkip, selfSigned } from '../support/certificate.ts';
import { executableSkip, startUp } from '../support/executable.ts';
import { httpOrigin } from '../support/http-origin.ts';
import { inReverse } from '../support/in-reverse.ts';
import { tempDir } from '../support/temp-dir.ts';

/** As .netrc has it. */
const password = `Basic ${Buffer.from('me:secret').toString('base64')}`;

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** A repository as its maintainers would offer it: archived, with a folder around it. */
function archive(folder: string): Buffer {
  const repository = path.join(folder, 'words-1.0');
  mkdirSync(repository);
  writeFileSync(path.join(repository, 'WORKSPACE'), '');
  writeFileSync(path.join(repository, 'BUILD'), 'exports_files(["words.txt"])');
  writeFileSync(path.join(repository, 'words.txt'), 'from the archive\n');
  const file = path.join(folder, 'words.tar.gz');
  execFileSync('tar', ['-czf', file, '-C', folder, 'words-1.0']);
  return readFileSync(file);
}

// The older Bazel of the other tests, 2.1.0, has no such flag.
const bazel = '4.2.3';
const skip = executableSkip() || bazelSkip(bazel) || certificateSkip();

test(
  'BZL-21, AST-20: Bazel has its external files downloaded by the server, and once only',
  { skip },
  async (context) => {
    const t = inReverse(context);
    const archived = archive(tempDir(t));
    // Bazel does not trust it: what it gets, it gets by the server.
    const certificate = selfSigned(t);
    const files = new Map([
      ['/words.tar.gz', archived],
      ['/plain.txt', Buffer.from('a plain file\n')],
      ['/unchecked.txt', Buffer.from('of no known checksum\n')],
    ]);
    const origin = await httpOrigin(
      t,
      ({ url = '', headers }, response) => {
        const bytes = files.get(url);
        if (!bytes) response.statusCode = 404;
        if (url === '/plain.txt' && headers.authorization !== password) response.statusCode = 401;
        response.end(bytes);
      },
      certificate,
    );
    const settings = [
      'remote_asset.allowed_private_hosts=127.0.0.1',
      `remote_asset.ca_file=${certificate.file}`,
    ];
    const { port } = await startUp(t, ...settings.flatMap((one) => ['--set', one]));
    const workspace = bazelWorkspace(t, { bazel });
    const inWorkspace = (name: string) => path.join(workspace.folder, name);
    writeFileSync(
      inWorkspace('WORKSPACE'),
      `${readFileSync(inWorkspace('WORKSPACE'), 'utf8')}
load("@bazel_tools//tools/build_defs/repo:http.bzl", "http_archive", "http_file")
http_archive(
    name = "words",
    urls = ["${origin.url}/gone.tar.gz", "${origin.url}/words.tar.gz"],
    strip_prefix = "words-1.0",
    sha256 = "${sha256(archived)}",
)
http_file(
    name = "plain",
    urls = ["${origin.url}/plain.txt"],
    sha256 = "${sha256(Buffer.from('a plain file\n'))}",
)
http_file(name = "unchecked", urls = ["${origin.url}/unchecked.txt"])
`,
    );
    mkdirSync(inWorkspace('external-files'));
    writeFileSync(
      inWorkspace('external-files/BUILD.bazel'),
      `genrule(
    name = "joined",
    srcs = ["@words//:words.txt", "@plain//file", "@unchecked//file"],
    outs = ["joined.txt"],
    cmd = "cat $(SRCS) > $@",
)
`,
    );
    writeFileSync(
      path.join(workspace.folder, '../home/.netrc'),
      'machine 127.0.0.1 login me password secret\n',
    );
    const server = `grpc://127.0.0.1:${port}`;
    const build = () =>
      workspace.run(
        'build',
        '//external-files:joined',
        `--remote_cache=${server}`,
        `--experimental_remote_downloader=${server}`,
        '--repository_cache=',
      );
    const first = await build();
    // Debian 13 has this Bazel without a class that its downloader needs.
    const [broken] = /NoClassDefFoundError: \S+/.exec(first.stderr) ?? [];
    if (broken !== undefined)
      return context.skip(`this Bazel crashes at remote downloads: ${broken}`);
    assert.equal(first.exitCode, 0, first.stderr);
    const output = readFileSync(inWorkspace('bazel-bin/external-files/joined.txt'), 'utf8');
    assert.equal(output, 'from the archive\na plain file\nof no known checksum\n');
    for (const { headers } of origin.requests) assert.equal(headers['user-agent'], 'expbuild');
    const asked = new Set(origin.requests.map(({ url }) => url));
    assert.deepEqual(asked, new Set(['/gone.tar.gz', ...files.keys()]));
    assert.equal(origin.requests.length, 4);

    workspace.forget();
    const second = await build();
    assert.equal(second.exitCode, 0, second.stderr);
    assert.equal(origin.requests.length, 4);
  },
);
