/** What the checklist says of a rule: required, required by clients or for safety (+), wanted, or allowed. */
type Level = 'MUST' | 'MUST+' | 'SHOULD' | 'MAY';

const byLevel: Readonly<Record<Level, string>> = {
  MUST: `
    GEN-01 GEN-02 GEN-15 GEN-17 DIG-01 DIG-02 DIG-04 DIG-05 DIG-09 DIG-11 DIG-13 DIG-14 DIG-18
    CMP-01 CMP-02 CAP-02 CAP-04 CAP-07 CAP-08 CAP-11 CAP-13 CAP-14 CAP-17 CAP-18 CAP-19 CAP-20
    CAS-01 CAS-05 CAS-10 CAS-12 CAS-14 CAS-16 CAS-30 CAS-32 CAS-33 CAS-34 CAS-35 CAS-40 CAS-41
    CAS-42 CAS-43 CAS-44 CAS-45 BS-01 BS-04 BS-11 BS-35 AC-23
  `,
  'MUST+': `
    GEN-04 GEN-08 GEN-09 GEN-10 GEN-12 GEN-16 GEN-18 DIG-07 DIG-08 DIG-10 DIG-19 DIG-20 CMP-11
    CAP-03 CAP-05 CAP-12 CAP-21 CAS-02 CAS-06 CAS-07 CAS-11 CAS-13 CAS-17 CAS-18 CAS-31 CAS-46
    CAS-47 CDC-27 CDC-41 MD-02 ERR-02 ERR-03 ERR-04
  `,
  SHOULD: `
    GEN-03 GEN-14 GEN-19 GEN-21 CAP-10 CAP-22 CAP-24 CAP-26 CAS-08 CAS-19 CAS-48 CAS-49 ERR-05
  `,
  MAY: `
    DIG-15 DIG-16 DIG-17
  `,
};

/** The level of each rule that a probe shows; those of the whole checklist are in docs/conformance.md. */
export const levels: ReadonlyMap<string, string> = new Map(
  Object.entries(byLevel).flatMap(([level, ids]) =>
    ids
      .trim()
      .split(/\s+/)
      .filter((id) => id !== '')
      .map((id): [string, string] => [id, level]),
  ),
);
