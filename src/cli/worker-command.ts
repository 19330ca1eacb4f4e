import type { Argv } from 'yargs';
import { aborted } from '../base/aborted.ts';
import { formatAddress } from '../config/address.ts';
import { readWorkerConfig } from '../config/worker-config.ts';
import type { Program } from './command.ts';
import { ExitCode } from './exit-codes.ts';
import { type RoleFlags, roleFlags, slotsFlag, sourcesOf } from './role-flags.ts';
import { roleLog } from './role-log.ts';

export interface WorkerOptions extends RoleFlags {
  readonly join: string | undefined;
  readonly server: string | undefined;
  readonly slots: number | undefined;
}

export const workerCommand = {
  command: 'worker',
  describe: 'Run actions for a server',
  flags: (yargs: Argv) =>
    roleFlags(yargs)
      .option('join', {
        type: 'string',
        describe: 'The server, which holds the blobs too: sets server_url and cas_url',
      })
      .option('server', { type: 'string', describe: 'Sets server_url alone', conflicts: 'join' })
      .option('slots', slotsFlag)
      .example('$0 worker --config configs/worker/worker.toml', 'As the file says')
      .example(
        '$0 worker --join grpc://build-server:50051',
        'For that server, whatever the file says',
      )
      .example('$0 worker --join build-server:50051 --set platform.pool=fast', ''),
};

/** Works until the person wants to leave; actions that run then are finished. */
export async function worker(program: Program, options: WorkerOptions): Promise<number> {
  const { terminal, surroundings, clock, newId, leaving } = program;
  const flags = [
    { key: 'server_url', value: options.server, flag: '--server' },
    { key: 'server_url', value: options.join, flag: '--join' },
    { key: 'cas_url', value: options.join, flag: '--join' },
    { key: 'slots', value: options.slots, flag: '--slots' },
  ];
  const config = readWorkerConfig(sourcesOf(options, flags, surroundings), surroundings);
  const log = roleLog(config.logging, terminal, clock);
  await using closing = new AsyncDisposableStack();
  const [{ startWorker }, { remotePorts }] = await Promise.all([
    import('./worker.ts'),
    import('./remote-ports.ts'),
  ]);
  const ports = remotePorts(config, { clock, newId }, closing);
  const deps = { clock, newId, log, surroundings };
  const running = await startWorker(config, ports, deps, closing);
  const { workerId, slots } = running;
  log.info('working', { worker: workerId, slots, server: formatAddress(config.server) });
  await Promise.race([aborted(leaving), running.ended]);
  log.info('stopping; a second Ctrl-C does not wait for running actions');
  return ExitCode.OK;
}
