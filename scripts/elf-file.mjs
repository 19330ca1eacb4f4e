// As much of ELF (64 bit, little endian; System V gABI, and its x86-64 supplement) as
// scripts/settle-node.mjs needs to take one library out of an executable.

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PF_X = 1;
const R_X86_64_JUMP_SLOT = 7;
const R_X86_64_GLOB_DAT = 6;
const R_X86_64_RELATIVE = 8;
const DT = {
  NEEDED: 1,
  PLTRELSZ: 2,
  STRTAB: 5,
  SYMTAB: 6,
  RELA: 7,
  RELASZ: 8,
  JMPREL: 23,
  VERNEED: 0x6ffffffe,
  VERNEEDNUM: 0x6fffffff,
  VERSYM: 0x6ffffff0,
};
const PAGE_BYTES = 4096;

/**
 * An editor of the executable in `bytes`, which it changes in place. Throws where the file is not one
 * that it understands.
 */
export function elfFile(bytes) {
  if (bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46 || bytes.readUInt16LE(4) !== 0x0102)
    throw new Error('it is not a 64-bit little-endian ELF file');
  if (bytes.readUInt16LE(18) !== 62) throw new Error('it is not for x86-64');
  const segments = programHeaders(bytes);
  const dynamic = dynamicEntries(bytes, segments);
  const offsetOf = (address) => fileOffset(segments, address);
  const stringAt = (at) => {
    const from = offsetOf(one(dynamic, DT.STRTAB)) + at;
    return bytes.toString('latin1', from, bytes.indexOf(0, from));
  };
  const versions = () => neededVersions(bytes, offsetOf, dynamic, stringAt);
  const neededEntries = () => dynamic.filter((entry) => entry.tag === DT.NEEDED);
  return {
    bytes,
    needed: (library) => neededEntries().some((entry) => stringAt(entry.value) === library),

    /** The slots that the loader fills with functions of `library`. */
    importsOf(library) {
      const own = new Set(
        versions()
          .filter((version) => version.library === library)
          .map((version) => bytes.readUInt16LE(version.at + 6)),
      );
      return relocations(bytes, offsetOf, dynamic)
        .filter(({ type }) => type === R_X86_64_JUMP_SLOT || type === R_X86_64_GLOB_DAT)
        .map(({ at, symbol }) => {
          const name = bytes.readUInt32LE(offsetOf(one(dynamic, DT.SYMTAB)) + 24 * symbol);
          const version = bytes.readUInt16LE(offsetOf(one(dynamic, DT.VERSYM)) + 2 * symbol);
          return { at, symbol: stringAt(name), version };
        })
        .filter(({ version }) => own.has(version));
    },

    /** Puts `code` behind the last instruction, into the rest of its page; gives its address. */
    addCode(code) {
      const text = segments.find(({ type, flags }) => type === PT_LOAD && (flags & PF_X) !== 0);
      if (!text) throw new Error('it has no executable segment');
      const from = Math.ceil((text.offset + text.fileBytes) / 16) * 16;
      const pageEnd = Math.ceil((text.offset + text.fileBytes) / PAGE_BYTES) * PAGE_BYTES;
      const room = bytes.subarray(from, from + code.length);
      if (from + code.length > pageEnd || room.some((byte) => byte !== 0))
        throw new Error('it has no room behind its instructions');
      code.copy(bytes, from);
      const length = BigInt(from + code.length - text.offset);
      bytes.writeBigUInt64LE(length, text.at + 32);
      bytes.writeBigUInt64LE(length, text.at + 40);
      return text.address + from - text.offset;
    },

    /** Lets the loader put `address` into the slot, in place of a function that it looks up. */
    bindTo(slot, address) {
      bytes.writeBigUInt64LE(BigInt(R_X86_64_RELATIVE), slot.at + 8);
      bytes.writeBigInt64LE(BigInt(address), slot.at + 16);
    },

    /**
     * Names the next library that it needs wherever `library` is named. The order in which the loader
     * looks for a symbol stays as it was.
     */
    dropNeeded(library) {
      const names = neededEntries().map((entry) => stringAt(entry.value));
      const next = names.slice(names.indexOf(library) + 1);
      const other = versions().find((version) => version.library === next[0]);
      if (!other) throw new Error(`no library that has versions follows ${library}`);
      for (const entry of neededEntries())
        if (stringAt(entry.value) === library)
          bytes.writeBigUInt64LE(BigInt(other.libraryName), entry.at + 8);
      for (const version of versions()) {
        if (version.library !== library) continue;
        bytes.writeUInt32LE(other.libraryName, version.libraryAt + 4);
        bytes.copy(bytes, version.at, other.at, other.at + 4); // the hash of the version's name
        bytes.copy(bytes, version.at + 8, other.at + 8, other.at + 12); // the name
      }
    },
  };
}

function programHeaders(bytes) {
  const from = number(bytes, 32);
  return Array.from({ length: bytes.readUInt16LE(56) }, (_, index) => {
    const at = from + index * bytes.readUInt16LE(54);
    return {
      at,
      type: bytes.readUInt32LE(at),
      flags: bytes.readUInt32LE(at + 4),
      offset: number(bytes, at + 8),
      address: number(bytes, at + 16),
      fileBytes: number(bytes, at + 32),
    };
  });
}

function dynamicEntries(bytes, segments) {
  const segment = segments.find(({ type }) => type === PT_DYNAMIC);
  if (!segment) throw new Error('it is linked statically');
  return Array.from({ length: segment.fileBytes / 16 }, (_, index) => {
    const at = segment.offset + 16 * index;
    return { at, tag: number(bytes, at), value: number(bytes, at + 8) };
  });
}

function one(dynamic, tag) {
  const entry = dynamic.find((candidate) => candidate.tag === tag);
  if (!entry) throw new Error(`its dynamic section has no entry 0x${tag.toString(16)}`);
  return entry.value;
}

function fileOffset(segments, address) {
  const segment = segments.find(
    (each) =>
      each.type === PT_LOAD && address >= each.address && address < each.address + each.fileBytes,
  );
  if (!segment) throw new Error(`nothing is loaded at 0x${address.toString(16)}`);
  return address - segment.address + segment.offset;
}

/** One for each version of each library that it needs: Verneed and Vernaux of the gABI. */
function neededVersions(bytes, offsetOf, dynamic, stringAt) {
  const found = [];
  let libraryAt = offsetOf(one(dynamic, DT.VERNEED));
  for (let left = one(dynamic, DT.VERNEEDNUM); left > 0; left -= 1) {
    const libraryName = bytes.readUInt32LE(libraryAt + 4);
    let at = libraryAt + bytes.readUInt32LE(libraryAt + 8);
    for (let aux = bytes.readUInt16LE(libraryAt + 2); aux > 0; aux -= 1) {
      found.push({ at, libraryAt, libraryName, library: stringAt(libraryName) });
      at += bytes.readUInt32LE(at + 12);
    }
    libraryAt += bytes.readUInt32LE(libraryAt + 12);
  }
  return found;
}

function relocations(bytes, offsetOf, dynamic) {
  const tables = [
    [DT.RELA, DT.RELASZ],
    [DT.JMPREL, DT.PLTRELSZ],
  ];
  return tables.flatMap(([table, size]) => {
    const from = offsetOf(one(dynamic, table));
    return Array.from({ length: one(dynamic, size) / 24 }, (_, index) => {
      const at = from + 24 * index;
      return { at, type: bytes.readUInt32LE(at + 8), symbol: bytes.readUInt32LE(at + 12) };
    });
  });
}

/** An unsigned 64-bit number; no address or size of a real file goes beyond 2^53. */
function number(bytes, at) {
  return Number(bytes.readBigUInt64LE(at));
}
