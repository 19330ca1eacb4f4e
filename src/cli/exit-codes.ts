import { Code, StatusError } from '../base/status.ts';
import { ConfigError } from '../config/read-config.ts';
import { isNoGrpcServer } from '../rpc/stubs/no-grpc-server.ts';

/** How the program ends. Numbers above 63 are those of BSD's sysexits, where one fits. */
export const ExitCode = {
  OK: 0,
  USAGE: 64,
  DATA: 65,
  NOT_FOUND: 66,
  UNREACHABLE: 69,
  INTERNAL: 70,
  SYSTEM: 71,
  UNFINISHED: 75,
  PROTOCOL: 76,
  REFUSED: 77,
  CONFIG: 78,
  INTERRUPTED: 130,
} as const;

/** What each exit code means, for `expbuild --help` and the README. */
export const exitCodeMeanings: ReadonlyMap<number, string> = new Map([
  [ExitCode.OK, 'done; of run and execute: the action exited with 0'],
  [ExitCode.USAGE, 'wrong usage: a command, flag or digest that makes no sense'],
  [ExitCode.DATA, 'the server finds the request invalid, or bytes do not match their digest'],
  [ExitCode.NOT_FOUND, 'what was asked for does not exist'],
  [ExitCode.UNREACHABLE, 'the server cannot be reached, does not answer, or is no gRPC server'],
  [ExitCode.INTERNAL, 'any other error'],
  [ExitCode.SYSTEM, 'this machine refuses: address or folder in use, no such place, no permission'],
  [ExitCode.UNFINISHED, 'the action did not finish: timeout, no worker that fits, wrong command'],
  [ExitCode.PROTOCOL, 'of conformance: the server breaks a rule that it must keep'],
  [ExitCode.REFUSED, 'the server refuses: not allowed, or not supported'],
  [ExitCode.CONFIG, 'wrong configuration'],
  [ExitCode.INTERRUPTED, 'interrupted'],
]);

/** The command line makes no sense; the message says why. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The server works, but the action has no result. */
export class UnfinishedError extends Error {
  override readonly name = 'UnfinishedError';
}

/** This machine does not let the program do what it was asked for. */
export class SystemError extends Error {
  override readonly name = 'SystemError';
}

const ofStatus = new Map<Code, number>([
  [Code.INVALID_ARGUMENT, ExitCode.DATA],
  [Code.DATA_LOSS, ExitCode.DATA],
  [Code.OUT_OF_RANGE, ExitCode.DATA],
  [Code.NOT_FOUND, ExitCode.NOT_FOUND],
  [Code.UNAVAILABLE, ExitCode.UNREACHABLE],
  [Code.DEADLINE_EXCEEDED, ExitCode.UNREACHABLE],
  [Code.PERMISSION_DENIED, ExitCode.REFUSED],
  [Code.UNAUTHENTICATED, ExitCode.REFUSED],
  [Code.UNIMPLEMENTED, ExitCode.REFUSED],
  [Code.FAILED_PRECONDITION, ExitCode.REFUSED],
  [Code.CANCELLED, ExitCode.INTERRUPTED],
]);

const systemCodes = new Set([
  'EACCES',
  'EPERM',
  'EADDRINUSE',
  'EADDRNOTAVAIL',
  'EROFS',
  'ENOSPC',
  'EDQUOT',
  'ENOENT',
  'ENOTDIR',
  'EEXIST',
  'EISDIR',
]);

/** The exit code of whatever was thrown. */
export function exitCodeOf(thrown: unknown): number {
  if (thrown instanceof UsageError) return ExitCode.USAGE;
  if (thrown instanceof ConfigError) return ExitCode.CONFIG;
  if (thrown instanceof UnfinishedError) return ExitCode.UNFINISHED;
  if (thrown instanceof SystemError) return ExitCode.SYSTEM;
  if (isNoGrpcServer(thrown)) return ExitCode.UNREACHABLE;
  if (systemCodes.has((thrown as NodeJS.ErrnoException | undefined)?.code ?? '')) {
    return ExitCode.SYSTEM;
  }
  return ofStatus.get(StatusError.from(thrown).code) ?? ExitCode.INTERNAL;
}
