import { Code, StatusError } from '../base/status.ts';
import type { Area } from './probe.ts';

/**
 * The probes that `only` names, in any case: by a rule (`CAS-01`), a section of the checklist (`CAS`), or
 * an area (`find-missing`); all when it names none. INVALID_ARGUMENT for a name that fits no probe.
 */
export function chooseProbes(areas: readonly Area[], only: readonly string[]): readonly Area[] {
  const names = only.map((name) => name.toLowerCase());
  for (const name of names) {
    if (areas.some((area) => area.probes.some(({ ids }) => isMeant(name, area, ids)))) continue;
    const known = areas.map((area) => area.name).join(', ');
    throw new StatusError(Code.INVALID_ARGUMENT, `no probe is called ${name}; areas are ${known}`);
  }
  if (names.length === 0) return areas;
  return areas.map((area) => ({
    ...area,
    probes: area.probes.filter(({ ids }) => names.some((name) => isMeant(name, area, ids))),
  }));
}

function isMeant(name: string, area: Area, ids: readonly string[]): boolean {
  if (name === area.name) return true;
  return ids.some((id) => id.toLowerCase() === name || id.toLowerCase().startsWith(`${name}-`));
}
