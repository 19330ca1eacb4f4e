import { ShownOutput } from '../client/shown-output.ts';
import type { Program } from './command.ts';
import type { Session } from './session.ts';

/** The output of an action, to our own standard output and standard error. */
export function shownOutput(
  { terminal, clock }: Program,
  { remote, instanceName }: Session,
): ShownOutput {
  return new ShownOutput({
    logs: remote.logs,
    blobs: remote.blobs,
    instanceName,
    clock,
    stdout: (bytes) => terminal.write(bytes),
    stderr: (bytes) => terminal.writeBeside(bytes),
    onDifference: (name) =>
      terminal.note(
        terminal.style(
          'yellow',
          `warning: the ${name} above is of an attempt that was lost, and not what the action ended with`,
        ),
      ),
  });
}
