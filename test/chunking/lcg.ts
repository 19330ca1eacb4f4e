/** The synthetic data that published vectors of chunking functions are made of (appendix B.2). */
export function lcgBytes(length: number): Uint8Array {
  let state = 1;
  return Uint8Array.from({ length }, () => {
    state = Number((BigInt(state) * 1103515245n + 12345n) & 0x7fffffffn);
    return (state >> 16) & 255;
  });
}
