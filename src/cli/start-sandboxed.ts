import path from 'node:path';
import type { Log } from '../base/log.ts';
import type { Surroundings } from '../config/surroundings.ts';
import type { WorkerConfig } from '../config/worker-config.ts';
import type { Owner } from '../executor/executor.ts';
import { findNetworkNamespace } from '../executor/network-namespace.ts';
import { sandboxPromises, withNetwork } from '../executor/promises.ts';
import { Sandbox } from '../executor/sandbox.ts';
import { commandLimits } from './command-limits.ts';
import { launcherCommand } from './launcher-command.ts';
import { proofOf, prove } from './prove-isolation.ts';
import { described, startLaunchers } from './start-launchers.ts';
import type { LevelledExecutors } from './started-executors.ts';

const sandboxHelp =
  'Allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, or a profile for bwrap where ' +
  'AppArmor restricts them; in a container, an unmasked /proc), or choose executor.type = "host"';

/** Starts commands in sandboxes. Fails with FAILED_PRECONDITION when this machine cannot make them as promised. */
export async function startSandboxed(
  config: WorkerConfig,
  users: readonly (Owner | undefined)[],
  { environment }: Pick<Surroundings, 'environment'>,
  log: Log,
  closing: AsyncDisposableStack,
): Promise<LevelledExecutors> {
  const { executor, rootPath } = config;
  const { networkNamespace } = executor;
  const network = networkNamespace ? await findNetworkNamespace(networkNamespace) : undefined;
  const limits = commandLimits(config);
  const sandbox = await Sandbox.find({
    searchPath: environment['PATH'] ?? '',
    folder: path.join(rootPath, 'sandbox'),
    readonlyPaths: executor.readonlyPaths,
    tmpBytesMax: executor.tmpMaxSizeBytes,
    processesMax: executor.users ? undefined : limits.userProcessesMax,
    networkAllowed: executor.network === 'on-request',
    resolvConf: network?.resolvConf,
  });
  // Commands that ask for no network have none; the others have the one of their launcher.
  const launcher = [...(network?.join ?? []), ...launcherCommand()] as [string, ...string[]];
  const options = { ...limits, sandbox, launcherCommand: launcher };
  const [first] = await startLaunchers(options, users.slice(0, 1), closing);
  const proofs = [proofOf('sandbox', sandboxPromises, sandboxHelp)];
  if (network) {
    const promises = withNetwork(sandboxPromises, network.promise);
    proofs.push(proofOf('sandbox', promises, sandboxHelp, { network: true }));
  }
  if (first) await prove(first, proofs, config);
  const others = await startLaunchers(options, users.slice(1), closing, 1);
  const onRequest = network?.promise.what ?? "the machine's network on request";
  const name =
    `sandbox: bubblewrap ${sandbox.version}` +
    (executor.network === 'on-request' ? `, ${onRequest}` : '');
  const isolation = described(name, users, sandboxPromises, options);
  log.info('executor', { isolation });
  return { executors: first ? [first, ...others] : [], isolation, proofs, level: 'sandbox' };
}
