import { Code, StatusError } from '../base/status.ts';
import type { Executor } from './executor.ts';
import { type Facts, findFacts, type LookAround } from './self-test.ts';

/** Something a level of isolation promises, in the words that people read. */
export interface Promised {
  readonly what: string;
  readonly holds: (facts: Facts) => boolean;
}

/** Those of the test itself: its shell, and what that starts. */
const processesMax = 10;

const notRoot: Promised = { what: 'not root', holds: ({ uid }) => uid > 0 };
const noCapabilities: Promised = {
  what: 'no capabilities',
  holds: ({ capabilities }) => capabilities === 0n,
};
const noNewPrivileges: Promised = {
  what: 'no new privileges',
  holds: ({ noNewPrivileges: held }) => held,
};
const noInheritedFiles: Promised = {
  what: 'no inherited files',
  holds: ({ descriptors }) => descriptors.every(isStandard),
};

/** What commands on the host are kept from, whoever they run as. */
export const hostPromises: readonly Promised[] = [noNewPrivileges, noInheritedFiles];

/** And when they run as users of their own. */
export const hostUserPromises: readonly Promised[] = [notRoot, noCapabilities, ...hostPromises];

/** What commands on the host are kept from where the kernel can: see `restrictHost()`. */
export const noKeyrings: Promised = { what: 'no keyrings', holds: ({ seccomp }) => seccomp };
export const noFilesElsewhere: Promised = {
  what: 'no files outside of its folders',
  holds: ({ outsideWritable }) => !outsideWritable,
};

const noNetwork: Promised = {
  what: 'no network',
  holds: ({ networkInterfaces }) => networkInterfaces.join() === 'lo',
};

/** What a command sees of a place of its own, whatever kernel it runs on. */
const ownPlace: readonly Promised[] = [
  noNetwork,
  { what: 'read-only root', holds: ({ rootWritable }) => !rootWritable },
  { what: 'private /tmp', holds: ({ mountPoints }) => mountPoints.includes('/tmp') },
  { what: 'own processes only', holds: ({ processesSeen }) => processesSeen <= processesMax },
];

export const sandboxPromises: readonly Promised[] = [
  ...hostUserPromises,
  { what: 'filtered system calls', holds: ({ seccomp }) => seccomp },
  ...ownPlace,
  { what: 'no new namespaces', holds: ({ newUserNamespace }) => !newUserNamespace },
];

/** A container has what a sandbox has, by other means. */
export const dockerPromises: readonly Promised[] = [...sandboxPromises];

/** It says so in its log, and has one version for ever, which images without `dmesg` can read. */
const gvisorKernel = /Starting gVisor|^Linux version 4\.4\.0 #1 SMP Sun Jan 10 15:06:54 PST 2016/;

/**
 * gVisor keeps commands from the machine's kernel by being another: that one gives no privileges that
 * could be gained, makes namespaces within itself, and tells nothing of the filter around it.
 */
export const gvisorPromises: readonly Promised[] = [
  { what: "gVisor's kernel", holds: ({ kernel }) => gvisorKernel.test(kernel) },
  notRoot,
  noCapabilities,
  noInheritedFiles,
  ...ownPlace,
];

/** What is promised to commands that ask for a network and get a prepared one. */
export function withNetwork(promises: readonly Promised[], network: Promised): Promised[] {
  return [...promises.filter((promised) => promised !== noNetwork), network];
}

function isStandard(descriptor: string): boolean {
  return ['0', '1', '2'].includes(descriptor);
}

/**
 * Runs a command in an executor that looks for each promise to be kept (DK-15). Fails with
 * FAILED_PRECONDITION, naming those that are not. Its folder must not exist; the caller removes it.
 */
export async function provePromises(
  promises: readonly Promised[],
  executor: Executor,
  looking: LookAround,
  signal: AbortSignal,
): Promise<void> {
  const facts = await findFacts(executor, looking, signal);
  const broken = promises.filter(({ holds }) => !holds(facts)).map(({ what }) => what);
  if (broken.length === 0) return;
  throw new StatusError(
    Code.FAILED_PRECONDITION,
    `a first command was run without: ${broken.join(', ')}`,
  );
}
