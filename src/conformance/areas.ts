import { actionCacheProbes } from './action-cache-probes.ts';
import { batchesProbes } from './batches-probes.ts';
import { capabilitiesProbes } from './capabilities-probes.ts';
import { chunkingProbes } from './chunking-probes.ts';
import { compressionProbes } from './compression-probes.ts';
import { digestsProbes } from './digests-probes.ts';
import { errorsProbes } from './errors-probes.ts';
import { executionProbes } from './execution-probes.ts';
import { fetchProbes } from './fetch-probes.ts';
import { findMissingProbes } from './find-missing-probes.ts';
import { generalProbes } from './general-probes.ts';
import { getTreeProbes } from './get-tree-probes.ts';
import { logStreamProbes } from './log-stream-probes.ts';
import { operationsProbes } from './operations-probes.ts';
import type { Area } from './probe.ts';
import { pushProbes } from './push-probes.ts';
import { readProbes } from './read-probes.ts';
import { runningProbes } from './running-probes.ts';
import { writeProbes } from './write-probes.ts';

/** Every probe, in the order in which they run. */
export const areas: readonly Area[] = [
  capabilitiesProbes,
  generalProbes,
  digestsProbes,
  findMissingProbes,
  batchesProbes,
  getTreeProbes,
  readProbes,
  writeProbes,
  compressionProbes,
  chunkingProbes,
  actionCacheProbes,
  executionProbes,
  operationsProbes,
  runningProbes,
  logStreamProbes,
  fetchProbes,
  pushProbes,
  errorsProbes,
];
