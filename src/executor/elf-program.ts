/** Where the kernel puts the file; below 2 GiB, so that addresses fit into short instructions. */
const base = 0x40_0000;
const elfHeaderSize = 64;
const programHeaderSize = 56;

/** Where the content of a program is when it runs. */
export const codeStart = base + elfHeaderSize + programHeaderSize;

/**
 * An executable file for Linux on x86-64 that begins at the first byte of `content`: elf(5), with one segment, which
 * is the whole file, to be read and run.
 */
export function elfProgram(content: Buffer): Buffer {
  const size = elfHeaderSize + programHeaderSize + content.length;
  const elf = Buffer.alloc(elfHeaderSize);
  // 64 bits, little endian, version 1.
  elf.write('\x7fELF\x02\x01\x01', 'latin1');
  elf.writeUInt16LE(2, 16); // ET_EXEC
  elf.writeUInt16LE(62, 18); // EM_X86_64
  elf.writeUInt32LE(1, 20);
  elf.writeUInt32LE(codeStart, 24);
  elf.writeUInt32LE(elfHeaderSize, 32);
  elf.writeUInt16LE(elfHeaderSize, 52);
  elf.writeUInt16LE(programHeaderSize, 54);
  elf.writeUInt16LE(1, 56);
  const segment = Buffer.alloc(programHeaderSize);
  segment.writeUInt32LE(1); // PT_LOAD
  segment.writeUInt32LE(5, 4); // to be read and executed
  segment.writeUInt32LE(base, 16);
  segment.writeUInt32LE(base, 24);
  segment.writeUInt32LE(size, 32);
  segment.writeUInt32LE(size, 40);
  segment.writeUInt32LE(0x1000, 48);
  return Buffer.concat([elf, segment, content]);
}
