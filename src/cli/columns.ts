import { printable } from '../base/printable.ts';

/** A table for people: a line of heads, a line for each row, cells as wide as their column needs. */
export function columns(heads: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const lines = [heads, ...rows.map((row) => row.map(printable))];
  const widths = heads.map((_, n) => Math.max(...lines.map((line) => line[n]?.length ?? 0)));
  return lines.map((line) =>
    line
      .map((cell, n) => cell.padEnd(widths[n] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
