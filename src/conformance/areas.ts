import { batchesProbes } from './batches-probes.ts';
import { capabilitiesProbes } from './capabilities-probes.ts';
import { digestsProbes } from './digests-probes.ts';
import { errorsProbes } from './errors-probes.ts';
import { findMissingProbes } from './find-missing-probes.ts';
import { generalProbes } from './general-probes.ts';
import { getTreeProbes } from './get-tree-probes.ts';
import type { Area } from './probe.ts';

/** Every probe, in the order in which they run. */
export const areas: readonly Area[] = [
  capabilitiesProbes,
  generalProbes,
  digestsProbes,
  findMissingProbes,
  batchesProbes,
  getTreeProbes,
  errorsProbes,
];
