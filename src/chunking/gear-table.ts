import { hash } from 'node:crypto';

/** A random 64-bit number for each value of a byte, in two halves. */
export interface GearTable {
  readonly high: Int32Array;
  readonly low: Int32Array;
}

/**
 * The numbers of both chunking functions: the first 8 bytes, big-endian, of the MD5 of the byte 64 times
 * over. The API's text says the MD5 of the byte; the implementations mean this (CDC-28).
 */
export const gearTable: GearTable = makeGearTable();

function makeGearTable(): GearTable {
  const high = new Int32Array(256);
  const low = new Int32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    const md5 = hash('md5', Buffer.alloc(64, byte), 'buffer');
    high[byte] = md5.readInt32BE(0);
    low[byte] = md5.readInt32BE(4);
  }
  return { high, low };
}
