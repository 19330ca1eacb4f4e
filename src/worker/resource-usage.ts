import type { Outcome } from '../executor/executor.ts';
import { POSIXResourceUsage } from '../proto/buildbarn/resourceusage/resourceusage.ts';
import type { Any } from '../proto/google/protobuf/any.ts';
import { durationOf } from '../scheduler/protobuf-time.ts';

/** What a command used, as auxiliary_metadata (RES-28). */
export function resourceUsageOf(outcome: Outcome): Any {
  const { userTimeMs, systemTimeMs, maxResidentBytes = 0 } = outcome.usage;
  const usage = POSIXResourceUsage.fromPartial({
    userTime: userTimeMs === undefined ? undefined : durationOf(userTimeMs),
    systemTime: systemTimeMs === undefined ? undefined : durationOf(systemTimeMs),
    maximumResidentSetSize: maxResidentBytes,
    terminationSignal: outcome.kind === 'killed' ? outcome.signal.replace(/^SIG/, '') : '',
  });
  return {
    typeUrl: 'type.googleapis.com/buildbarn.resourceusage.POSIXResourceUsage',
    value: POSIXResourceUsage.encode(usage).finish(),
  };
}
