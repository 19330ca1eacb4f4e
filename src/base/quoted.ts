/** Enough to know it by: a message has several, and at most some 2,000 bytes to travel in. */
const CHARACTERS_MAX = 200;

/** Text from outside, for a message: its beginning, in quotation marks, and on one line. */
export function quoted(text: string): string {
  return JSON.stringify(text.slice(0, CHARACTERS_MAX));
}
