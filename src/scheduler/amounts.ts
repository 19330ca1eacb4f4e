/** What a letter behind a number stands for: thousandths, as for processors, and multiples of bytes. */
const factors = new Map([
  ['', 1],
  ['m', 1e-3],
  ['k', 1e3],
  ['K', 1e3],
  ['M', 1e6],
  ['G', 1e9],
  ['T', 1e12],
  ['Ki', 2 ** 10],
  ['Mi', 2 ** 20],
  ['Gi', 2 ** 30],
  ['Ti', 2 ** 40],
]);

/** The amount in "2", "0.5", "500m", "4GB", "4GiB" or "4Gi"; undefined when it is none. */
export function parseAmount(text: string): number | undefined {
  const [, digits = '', unit = ''] = /^(\d+(?:\.\d+)?) ?([A-Za-z]*?)B?$/.exec(text) ?? [];
  const factor = factors.get(unit);
  return digits === '' || factor === undefined ? undefined : Number(digits) * factor;
}

/** For people: bytes in units, other amounts as they are. */
export function amountText(amount: number): string {
  for (const unit of ['Ti', 'Gi', 'Mi', 'Ki']) {
    const inUnit = amount / (factors.get(unit) ?? 1);
    if (inUnit >= 1) return `${Number(inUnit.toFixed(1))}${unit}B`;
  }
  return `${Number(amount.toFixed(3))}`;
}
