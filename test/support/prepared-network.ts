import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { sandboxSkip } from './sandbox.ts';

/** Why the network namespace of another process cannot be joined here; false when it can. */
export const preparedNetworkSkip: string | false =
  process.getuid?.() === 0 && spawnSync('unshare', ['--net', 'true']).status === 0
    ? sandboxSkip
    : 'needs root to join the network namespace of others';

/** Says hello to whoever connects. */
const server = `
  const { createServer } = require('node:net');
  createServer((socket) => socket.end('hello from inside\\n'))
    .listen(8080, '127.0.0.1', () => console.log(process.pid));`;

/**
 * A network namespace with a loopback interface alone, and a server on its port 8080, gone after the test;
 * its path. Needs bubblewrap, which makes both.
 */
export async function prepareNetwork(t: Pick<TestContext, 'after'>): Promise<string> {
  const args = ['--unshare-net', '--dev-bind', '/', '/', '--die-with-parent'];
  const inside = spawn('bwrap', [...args, process.execPath, '-e', server], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => inside.kill());
  const ended = once(inside, 'exit').then(() => Promise.reject(new Error('bwrap ended')));
  const [line] = (await Promise.race([once(inside.stdout, 'data'), ended])) as [Buffer];
  return `/proc/${line.toString().trim()}/ns/net`;
}
