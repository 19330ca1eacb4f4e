import { printable } from '../base/printable.ts';

/** A column that is cut still tells something. */
const widthMin = 8;

/**
 * A table for people: a line of heads, if there are any, a line for each row, cells as wide as their column
 * needs. Where the lines would be longer than `width`, the widest columns give way; the first never does, as
 * it holds the names that other commands are given.
 */
export function columns(
  heads: readonly string[],
  rows: readonly (readonly string[])[],
  width = Infinity,
): string[] {
  const shown = rows.map((row) => row.map(printable));
  const lines = heads.length === 0 ? shown : [heads, ...shown];
  const longest = (n: number) => Math.max(...lines.map((line) => line[n]?.length ?? 0));
  const widths = narrowed(
    (lines[0] ?? []).map((_, n) => longest(n)),
    width,
  );
  return lines.map((line) =>
    line
      .map((cell, n) => fitted(cell, widths[n]))
      .join('  ')
      .trimEnd(),
  );
}

function narrowed(widths: readonly number[], width: number): number[] {
  const [first = 0, ...others] = widths;
  const between = 2 * others.length;
  for (;;) {
    const widest = Math.max(...others);
    const all = others.reduce((sum, one) => sum + one, first + between);
    if (all <= width || widest <= widthMin) return [first, ...others];
    others[others.indexOf(widest)] = widest - 1;
  }
}

/** `undefined`: as wide as it is. */
function fitted(cell: string, width = cell.length): string {
  if (cell.length <= width) return cell.padEnd(width);
  return `${cell.slice(0, width - 1).toWellFormed()}…`;
}
