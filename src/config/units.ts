const sizeUnits = new Map<string, number>([
  ['B', 1],
  ['kB', 1e3],
  ['KB', 1e3],
  ['MB', 1e6],
  ['GB', 1e9],
  ['TB', 1e12],
  ['KiB', 2 ** 10],
  ['MiB', 2 ** 20],
  ['GiB', 2 ** 30],
  ['TiB', 2 ** 40],
]);

const durationUnits = new Map<string, number>([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

/** Bytes in a text such as "10GiB", "1.5GB" or "512B"; undefined when it is not a size. */
export function parseSize(text: string): number | undefined {
  return parseQuantity(text, sizeUnits);
}

/** Milliseconds in a text such as "500ms", "30s" or "1.5h"; undefined when it is not a duration. */
export function parseDuration(text: string): number | undefined {
  return parseQuantity(text, durationUnits);
}

/** A number, or bytes in a text with a unit; undefined when it is neither, or not above 0. */
export function parseAmount(written: string | number): number | undefined {
  const amount = parseSize(String(written)) ?? Number(written);
  return amount > 0 && amount < Infinity ? amount : undefined;
}

/** Whole units only come out: half a byte and half a millisecond are no amounts. */
function parseQuantity(text: string, units: ReadonlyMap<string, number>): number | undefined {
  const [, digits, unit] = /^(\d+(?:\.\d+)?) ?([A-Za-z]+)$/.exec(text) ?? [];
  const factor = unit === undefined ? undefined : units.get(unit);
  if (digits === undefined || factor === undefined) return undefined;
  const amount = Number(digits) * factor;
  return Number.isSafeInteger(amount) ? amount : undefined;
}
