import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { becomes, holdsLine } from '../support/appears.ts';
import { executable, executableSkip, startRole } from '../support/executable.ts';
import { Farm, linesOf } from '../support/farm.ts';
import { inReverse } from '../support/in-reverse.ts';

/** Another machine, as far as the network goes: one cable leads there. */
interface Beside {
  /** Before a program, so that it runs there. */
  readonly there: readonly string[];
  /** From now on every packet is lost, both ways, and nobody is told. */
  cut(): void;
}

/** A network of documentation (RFC 5737): nobody has it. */
const hereAddress = '198.51.100.1';
const thereAddress = '198.51.100.2';

const ip = (...args: readonly string[]) => execFileSync('/usr/sbin/ip', args, { stdio: 'pipe' });

/** Undefined where this user may not make networks. */
function machineBeside(t: Pick<TestContext, 'after'>): Beside | undefined {
  const name = `expbuild${process.pid}`;
  const there = ['/usr/bin/nsenter', `--net=/run/netns/${name}`];
  const inThere = (file: string, ...args: readonly string[]) =>
    execFileSync(there[0] ?? '', [...there.slice(1), file, ...args], { stdio: 'pipe' });
  try {
    ip('netns', 'add', name);
    t.after(() => ip('netns', 'del', name));
    ip('link', 'add', `x${process.pid}`, 'type', 'veth', 'peer', 'name', 'cable', 'netns', name);
    // Connections that wait for an answer keep a network for minutes after its last process.
    t.after(() => ip('link', 'del', `x${process.pid}`));
    ip('addr', 'add', `${hereAddress}/30`, 'dev', `x${process.pid}`);
    ip('link', 'set', `x${process.pid}`, 'up');
    inThere('/usr/sbin/ip', 'addr', 'add', `${thereAddress}/30`, 'dev', 'cable');
    inThere('/usr/sbin/ip', 'link', 'set', 'cable', 'up');
    inThere('/usr/sbin/iptables', '--list', 'INPUT');
  } catch {
    return undefined;
  }
  const drop = (chain: string) =>
    inThere('/usr/sbin/iptables', '--append', chain, '--jump', 'DROP');
  return {
    there,
    cut: () => {
      drop('INPUT');
      drop('OUTPUT');
    },
  };
}

/** TCP connections with the other machine that a process's network takes for alive. */
function connectionsOf(pid: number, port: number): string[] {
  const far = [thereAddress, hereAddress].map((address) =>
    Buffer.from(address.split('.').map(Number).toReversed()).toString('hex').toUpperCase(),
  );
  const ofPort = port.toString(16).toUpperCase().padStart(4, '0');
  return readFileSync(`/proc/${pid}/net/tcp`, 'utf8')
    .split('\n')
    .filter((line) => {
      const [, local = '', remote = '', state] = line.trim().split(/\s+/);
      const isOurs = far.some((address) => remote.startsWith(address));
      return state === '01' && isOurs && (local + remote).includes(`:${ofPort}`);
    });
}

test(
  'SC-28: connections to a worker and from a client that are dead without a word are closed, and what depends on them goes on',
  { skip: executableSkip(), timeout: 240_000 },
  async (c) => {
    const t = inReverse(c);
    const beside = machineBeside(t);
    if (!beside) {
      c.skip('needs the right to make networks (root, ip, iptables, nsenter)');
      return;
    }
    const farm = await Farm.create(t, '0.0.0.0');
    const server = await farm.startServer(undefined, '[execution]\nabandon_running_after = "1s"');
    const url = `${hereAddress}:${farm.port}`;
    const seen = farm.folder('seen');
    const far = await farm.startWorker('far', {
      toml: `server_url = "${url}"`,
      program: [...beside.there, executable],
    });
    // Runs on the far worker first, and is watched from here.
    const started = holdsLine(seen, 'moves');
    const moves = farm.run(
      `echo x >> ${seen}/moves; [ $(wc -l < ${seen}/moves) = 2 ] || sleep 600; echo moved`,
    );
    await started;
    // Runs here, and is watched from there.
    const near = await farm.startWorker('near', { pool: ['any', 'near'] });
    const alone = holdsLine(seen, 'alone');
    const script = `echo x >> ${seen}/alone; sleep 600`;
    const flags = ['--remote', url, '--platform', 'pool=near', '--', 'sh', '-c', script];
    const client = await startRole(t, ['run', ...flags], /executing/, {}, [
      ...beside.there,
      executable,
    ]);
    await alone;
    assert.ok(connectionsOf(server.pid, farm.port).length >= 2);

    beside.cut();
    const cutAt = performance.now();
    const closed = [server, far, client].map(async ({ pid }, n) => {
      await becomes(
        () => connectionsOf(pid, farm.port),
        ({ length }) => length === 0,
      );
      const seconds = ((performance.now() - cutAt) / 1_000).toFixed(1);
      c.diagnostic(`${['server', 'worker', 'client'][n]} closed after ${seconds} s`);
    });
    await Promise.all([...closed, near.printed(/action cancelled/)]);
    const { stdout, stderr } = await moves;
    assert.equal(stdout, 'moved\n', stderr);
    assert.match(stderr, /executed on near/);
    assert.deepEqual(linesOf(path.join(seen, 'alone')), ['x']);
    // They try to connect for as long as the test would wait.
    await Promise.all([client.kill(), far.kill()]);
  },
);
