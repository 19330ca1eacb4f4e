import { Code, StatusError } from '../base/status.ts';
import { realRootOf } from './inside-root.ts';

/**
 * What a command left so that it cannot be read is its own fault, not that of the machine. So is what is gone or
 * another thing by the time it is read: who changes it can only have been given a folder of the command's.
 */
const faultsOfCommands = new Set(['EACCES', 'EPERM', 'ENAMETOOLONG', 'ENOENT', 'ENOTDIR', 'ELOOP']);

/**
 * Why an output could not be collected, for whoever asked for it: paths are told from the input root, as
 * the folders of the worker mean nothing to anybody else. INVALID_ARGUMENT when the command left what
 * cannot be read.
 */
export async function outputFailure(
  requestedPath: string,
  inputRoot: string,
  error: unknown,
): Promise<unknown> {
  const { code = '', message } = error as NodeJS.ErrnoException;
  const isFault = faultsOfCommands.has(code);
  if (!isFault && !(error instanceof StatusError)) return error;
  const root = await realRootOf(inputRoot).catch(() => inputRoot);
  // Folders are read by the descriptors they were opened with.
  const said = message
    .replaceAll(/\/proc\/self\/fd\/\d+\//g, '')
    .replaceAll(`${root}/`, '')
    .replaceAll(root, '.');
  const output = `output ${JSON.stringify(requestedPath)}`;
  if (isFault) {
    const told = `${output} cannot be read: ${said.slice(0, 300)}`;
    return new StatusError(Code.INVALID_ARGUMENT, told);
  }
  const { code: status, details } = StatusError.from(error);
  return new StatusError(status, said, { details, cause: error });
}
