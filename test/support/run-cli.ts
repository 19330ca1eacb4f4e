import { systemClock } from '../../src/base/clock.ts';
import { newId } from '../../src/base/id.ts';
import { expbuild } from '../../src/cli/expbuild.ts';
import { FakeTerminal } from './fake-terminal.ts';
import { never } from './never.ts';
import { testSurroundings } from './test-surroundings.ts';

export interface CliOptions {
  /** The home of the person who types. */
  readonly folder: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly leaving?: AbortSignal;
  readonly terminal?: FakeTerminal;
}

export interface CliResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs one command line in this process. */
export async function runCli(argv: readonly string[], options: CliOptions): Promise<CliResult> {
  const { folder, environment = {}, leaving = never, terminal = new FakeTerminal() } = options;
  const exitCode = await expbuild(argv, {
    terminal,
    clock: systemClock,
    newId,
    leaving,
    surroundings: { ...testSurroundings(folder), environment },
  });
  return { exitCode, stdout: terminal.stdout, stderr: terminal.stderr };
}
