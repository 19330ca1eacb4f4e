import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readClientConfig } from '../../src/config/client-config.ts';
import { findClientConfigFile } from '../../src/config/config-file.ts';
import { readServerConfig } from '../../src/config/server-config.ts';
import type { Surroundings } from '../../src/config/surroundings.ts';
import { readWorkerConfig } from '../../src/config/worker-config.ts';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { tempDir } from '../support/temp-dir.ts';

const surroundings: Surroundings = {
  environment: {},
  homeFolder: '/home/me',
  workingFolder: '/here',
  uid: 1000,
  memoryBytes: 2 ** 30,
  cores: 4,
  os: 'linux',
  arch: 'x64',
};
const sources = (text: string) => ({
  file: { path: 'x.toml', text },
  environment: {},
  flags: [],
});

test('a server without configuration keeps its data in the XDG data folder', () => {
  const config = readServerConfig(sources(''), surroundings);
  assert.equal(config.casStorage.rootPath, '/home/me/.local/share/expbuild/cas');
  assert.equal(config.actionCache.rootPath, '/home/me/.local/share/expbuild/action_cache');
  assert.equal(config.schedulerRootPath, '/home/me/.local/share/expbuild/scheduler');
  assert.deepEqual(config.address, { host: '127.0.0.1', port: 50_051 });
  assert.deepEqual(config.instanceNames, ['', 'main']);
  assert.deepEqual(config.digestFunctions, ['SHA256', 'BLAKE3']);
  assert.equal(config.casStorage.maxSizeBytes, 50 * 2 ** 30);
  assert.equal(config.execution.defaultTimeoutMs, 15 * 60_000);
});

const shared = (entry: string) =>
  sources(`instance_names = ["a", "b", "c"]\n[shared_storage]\n${entry}`);

test('instances may use the storage of another, by the file, a variable or a flag', () => {
  const expected = new Map([['b', 'a']]);
  const fromFile = readServerConfig(shared('b = "a"'), surroundings);
  assert.deepEqual(fromFile.sharedStorage, expected);
  const bare = sources('instance_names = ["a", "b"]');
  const environment = { EXPBUILD_SHARED_STORAGE: 'b=a' };
  assert.deepEqual(
    readServerConfig({ ...bare, environment }, surroundings).sharedStorage,
    expected,
  );
  const flags = [{ key: 'shared_storage.b', value: 'a', flag: '--set' }];
  assert.deepEqual(readServerConfig({ ...bare, flags }, surroundings).sharedStorage, expected);
  assert.equal(readServerConfig(bare, surroundings).sharedStorage.size, 0);
});

test('an instance cannot be named twice', () => {
  assert.throws(() => readServerConfig(sources('instance_names = ["a", "b", "a"]'), surroundings), {
    message: /x\.toml:1: key "instance_names" names an instance twice/,
  });
});

for (const [entry, complaint] of [
  ['x = "a"', 'key "shared_storage" has "x" = "a": instance_names has no "x"'],
  ['a = "x"', 'key "shared_storage" has "a" = "x": instance_names has no "x"'],
  ['a = "a"', 'key "shared_storage" has "a" = "a": "a" has no storage of its own'],
  ['c = "b"\nb = "a"', 'key "shared_storage" has "c" = "b": "b" has no storage of its own'],
  ['b = ["a", "c"]', 'x.toml:3: key "shared_storage.b" must be a text; it is ["a","c"]'],
] as const) {
  test(`storage cannot be shared by ${entry.replace('\n', ', ')}`, () => {
    assert.throws(() => readServerConfig(shared(entry), surroundings), { message: complaint });
  });
}

test('blobs in memory are bounded by what a machine has of it', () => {
  const memory = '[cas_storage]\ntype = "memory"';
  assert.equal(readServerConfig(sources(memory), surroundings).casStorage.maxSizeBytes, 2 ** 30);
  const larger = readServerConfig(sources(`${memory}\nmax_size = "3GiB"`), surroundings);
  assert.equal(larger.casStorage.maxSizeBytes, 3 * 2 ** 30);
});

test('what no action may ask for, none gets unasked', () => {
  const { execution } = readServerConfig(sources('[execution]\nmax_timeout = "5m"'), surroundings);
  assert.equal(execution.defaultTimeoutMs, 5 * 60_000);
});

test('XDG_DATA_HOME is honoured, and folders are made absolute', () => {
  const elsewhere = { ...surroundings, environment: { XDG_DATA_HOME: '/data' } };
  const config = readServerConfig(sources('[cas_storage]\nroot_path = "blobs"'), elsewhere);
  assert.equal(config.casStorage.rootPath, '/here/blobs');
  assert.equal(config.actionCache.rootPath, '/data/expbuild/action_cache');
});

test('an action cache on "filesystem" is one in SQLite', () => {
  const config = readServerConfig(sources('[action_cache]\ntype = "filesystem"'), surroundings);
  assert.equal(config.actionCache.type, 'sqlite');
});

test('a worker offers what is configured, and the OS and ISA of its machine', () => {
  const toml = '[platform]\nos = "linux"\npool = ["a", "b"]';
  const config = readWorkerConfig(sources(toml), surroundings);
  assert.deepEqual(config.properties, [
    { name: 'os', value: 'linux' },
    { name: 'pool', value: 'a' },
    { name: 'pool', value: 'b' },
    { name: 'OSFamily', value: 'linux' },
    { name: 'ISA', value: 'x86-64' },
  ]);
});

test('a worker may claim another OS and ISA than its machine has', () => {
  const config = readWorkerConfig(
    sources('platform = { OSFamily = "qnx", ISA = [] }'),
    surroundings,
  );
  assert.deepEqual(config.properties, [{ name: 'OSFamily', value: 'qnx' }]);
});

test('a worker takes blobs from its server, and as many actions as cores, unless told otherwise', () => {
  const config = readWorkerConfig(sources('server_url = "grpc://far:7"'), surroundings);
  assert.deepEqual(config.cas, { host: 'far', port: 7 });
  assert.equal(config.slots, 4);
});

const usersOf = (toml: string, uid = 1000) =>
  readWorkerConfig(sources(toml), { ...surroundings, uid }).executor.users;

test('commands run as the worker does unless it is root, or users are given', () => {
  assert.equal(usersOf(''), undefined);
  assert.deepEqual(usersOf('', 0), { firstUid: 64_000, gid: undefined, isFixed: false });
  assert.equal(usersOf('[executor]\nuid = 0', 0), undefined);
  assert.deepEqual(usersOf('[executor]\nuid = 70_000'), {
    firstUid: 70_000,
    gid: undefined,
    isFixed: true,
  });
  assert.deepEqual(usersOf('[executor]\nuid = 1\ngid = 2'), { firstUid: 1, gid: 2, isFixed: true });
  assert.deepEqual(usersOf('[executor]\ngid = 2', 0), { firstUid: 64_000, gid: 2, isFixed: false });
  assert.throws(
    () => usersOf('[executor]\nuid = 2147483647'),
    /"executor.uid" must be .*2147473647/,
  );
  assert.throws(
    () => usersOf('[executor]\nmemory_max = "1KiB"'),
    /"executor.memory_max" must be "16MiB" or more/,
  );
  assert.throws(() => usersOf('[executor]\ngid = 2'), /"executor.gid" needs "executor.uid"/);
});

const namespaceOf = (lines: string) =>
  readWorkerConfig(sources(`[executor]\n${lines}`), surroundings).executor.networkNamespace;

test('a prepared network is found by name or path', () => {
  const sandboxed = 'type = "sandbox"\nnetwork = "on-request"';
  assert.equal(namespaceOf(sandboxed), undefined);
  assert.equal(namespaceOf(`${sandboxed}\nnetwork_namespace = "builds"`), '/run/netns/builds');
  assert.equal(namespaceOf(`${sandboxed}\nnetwork_namespace = "/a/../b"`), '/b');
  for (const [lines, complaint] of [
    ['', /needs executor.type = "sandbox" and executor.network = "on-request"/],
    ['network = "on-request"', /needs executor.type = "sandbox"/],
    ['type = "sandbox"', /and executor.network = "on-request"/],
    [`${sandboxed}\nuid = 0`, undefined],
  ] as const) {
    const namespace = () => namespaceOf(`${lines}\nnetwork_namespace = "builds"`);
    if (complaint) assert.throws(namespace, complaint);
    else assert.equal(namespace(), '/run/netns/builds');
  }
  for (const name of ['.', '..', 'a/b']) {
    const namespace = () => namespaceOf(`${sandboxed}\nnetwork_namespace = "${name}"`);
    assert.throws(namespace, /must be a name, such as "builds", or an absolute path/);
  }
});

test("root's data is where the users that its commands run as can get to", () => {
  const root = { ...surroundings, homeFolder: '/root' };
  assert.equal(readWorkerConfig(sources(''), root).rootPath, '/var/lib/expbuild/worker');
});

test('a client speaks to this machine unless told otherwise', () => {
  assert.deepEqual(readClientConfig(sources('')), {
    remote: { host: 'localhost', port: 50_051 },
    instanceName: 'main',
    digestFunction: 'SHA256',
    compression: 'off',
    chunking: 'off',
  });
});

test("a client's configuration is that of the working folder, else the user's", (t) => {
  const folder = tempDir(t);
  const here = { ...surroundings, workingFolder: folder, homeFolder: folder };
  assert.equal(findClientConfigFile(here), undefined);
  const ofUser = path.join(folder, '.config', 'expbuild');
  mkdirSync(ofUser, { recursive: true });
  writeFileSync(path.join(ofUser, 'config.toml'), '# user');
  assert.equal(findClientConfigFile(here)?.text, '# user');
  writeFileSync(path.join(folder, 'expbuild.toml'), '# folder');
  assert.equal(findClientConfigFile(here)?.text, '# folder');
});

const offeredWithDocker = (more: string) =>
  readWorkerConfig(
    sources(
      `${more}\n[executor]\ntype = "docker"\n[executor.docker]\nimage = "a:1"\nallowed_images = ["b/*"]`,
    ),
    surroundings,
  ).properties.flatMap(({ name, value }) => (/[A-Z]/.test(name) ? [] : [`${name}=${value}`]));

test('a worker with Docker offers its images, unless told otherwise', () => {
  const images = ['a:1', 'docker://a:1', 'b/*', 'docker://b/*'];
  assert.deepEqual(
    offeredWithDocker(''),
    images.map((image) => `container-image=${image}`),
  );
  assert.deepEqual(offeredWithDocker('[platform]\ncontainer-image = "c"'), ['container-image=c']);
});

for (const [toml, complaint] of [
  ['', /"executor.docker.image" is needed when "executor.type" is "docker"/],
  [
    '[executor.docker]\nimage = "a"\nnetwork = "host"',
    /must be a network for containers alone; it is "host"/,
  ],
  [
    '[executor.docker]\nimage = "a"\nnetwork = "container:x"',
    /must be a network for containers alone/,
  ],
] as const) {
  test(`a worker with Docker is refused with ${JSON.stringify(toml)}`, () => {
    const text = `[executor]\ntype = "docker"\n${toml}`;
    assert.throws(() => readWorkerConfig(sources(text), surroundings), complaint);
  });
}
