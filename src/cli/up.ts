import path from 'node:path';
import type { Argv } from 'yargs';
import { aborted } from '../base/aborted.ts';
import { ConfigError } from '../config/read-config.ts';
import { readServerConfig } from '../config/server-config.ts';
import { dataFolder } from '../config/surroundings.ts';
import type { Program } from './command.ts';
import { ExitCode } from './exit-codes.ts';
import {
  localWorkerConfig,
  type RoleFlags,
  roleFlags,
  slotsFlag,
  sourcesOf,
} from './role-flags.ts';
import { roleLog } from './role-log.ts';
import type { Terminal } from './terminal.ts';

export interface UpOptions extends RoleFlags {
  readonly address: string | undefined;
  readonly data: string | undefined;
  readonly slots: number | undefined;
}

export const upCommand = {
  command: 'up',
  describe: 'Server, worker and storage in one process, for this machine',
  flags: (yargs: Argv) =>
    roleFlags(yargs)
      .option('address', {
        type: 'string',
        describe: 'Where to listen; 127.0.0.1:50051 by default',
      })
      .option('data', {
        type: 'string',
        describe: 'Folder of all data; ~/.local/share/expbuild (root: /var/lib/expbuild)',
      })
      .option('slots', slotsFlag)
      .example('$0 up', 'No configuration needed')
      .example('$0 up --address 127.0.0.1:0 --data /tmp/try', 'A free port, and data of its own'),
};

/** Serves until the person wants to leave; actions that run then are finished. */
export async function up(program: Program, options: UpOptions): Promise<number> {
  const { terminal, surroundings, clock, newId, leaving } = program;
  const { slots } = options;
  const flags = [{ key: 'address', value: options.address, flag: '--address' }];
  const data = path.resolve(options.data ?? dataFolder(surroundings));
  const config = readServerConfig(sourcesOf(options, flags, surroundings), surroundings, data);
  if (config.execution.backend === 'none') {
    throw new ConfigError(['up runs actions: with execution.backend "none", use expbuild server']);
  }
  const workerConfig = localWorkerConfig(surroundings, data, slots);
  const log = roleLog(config.logging, terminal, clock);
  await using closing = new AsyncDisposableStack();
  const { startServer } = await import('./server.ts');
  const running = await startServer(config, { clock, newId, log }, closing);
  const { startLocalWorker } = await import('./local-worker.ts');
  const worker = await startLocalWorker(workerConfig, running, program, log, closing);
  greet(terminal, {
    address: running.address,
    data,
    slots: worker.slots,
    isolation: worker.isolation,
  });
  await aborted(leaving);
  running.drain();
  log.info('stopping; a second Ctrl-C does not wait for running actions');
  return ExitCode.OK;
}

interface Greeting {
  readonly address: string;
  readonly data: string;
  readonly slots: number;
  readonly isolation: string;
}

function greet(terminal: Terminal, { address: bound, data, slots, isolation }: Greeting): void {
  // What means every address of this machine to a server means none to a client.
  const address = bound.replace(/^(?:0\.0\.0\.0|\[::\]):/, '127.0.0.1:');
  const lines = [
    `expbuild is up at grpc://${address}`,
    `  data      ${data}`,
    `  actions   ${slots} at once`,
    `  executor  ${isolation}`,
    '',
    'For Bazel, in .bazelrc:',
    '',
    `build --remote_executor=grpc://${address}`,
    'build --remote_instance_name=main',
    `build --jobs=${Math.max(50, slots * 4)}`,
    '',
    'For the cache alone, in place of the first line:',
    '',
    `build --remote_cache=grpc://${address}`,
    '',
    `Try it: ${calledAs()} run --remote ${address} -- uname -a`,
    'Ctrl-C stops it.',
  ];
  for (const line of lines) terminal.out(line);
}

/** The executable as this shell finds it, which after a build is not in its PATH. */
function calledAs(): string {
  return /(?:^|\/)expbuild$/.test(process.argv0) ? process.argv0 : 'expbuild';
}
