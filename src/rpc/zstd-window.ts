/** The largest window that is taken, as a power of two: Go's best level asks for it (CMP-05). */
export const windowLogMax = 25;

/**
 * How far back the first frame of a zstd stream refers, by its header (RFC 8878, 3.1.1.1): what unpacking it
 * takes of memory. As much as may be where the bytes do not tell, as when something else comes before it.
 */
export function zstdWindowBytes(first: Uint8Array): number {
  const unknown = 2 ** windowLogMax;
  const bytes = Buffer.from(first.buffer, first.byteOffset, first.byteLength);
  if (bytes.length < 6 || bytes.readUInt32LE(0) !== 0xfd_2f_b5_28) return unknown;
  const descriptor = bytes.readUInt8(4);
  const isWhole = (descriptor & 0x20) !== 0;
  if (isWhole) return contentBytes(bytes, descriptor) ?? unknown;
  const window = bytes.readUInt8(5);
  const base = 2 ** (10 + (window >> 3));
  return base + (base / 8) * (window & 7);
}

/** The size of what is in the frame, which is its window then. */
function contentBytes(bytes: Buffer, descriptor: number): number | undefined {
  const at = 5 + ([0, 1, 2, 4][descriptor & 3] as number);
  const sizeOfField = [1, 2, 4, 8][descriptor >> 6] as number;
  if (bytes.length < at + sizeOfField) return undefined;
  if (sizeOfField === 8) return Number(bytes.readBigUInt64LE(at));
  return bytes.readUIntLE(at, sizeOfField) + (sizeOfField === 2 ? 256 : 0);
}
