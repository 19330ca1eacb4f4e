import { chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { makeFolder } from '../base/make-folder.ts';
import { Code, StatusError } from '../base/status.ts';
import { defaultPath } from './find-executable.ts';
import type { Command, Executor, Owner } from './executor.ts';

/** What a command found out about where it runs. */
export interface Facts {
  readonly uid: number;
  /** The capabilities it has or could get, as a number: none is 0. */
  readonly capabilities: bigint;
  readonly noNewPrivileges: boolean;
  /** It runs under a filter of system calls. */
  readonly seccomp: boolean;
  readonly networkInterfaces: readonly string[];
  /** The kernel's name for it; empty where it has none. */
  readonly networkNamespace: string;
  readonly rootWritable: boolean;
  /** It could make a file in the folder that was made for it outside. */
  readonly outsideWritable: boolean;
  /** How many processes it sees, those of the test among them. */
  readonly processesSeen: number;
  readonly newUserNamespace: boolean;
  readonly descriptors: readonly string[];
  readonly mountPoints: readonly string[];
  /** What the kernel says of itself, and of its start where a command may read that. */
  readonly kernel: string;
}

/** Where and how a command looks around. */
export interface LookAround extends Pick<Command, 'folder' | 'network'> {
  /** Where a folder is made for the command that it should not be able to make a file in; undefined for nowhere. */
  readonly outside?: string | undefined;
}

/** Looks around, with what every system has. */
const script = `
echo '== status'; cat /proc/self/status
echo '== network'; cat /proc/net/dev
echo '== network namespace'; readlink /proc/self/ns/net || true
echo '== mounts'; cat /proc/self/mountinfo
echo '== processes'; for at in /proc/[0-9]*; do echo "$at"; done
echo '== descriptors'; for at in /proc/$$/fd/*; do if [ -e "$at" ]; then echo "\${at##*/}"; fi; done
echo '== root'; if (: > /expbuild-self-test) 2>/dev/null; then rm /expbuild-self-test; echo writable; fi
echo '== outside'; if (: > "$OUTSIDE/expbuild-self-test") 2>/dev/null; then echo writable; fi
echo '== kernel'; cat /proc/version; dmesg 2>/dev/null | head -n 20
echo '== namespace'; if unshare --user true 2>/dev/null; then echo made; fi
`;
const timeoutMs = 30_000;

/**
 * Runs a command that tells what it is kept from. `folder` must not exist; the caller removes it. Fails
 * with FAILED_PRECONDITION when the executor cannot even run it.
 */
export async function findFacts(
  executor: Executor,
  { folder, network, outside }: LookAround,
  signal: AbortSignal,
): Promise<Facts> {
  mkdirSync(folder, { mode: 0o711 });
  const [inputRoot, temporary] = ['root', 'tmp'].map((name) => path.join(folder, name)) as [
    string,
    string,
  ];
  for (const made of [inputRoot, temporary]) {
    mkdirSync(made);
    const { owner } = executor;
    if (owner) chownSync(made, owner.uid, owner.gid);
  }
  const stdoutPath = path.join(folder, 'stdout');
  const stderrPath = path.join(folder, 'stderr');
  using tried = outside === undefined ? undefined : folderFor(executor.owner, outside);
  const command = {
    argv: ['/bin/sh', '-c', script] as const,
    environment: { PATH: defaultPath, OUTSIDE: tried?.folder ?? '/nowhere' },
    workingDirectory: inputRoot,
    temporary,
    folder,
    stdoutPath,
    stderrPath,
    timeoutMs,
    network,
    memoryBytesMax: undefined,
  };
  const outcome = await executor.run(command, inputRoot, signal);
  if (outcome.kind === 'exited' && outcome.exitCode === 0) {
    return factsOf(readFileSync(stdoutPath, 'utf8'));
  }
  const said = readFileSync(stderrPath, 'utf8').trim().slice(0, 1_000);
  throw new StatusError(Code.FAILED_PRECONDITION, `a first command ${outcome.kind}: ${said}`);
}

/** Gone when disposed of, with what is in it. */
function folderFor(owner: Owner | undefined, above: string) {
  // Who tidies up /run may have removed it since the start.
  makeFolder(above, 0o755);
  const folder = mkdtempSync(path.join(above, 'self-test-'));
  if (owner) chownSync(folder, owner.uid, owner.gid);
  return { folder, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
}

function factsOf(text: string): Facts {
  const sections = new Map(
    text
      .split(/^== /m)
      .slice(1)
      .map((section) => section.split('\n').filter(Boolean))
      .map(([name = '', ...lines]) => [name, lines]),
  );
  const lines = (name: string) => sections.get(name) ?? [];
  const status = new Map(lines('status').map((line) => line.split(/:\s*/) as [string, string]));
  const sets = ['CapInh', 'CapPrm', 'CapEff'].map((set) => status.get(set) ?? 'f');
  // gVisor has no ambient set.
  const capabilities = [...sets, status.get('CapAmb') ?? '0'].map((set) => BigInt(`0x${set}`));
  return {
    uid: Number(status.get('Uid')?.split('\t')[1]),
    capabilities: capabilities.reduce((all, set) => all | set, 0n),
    noNewPrivileges: status.get('NoNewPrivs') === '1',
    seccomp: status.get('Seccomp') === '2',
    networkInterfaces: lines('network')
      .slice(2)
      .map((line) => line.split(':')[0]?.trim() ?? ''),
    networkNamespace: lines('network namespace').join(),
    rootWritable: lines('root').includes('writable'),
    outsideWritable: lines('outside').includes('writable'),
    processesSeen: lines('processes').length,
    newUserNamespace: lines('namespace').includes('made'),
    descriptors: lines('descriptors'),
    mountPoints: lines('mounts').map((line) => line.split(' ')[4] ?? ''),
    kernel: lines('kernel').join('\n'),
  };
}
