/** What the checklist says of a rule: required, required by clients or for safety (+), wanted, or allowed. */
type Level = 'MUST' | 'MUST+' | 'SHOULD' | 'MAY';

const byLevel: Readonly<Record<Level, string>> = {
  MUST: `
    GEN-01 GEN-02 GEN-07 GEN-15 GEN-17 DIG-01 DIG-02 DIG-04 DIG-05 DIG-09 DIG-11 DIG-13 DIG-14
    DIG-18 CMP-01 CMP-02 CMP-03 CMP-06 CMP-08 CMP-09 CAP-02 CAP-04 CAP-07 CAP-08 CAP-09 CAP-11
    CAP-13 CAP-14 CAP-16 CAP-17 CAP-18 CAP-19 CAP-20 CAS-01 CAS-05 CAS-10 CAS-12 CAS-14 CAS-16
    CAS-30 CAS-32 CAS-33 CAS-34 CAS-35 CAS-40 CAS-41 CAS-42 CAS-43 CAS-44 CAS-45 CDC-01 CDC-02
    CDC-03 CDC-04 CDC-08 CDC-14 CDC-15 CDC-16 CDC-19 CDC-20 CDC-24 CDC-26 CDC-29 CDC-30 CDC-31
    CDC-35 CDC-36 CDC-37 BS-01 BS-02 BS-03 BS-04 BS-05 BS-06 BS-07 BS-08 BS-10 BS-11 BS-12 BS-13
    BS-14 BS-15 BS-16 BS-30 BS-31 BS-32 BS-33 BS-34 BS-35 BS-37 BS-39 BS-42 BS-47 BS-60 BS-61
    BS-63 AC-01 AC-08 AC-13 AC-21 AC-23 EXE-04 EXE-05 EXE-16 EXE-24 EXE-55 OPS-03 RES-32
  `,
  'MUST+': `
    GEN-04 GEN-08 GEN-09 GEN-10 GEN-12 GEN-16 GEN-18 DIG-07 DIG-08 DIG-10 DIG-19 DIG-20 CMP-04
    CMP-05 CMP-07 CMP-11 CAP-03 CAP-05 CAP-12 CAP-15 CAP-21 CAS-02 CAS-06 CAS-07 CAS-11 CAS-13
    CAS-17 CAS-18 CAS-31 CAS-46 CAS-47 CAS-63 CDC-10 CDC-11 CDC-21 CDC-22 CDC-23 CDC-27 CDC-28
    CDC-32 CDC-39 CDC-41 BS-17 BS-18 BS-36 BS-40 BS-43 BS-46 BS-48 BS-49 BS-62 AC-02 AC-09 AC-12
    AC-14 AC-16 AC-18 AC-20 AC-22 AC-25 EXE-13 EXE-51 EXE-52 EXE-54 MD-02 ERR-02 ERR-03 ERR-04
  `,
  SHOULD: `
    GEN-03 GEN-14 GEN-19 GEN-21 CAP-10 CAP-22 CAP-24 CAP-26 CAS-08 CAS-19 CAS-48 CAS-49 CDC-09
    BS-45 AC-05 AC-10 AC-17 AC-19 AC-27 EXE-14 EXE-53 OPS-01 OPS-04 ERR-05
  `,
  MAY: `
    DIG-15 DIG-16 DIG-17 CDC-18 BS-09 AC-06 AC-07 OPS-02 OPS-07 OPS-08
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
