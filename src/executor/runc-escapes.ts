/**
 * Ways out of containers that are known of runc, and from which version of each line on they are closed: its
 * advisories GHSA-xr7r-f8xq-vfvv, and GHSA-9493-h29p-rfm2, GHSA-qw9x-cqr3-wc7r and GHSA-cgrx-mc8f-2prm.
 */
const closed = [
  { names: ['CVE-2024-21626'], since: ['1.1.12'] },
  {
    names: ['CVE-2025-31133', 'CVE-2025-52565', 'CVE-2025-52881'],
    since: ['1.2.8', '1.3.3', '1.4.0-rc.3'],
  },
] as const;

/**
 * The known ways out that are open in a version of runc, by its number alone: distributions close them under
 * older numbers. All of them if there is no number.
 */
export function openEscapes(version: string): string[] {
  const numbers = numbersOf(version);
  return closed.flatMap(({ names, since }) => {
    const isClosed = since.some((one, index) => {
      const first = numbersOf(one);
      const isOfLine = numbers[0] === first[0] && numbers[1] === first[1];
      // What came after the last of these lines was made with the fix.
      return (isOfLine || index === since.length - 1) && !isBefore(numbers, first);
    });
    return isClosed ? [] : names;
  });
}

function numbersOf(version: string): readonly number[] {
  const found = /(\d+)\.(\d+)\.(\d+)(?:-rc\.?(\d+))?/.exec(version) ?? [];
  const [major, minor, patch, candidate] = found.slice(1).map((part) => part && Number(part));
  return [major || 0, minor || 0, patch || 0, candidate || Number.POSITIVE_INFINITY];
}

function isBefore(one: readonly number[], other: readonly number[]): boolean {
  const index = one.findIndex((number, at) => number !== other[at]);
  return index >= 0 && (one[index] ?? 0) < (other[index] ?? 0);
}
