import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Campaign } from './campaign.ts';
import { RunningTarget } from './running-target.ts';

export interface FuzzResult {
  readonly calls: number;
  /** What should not have happened; empty if all is well. */
  readonly findings: readonly string[];
  /** How often each method answered with each code. */
  readonly seen: ReadonlyMap<string, number>;
  readonly heapGrowthBytes: number;
}

/** What caches may hold beyond a fifth of what was there before. */
const HEAP_SLACK_BYTES = 8 * 2 ** 20;
/** An operation is remembered for minutes after its end: its row, its metadata, its response. */
const OPERATION_BYTES = 8 * 1024;
/** Rounds before memory is measured: caches fill, code is compiled. */
const WARM_UP_ROUNDS = 8;
/** Uploads that broke off wait for their clients for minutes, but no more of them; each has buffers. */
const WAITING_UPLOADS_MAX = 256;
const WAITING_UPLOAD_BYTES = 64 * 1024;

/** Fuzzes a server of its own, from `seed`, for as long as `goesOn` says. */
export async function fuzz(
  seed: number,
  goesOn: (campaign: { readonly calls: number }) => boolean,
): Promise<FuzzResult> {
  const folder = mkdtempSync(path.join(tmpdir(), 'expbuild-fuzz-'));
  const target = await RunningTarget.start(folder);
  let campaign: Campaign | undefined;
  try {
    campaign = new Campaign(seed, target, await target.report('now'));
    const { findings } = campaign;
    await campaign.begin();
    for (let round = 0; round < WARM_UP_ROUNDS && findings.length < 20; round++)
      await campaign.round();
    const before = await target.report('now');
    while (goesOn(campaign) && findings.length < 20) await campaign.round();
    const after = await target.report('now');
    campaign.close();
    const stopped = await target.report('stop');
    const heapGrowthBytes = after.heapBytes - before.heapBytes;
    const executed = campaign.seen.get('Execution/Execute 0') ?? 0;
    const waitingBytes = WAITING_UPLOADS_MAX * WAITING_UPLOAD_BYTES;
    const slackBytes = HEAP_SLACK_BYTES + waitingBytes + executed * OPERATION_BYTES;
    if (heapGrowthBytes > before.heapBytes / 5 + slackBytes) {
      findings.push(`the heap grew from ${before.heapBytes} to ${after.heapBytes} bytes`);
    }
    if (after.incomingFiles > WAITING_UPLOADS_MAX || stopped.incomingFiles > 0) {
      findings.push(`${after.incomingFiles} uploads, and ${stopped.incomingFiles} after the end`);
    }
    for (const { errors, wrongBlobs } of [before, after, stopped]) {
      findings.push(...errors, ...wrongBlobs.map((file) => `${file} is stored and wrong`));
    }
    return { calls: campaign.calls, findings, seen: campaign.seen, heapGrowthBytes };
  } finally {
    campaign?.close();
    await target.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}
