import type { Argv } from 'yargs';
import { aborted } from '../base/aborted.ts';
import { readServerConfig } from '../config/server-config.ts';
import type { Program } from './command.ts';
import { ExitCode } from './exit-codes.ts';
import { localWorkerConfig, type RoleFlags, roleFlags, sourcesOf } from './role-flags.ts';
import { roleLog } from './role-log.ts';

export interface ServerOptions extends RoleFlags {
  readonly address: string | undefined;
}

export const serverCommand = {
  command: 'server',
  describe: 'Serve clients and workers',
  flags: (yargs: Argv) =>
    roleFlags(yargs)
      .option('address', {
        type: 'string',
        describe: 'Where to listen; 127.0.0.1:50051 by default',
      })
      .example('$0 server --config configs/server/server.toml', 'As the file says')
      .example('$0 server --address 0.0.0.0:50051 --set cas_storage.max_size=100GiB', ''),
};

/** Serves until the person wants to leave, then ends in good order. */
export async function server(program: Program, options: ServerOptions): Promise<number> {
  const { terminal, surroundings, clock, newId, leaving } = program;
  const flags = [{ key: 'address', value: options.address, flag: '--address' }];
  const config = readServerConfig(sourcesOf(options, flags, surroundings), surroundings);
  const isDirect = config.execution.backend === 'direct';
  // Read first: what is wrong with it is told before anything is started.
  const workerConfig = isDirect ? localWorkerConfig(surroundings) : undefined;
  const log = roleLog(config.logging, terminal, clock);
  await using closing = new AsyncDisposableStack();
  // Loaded here, so that the other commands start without it.
  const { startServer } = await import('./server.ts');
  const running = await startServer(config, { clock, newId, log }, closing);
  if (workerConfig) {
    const { startLocalWorker } = await import('./local-worker.ts');
    await startLocalWorker(workerConfig, running, program, log, closing);
  }
  log.info('serving', { address: running.address, execution: config.execution.backend });
  await aborted(leaving);
  running.drain();
  log.info('stopping');
  return ExitCode.OK;
}
