const ways = new Set(['', 'false', 'off', 'none', 'no', '0']);

/** The text is one of the ways to ask for nothing: empty, false, off, none, no, 0. */
export function saysNo(text: string): boolean {
  return ways.has(text.toLowerCase());
}
