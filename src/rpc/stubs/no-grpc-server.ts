/** Why a call failed: what answered is no gRPC server. */
export class NoGrpcServer extends Error {
  override readonly name = 'NoGrpcServer';
}

/** Whether that is why something failed, however often the error was told in other words since. */
export function isNoGrpcServer(thrown: unknown): boolean {
  for (let at = thrown; at instanceof Error; at = at.cause) {
    if (at instanceof NoGrpcServer) return true;
  }
  return false;
}
