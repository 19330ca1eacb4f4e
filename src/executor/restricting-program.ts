import { codeStart, elfProgram } from './elf-program.ts';

/** What a program, and all that it starts, is kept from. */
export interface Restrictions {
  /** System calls that fail, as a compiled filter (seccomp(2)). */
  readonly filter: Buffer;
  /** The folders that exist in which, and below which, files can be made; undefined for all. */
  readonly folders: readonly string[] | undefined;
}

// The numbers of x86-64: arch/x86/entry/syscalls/syscall_64.tbl of Linux.
const calls = {
  open: 2,
  execve: 59,
  exitGroup: 231,
  seccomp: 317,
  landlockCreateRuleset: 444,
  landlockAddRule: 445,
  landlockRestrictSelf: 446,
} as const;

const setModeFilter = 1;
const rulePathBeneath = 1;
/** O_PATH and O_CLOEXEC. */
const openFlags = 0o12_000_000;
/**
 * LANDLOCK_ACCESS_FS_MAKE_CHAR to MAKE_SYM, which are bits 6 to 12, and REFER, without which nothing could
 * be moved between folders. It came with the second version of Landlock, in Linux 5.19.
 */
const makingFiles = 0x3fc0;

// Registers keep their values over system calls, but for eax, ecx and r11.
const [toEdi, toEsi, toEdx, toR10d] = [[0xbf], [0xbe], [0xba], [0x41, 0xba]] as const;
const argumentRegisters = [toEdi, toEsi, toEdx, toR10d];
const rulesetToR12d = [0x41, 0x89, 0xc4]; // mov r12d, eax
const r12dToEdi = [0x44, 0x89, 0xe7]; // mov edi, r12d
const stackToRbx = [0x48, 0x89, 0xe3]; // mov rbx, rsp
const stackToRdx = [0x48, 0x89, 0xe2]; // mov rdx, rsp
const pushRax = [0x50];

/**
 * A program for Linux on x86-64 that restricts itself and then becomes the program that its arguments name,
 * by a path: for what Node has no system calls. Whoever starts it must have given up new privileges
 * (no_new_privs). When the kernel refuses something, it ends with the number of the error as its exit code.
 */
export function restrictingProgram({ filter, folders }: Restrictions): Buffer {
  // Two rounds: the second one knows how long the code is, and so where the data are.
  const measured = assemble({ filter, folders }, codeStart);
  const { code, data } = assemble({ filter, folders }, codeStart + measured.code.length);
  return elfProgram(Buffer.concat([code, data]));
}

function assemble({ filter, folders }: Restrictions, dataStart: number) {
  const data = new Data(dataStart);
  const confined = folders === undefined ? [] : confine(folders, data);
  const steps: number[][] = [stackToRbx, ...confined, ...applyFilter(filter, data), ...become()];
  const failureAt = steps.reduce((sum, { length }) => sum + length, 0);
  return { code: Buffer.from([...patched(steps, failureAt), ...fail()]), data: data.bytes() };
}

/** landlock(7): files can be made in these folders alone. */
function confine(folders: readonly string[], data: Data): number[][] {
  const handled = Buffer.alloc(8);
  handled.writeUInt32LE(makingFiles);
  const rules = folders.flatMap((folder) => [
    ...call(calls.open, [data.add(Buffer.from(`${folder}\0`)), openFlags, 0]),
    // struct landlock_path_beneath_attr: the rights, then the folder's descriptor.
    pushRax,
    [0x68, ...int32(makingFiles)], // push imm32
    stackToRdx,
    r12dToEdi,
    ...call(calls.landlockAddRule, [undefined, rulePathBeneath, undefined, 0]),
  ]);
  return [
    ...call(calls.landlockCreateRuleset, [data.add(handled), handled.length, 0]),
    rulesetToR12d,
    ...rules,
    r12dToEdi,
    ...call(calls.landlockRestrictSelf, [undefined, 0]),
  ];
}

function applyFilter(filter: Buffer, data: Data): number[][] {
  // struct sock_fprog: how many steps of eight bytes, and where.
  const program = Buffer.alloc(16);
  program.writeUInt16LE(filter.length / 8);
  program.writeUInt32LE(data.add(filter), 8);
  return call(calls.seccomp, [setModeFilter, 0, data.add(program)]);
}

/** The stack at the start: the number of arguments, pointers to each, a null, pointers to the variables. */
function become(): number[][] {
  return [
    [0x48, 0x8b, 0x7b, 0x10], // mov rdi, [rbx + 16]
    [0x48, 0x8d, 0x73, 0x10], // lea rsi, [rbx + 16]
    [0x48, 0x8b, 0x03], // mov rax, [rbx]
    [0x48, 0x8d, 0x54, 0xc3, 0x10], // lea rdx, [rbx + 8 * rax + 16]
    ...call(calls.execve, []),
  ];
}

/** Ends with what the last call said. */
function fail(): number[] {
  return [
    [0xf7, 0xd8], // neg eax
    [0x89, 0xc7], // mov edi, eax
    [0xb8, ...int32(calls.exitGroup)], // mov eax, imm32
    [0x0f, 0x05], // syscall
  ].flat();
}

/** A system call; of its arguments, those that are undefined are in their registers already. */
function call(number: number, values: readonly (number | undefined)[]): number[][] {
  const moves = values.flatMap((value, index) =>
    value === undefined ? [] : [[...(argumentRegisters[index] ?? []), ...int32(value)]],
  );
  return [
    ...moves,
    [0xb8, ...int32(number)], // mov eax, imm32
    [0x0f, 0x05], // syscall
    [0x85, 0xc0], // test eax, eax
    jumpToFailure,
  ];
}

/** js rel32, of which the place is filled in later. */
const jumpToFailure = [0x0f, 0x88, 0, 0, 0, 0];

function patched(steps: readonly number[][], failureAt: number): number[] {
  const code: number[] = [];
  for (const step of steps) {
    const next = code.length + step.length;
    code.push(...(step === jumpToFailure ? [0x0f, 0x88, ...int32(failureAt - next)] : step));
  }
  return code;
}

/** What the code points to. */
class Data {
  readonly #start: number;
  #length = 0;
  readonly #parts: Buffer[] = [];

  constructor(start: number) {
    this.#start = start;
  }

  /** Where it will be. */
  add(part: Buffer): number {
    const at = this.#start + this.#length;
    this.#parts.push(part);
    this.#length += part.length;
    return at;
  }

  bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

function int32(value: number): number[] {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return [...bytes];
}
