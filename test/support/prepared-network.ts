import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { TestContext } from 'node:test';

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
  const [line] = (await once(inside.stdout, 'data')) as [Buffer];
  return `/proc/${line.toString().trim()}/ns/net`;
}
