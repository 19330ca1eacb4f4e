import assert from 'node:assert/strict';
import { globSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { comesTrue } from '../support/appears.ts';
import {
  dockerSkip,
  firstRemapped,
  remapSkip,
  startDockerDaemon,
} from '../support/docker-daemon.ts';
import { executableSkip } from '../support/executable.ts';
import { Farm } from '../support/farm.ts';
import { inReverse } from '../support/in-reverse.ts';
import { runCli } from '../support/run-cli.ts';

/** Where an action of the worker "one" runs, once it has made a file of this name. */
async function startedIn(farm: Farm, name: string): Promise<string> {
  for (;;) {
    const [file] = globSync(path.join(farm.root, 'one/actions/*/root', name));
    if (file !== undefined) return path.dirname(file);
    await wait(50);
  }
}

describe('files of commands in containers', { timeout: 180_000 }, () => {
  for (const [whose, isRemapping, skip] of [
    ["the slot's user's", false, dockerSkip],
    ["a remapped user's, where the daemon remaps users", true, remapSkip],
  ] as const) {
    it(
      `DK-09, DK-10: are ${whose}, in a folder that root alone can replace; all are collected and removed`,
      {
        skip: skip || executableSkip(),
      },
      async (c) => {
        const t = inReverse(c);
        const daemon = await startDockerDaemon(t, { isRemapping });
        daemon.busybox();
        const farm = await Farm.create(t);
        await farm.startServer();
        const docker = `socket = "${daemon.socket}"\nimage = "busybox:test"\npull = "never"`;
        const executor = `type = "docker"\n[executor.docker]\n${docker}`;
        await farm.startWorker('one', { executor, slots: 1 });
        const input = farm.folder('input');
        mkdirSync(path.join(input, 'in'));
        writeFileSync(path.join(input, 'in/f'), 'given\n', { mode: 0o600 });
        const script = `touch begun; until [ -e go ]; do sleep 0.05; done
        cat in/f; id -u; stat -c %u in; mv in/f in/moved; umask 077
        mkdir -p out/deep; echo made > out/deep/f; ln -s f out/deep/l; chmod 500 out/deep`;
        const argv = ['run', '--remote', `127.0.0.1:${farm.port}`, '--input', input];
        const running = runCli(
          [...argv, '--output-path', 'out', '--output', farm.root, '--', 'sh', '-c', script],
          { folder: farm.root },
        );
        const root = await startedIn(farm, 'begun');
        const user = statSync(root).uid - (isRemapping ? firstRemapped : 0);
        // What Docker was told to mount cannot become a link to something else.
        for (let above = path.dirname(root); above !== farm.root; above = path.dirname(above)) {
          const { uid, mode } = statSync(above);
          assert.deepEqual([above, uid, mode & 0o022], [above, 0, 0]);
        }
        writeFileSync(path.join(root, 'go'), '');
        const { stdout, stderr } = await running;
        assert.equal(stdout, `given\n${user}\n${user}\n`, stderr);
        assert.ok(user >= 64_000 && user < 65_536, String(user));
        assert.equal(readFileSync(path.join(farm.root, 'out/deep/f'), 'utf8'), 'made\n');
        assert.equal(readlinkSync(path.join(farm.root, 'out/deep/l')), 'f');
        const actions = path.join(farm.root, 'one/actions');
        await comesTrue(actions, () => readdirSync(actions).length === 0);
        assert.deepEqual(daemon.containers(), []);
      },
    );
  }
});
