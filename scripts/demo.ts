// Shows ExpBuild at work on this machine, within a few minutes and without a question: a server and a
// worker of their own in a temporary folder, a C program compiled remotely and then not at all, and a
// C++ workspace built twice by a real Bazel.
//
//   npm run demo
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { bazelSkip, bazelWorkspace } from '../test/support/bazel.ts';
import { expbuild, freePort, run, scratchFolder, startRole, stopRole } from './support.ts';

const root = scratchFolder('demo');
const endings: (() => void | Promise<void>)[] = [
  () => rmSync(root, { recursive: true, force: true }),
];
const file = (name: string, text: string) => {
  const full = path.join(root, name);
  mkdirSync(path.dirname(full), { recursive: true });
  writeFileSync(full, text);
  return full;
};
const say = (text: string) => console.log(`\n▸ ${text}`);
const after = (ending: () => void | Promise<void>) => void endings.push(ending);
const indented = (text: string) => text.trimEnd().replaceAll(/^/gm, '    ');

async function startBoth(): Promise<number> {
  const port = await freePort();
  const server = file(
    'server.toml',
    `address = "127.0.0.1:${port}"
[cas_storage]
root_path = "${root}/cas"
[action_cache]
root_path = "${root}/action-cache"
[scheduler]
root_path = "${root}/scheduler"
[remote_asset]
root_path = "${root}/remote_asset"
[logs]
root_path = "${root}/logs"
`,
  );
  const worker = file(
    'worker.toml',
    `worker_id = "demo-worker"
server_url = "http://127.0.0.1:${port}"
root_path = "${root}/worker"
`,
  );
  const serving = await startRole([expbuild, 'server', '--config', server], /serving/, () => {});
  endings.push(() => stopRole(serving));
  const working = await startRole(
    [expbuild, 'worker', '--config', worker],
    /connected to the scheduler/,
    () => {},
  );
  endings.push(() => stopRole(working));
  say(`A server on 127.0.0.1:${port} and a worker, as two processes; data in ${root}`);
  return port;
}

async function compileC(port: number): Promise<void> {
  file(
    'c/hello.c',
    '#include <stdio.h>\nint main(void) { puts("Hello from a remote compiler."); return 0; }\n',
  );
  const remote = ['--remote', `127.0.0.1:${port}`];
  const compile = async (title: string) => {
    say(title);
    const inAndOut = ['--input', path.join(root, 'c'), '--output', path.join(root, 'c-out')];
    const command = ['sh', '-c', 'gcc -O2 -o hello hello.c && ./hello'];
    const { exitCode, stdout, stderr, seconds } = await run(
      [expbuild, 'run', ...remote, ...inAndOut, '--output-path', 'hello', '--', ...command],
      {},
    );
    console.log(indented(stderr + stdout));
    if (exitCode !== 0) throw new Error(`expbuild run ended with ${exitCode}`);
    console.log(`    ${seconds.toFixed(2)} s`);
  };
  await compile('A C program, compiled and run remotely: expbuild run … -- gcc …');
  await compile('The same again: nothing has changed, so nothing runs');
}

async function buildWithBazel(port: number): Promise<void> {
  const skip = bazelSkip('2.1.0');
  if (skip !== false) {
    say(`No Bazel build: ${skip}`);
    return;
  }
  const workspace = bazelWorkspace({ after }, { bazel: '2.1.0' });
  const build = async (title: string) => {
    say(title);
    const startedAt = performance.now();
    const { exitCode, stderr, processes } = await workspace.run(
      'build',
      '//...',
      `--remote_executor=grpc://127.0.0.1:${port}`,
      '--spawn_strategy=remote',
    );
    if (exitCode !== 0) throw new Error(`Bazel ended with ${exitCode}:\n${stderr}`);
    const counts = Object.entries(processes).map(([how, count]) => `${count} ${how}`);
    console.log(`    ${counts.join(', ')}`);
    console.log(
      `    ${((performance.now() - startedAt) / 1000).toFixed(2)} s, Bazel's own start included`,
    );
    return processes;
  };
  await build('A C++ workspace, built by Bazel 2.1.0 through remote execution');
  workspace.forget();
  const again = await build('Bazel has forgotten everything and builds again');
  const others = Object.keys(again).filter((how) => how !== 'remote cache hit');
  if (others.length > 0)
    throw new Error(`expected only remote cache hits, saw ${others.join(', ')}`);
  console.log('    every action was a remote cache hit');
}

try {
  const port = await startBoth();
  await compileC(port);
  await buildWithBazel(port);
  say('Done.');
} finally {
  for (const ending of endings.toReversed()) await ending();
}
