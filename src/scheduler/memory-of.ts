/** An object or a list with its place in another, a text without its characters. Most take less. */
const BYTES_PER_VALUE = 100;

/**
 * What a decoded message takes in memory, about: its objects, texts and bytes. Parts of a larger message
 * keep all of it in memory, and count so.
 */
export function memoryOf(message: object): number {
  const buffers = new Set<ArrayBufferLike>();
  const open: unknown[] = [message];
  let bytes = 0;
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    bytes += BYTES_PER_VALUE;
    if (typeof next === 'string') bytes += next.length;
    else if (next instanceof Uint8Array) buffers.add(next.buffer);
    else if (Array.isArray(next)) for (const value of next) open.push(value);
    else if (typeof next === 'object' && next !== null) {
      for (const value of Object.values(next)) {
        if (typeof value === 'object' || typeof value === 'string') open.push(value);
      }
    }
  }
  for (const { byteLength } of buffers) bytes += byteLength;
  return bytes;
}
