import { levels } from './levels.ts';
import type { Probe } from './probe.ts';
import type { Outcome } from './run-probe.ts';
import type { Finding } from './run-probes.ts';

/** How many rules of the checklist came out how. */
export interface Counts {
  readonly held: number;
  /** Rules that a server must keep, and this one does not. */
  readonly brokenMust: number;
  /** Rules that it should or may keep. */
  readonly brokenOther: number;
  readonly notApplicable: number;
  /** Those for which no time was left. */
  readonly notRun: number;
}

/** One rule, over all probes that show it: one failure breaks it. */
export interface RuleOutcome {
  readonly id: string;
  readonly level: string;
  readonly outcome: Outcome['kind'];
}

/** What each rule came to, in the checklist's order within a section. */
export function rulesOf(findings: readonly Finding[]): RuleOutcome[] {
  const outcomes = new Map<string, Outcome['kind']>();
  for (const { probe, outcome } of findings) {
    for (const id of probe.ids) {
      const before = outcomes.get(id);
      if (before === 'fail' || (before === 'pass' && outcome.kind !== 'fail')) continue;
      outcomes.set(id, outcome.kind);
    }
  }
  return [...outcomes].map(([id, outcome]) => ({ id, level: levelOf(id), outcome }));
}

export function countsOf(rules: readonly RuleOutcome[]): Counts {
  const count = (wanted: (rule: RuleOutcome) => boolean) => rules.filter(wanted).length;
  return {
    held: count(({ outcome }) => outcome === 'pass'),
    brokenMust: count(({ outcome, level }) => outcome === 'fail' && isMust(level)),
    brokenOther: count(({ outcome, level }) => outcome === 'fail' && !isMust(level)),
    notApplicable: count(({ outcome }) => outcome === 'not applicable'),
    notRun: count(({ outcome }) => outcome === 'not run'),
  };
}

/** One probe as a script reads it. */
export function jsonOf({ area, probe, outcome }: Finding) {
  const { kind, ...more } = outcome;
  return {
    area,
    ids: probe.ids,
    level: strongestLevel(probe),
    title: probe.title,
    outcome: kind,
    ...more,
  };
}

/** One probe as a person reads it, in one to three lines. */
export function linesOf({ probe, outcome }: Finding): string[] {
  const head = `${wordOf(outcome).padEnd(4)}  ${strongestLevel(probe).padEnd(6)}  ${probe.ids.join(', ')}: ${probe.title}`;
  if (outcome.kind === 'not applicable') return [`${head} (${outcome.why})`];
  if (outcome.kind !== 'fail') return [head];
  return [head, `        expected ${outcome.expected}`, `        seen     ${outcome.seen}`];
}

const strength = ['MAY', 'SHOULD', 'MUST', 'MUST+'];

/** The strongest level of the rules that a probe shows. */
function strongestLevel({ ids }: Probe): string {
  const found = ids.map(levelOf).toSorted((a, b) => strength.indexOf(a) - strength.indexOf(b));
  return found.at(-1) ?? '';
}

function wordOf({ kind }: Outcome): string {
  if (kind === 'not applicable') return 'n/a';
  if (kind === 'not run') return '-';
  return kind === 'fail' ? 'FAIL' : kind;
}

function isMust(level: string): boolean {
  return level.startsWith('MUST');
}

function levelOf(id: string): string {
  return levels.get(id) ?? '';
}
