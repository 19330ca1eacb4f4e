import { inspect } from 'node:util';
import { type Clock, systemClock } from '../base/clock.ts';
import { newId } from '../base/id.ts';
import { Code, StatusError } from '../base/status.ts';
import { currentSurroundings } from '../config/surroundings.ts';
import { ExitCode } from './exit-codes.ts';
import { processTerminal, type Terminal } from './terminal.ts';

/** Runs the program in this process, and gives its exit code. */
export async function start(argv: readonly string[]): Promise<number> {
  // A launcher is started for every slot of a worker, and must be small: it loads nothing else.
  if (argv[0] === 'launcher') {
    const { runLauncher } = await import('../executor/launcher.ts');
    await runLauncher();
    return ExitCode.OK;
  }
  const [role, socket, label] = argv;
  if (role === 'container-watchdog' && socket !== undefined && label !== undefined) {
    const { runContainerWatchdog } = await import('../executor/container-watchdog.ts');
    await runContainerWatchdog(socket, label);
    return ExitCode.OK;
  }
  const terminal = processTerminal();
  endOnBugs(argv, terminal);
  const leaving = leaveOnSignals(systemClock);
  const { expbuild } = await import('./expbuild.ts');
  return expbuild(argv, {
    terminal,
    surroundings: currentSurroundings(),
    clock: systemClock,
    newId,
    leaving,
  });
}

/** What nobody caught is a bug. Nothing is known of the state it leaves behind, so the program ends. */
function endOnBugs(argv: readonly string[], terminal: Terminal): void {
  process.on('uncaughtException', (error) => {
    const more = argv.includes('--verbose')
      ? inspect(error)
      : '--verbose tells where it comes from';
    terminal.note(`error: ${StatusError.from(error).message} (a bug in expbuild)\n${more}`);
    process.exit(ExitCode.INTERNAL);
  });
}

/**
 * One Ctrl-C may arrive twice: from the terminal, and from npm, which passes on what it got. Measured
 * with `npm start`: both come within some milliseconds.
 */
const SAME_SIGNAL_MS = 500;

/** The first signal asks to leave in good order; a second ends the program at once. */
function leaveOnSignals(clock: Clock): AbortSignal {
  const leaving = new AbortController();
  let firstAt = 0;
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      if (leaving.signal.aborted) {
        const isTheSame = name === 'SIGINT' && clock.now() - firstAt < SAME_SIGNAL_MS;
        if (!isTheSame) process.exit(ExitCode.INTERRUPTED);
        return;
      }
      firstAt = clock.now();
      leaving.abort(new StatusError(Code.CANCELLED, `stopped by ${name}`));
    });
  }
  return leaving.signal;
}
