import { constants } from 'node:os';

// The numbers of x86-64: arch/x86/entry/syscalls/syscall_64.tbl of Linux.
const denied = {
  // What the kernel can be changed or watched with.
  kexec_load: 246,
  kexec_file_load: 320,
  create_module: 174,
  init_module: 175,
  finit_module: 313,
  delete_module: 176,
  bpf: 321,
  perf_event_open: 298,
  userfaultfd: 323,
  io_uring_setup: 425,
  io_uring_enter: 426,
  io_uring_register: 427,
  iopl: 172,
  ioperm: 173,
  syslog: 103,
  kcmp: 312,
  lookup_dcookie: 212,
  // Keyrings know no namespaces.
  add_key: 248,
  request_key: 249,
  keyctl: 250,
  // Other views of the machine.
  mount: 165,
  umount2: 166,
  pivot_root: 155,
  open_tree: 428,
  move_mount: 429,
  fsopen: 430,
  fsconfig: 431,
  fsmount: 432,
  fspick: 433,
  mount_setattr: 442,
  open_tree_attr: 467,
  unshare: 272,
  setns: 308,
  open_by_handle_at: 304,
  // What is the machine's alone.
  quotactl: 179,
  quotactl_fd: 443,
  swapon: 167,
  swapoff: 168,
  reboot: 169,
  acct: 163,
  nfsservctl: 180,
  sethostname: 170,
  setdomainname: 171,
  settimeofday: 164,
  clock_settime: 227,
  clock_adjtime: 305,
  vhangup: 153,
} as const;

const clone = 56;
const clone3 = 435;
const ioctl = 16;
/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET. */
const newNamespaces = 0x7e02_0000;
const socket = 41;
/**
 * AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK, in this order. No network namespace holds AF_VSOCK, the way to
 * the host of a virtual machine; AF_ALG and the like are for others than builds.
 */
const addressFamilies = [1, 2, 10, 16];
const tiocsti = 0x5412;
const tioclinux = 0x541c;

const keyrings = [denied.add_key, denied.request_key, denied.keyctl];
/** The same in arch/x86/entry/syscalls/syscall_32.tbl. */
const keyringsI386 = [286, 287, 288];

const archX64 = 0xc000_003e;
const archI386 = 0x4000_0003;
/** Numbers from here on are those of x32, another way to all calls. */
const x32Bit = 0x4000_0000;

const allow = 0x7fff_0000;
const refuse = (errno: number) => 0x0005_0000 | errno;
const notPermitted = refuse(constants.errno.EPERM);
const notImplemented = refuse(constants.errno.ENOSYS);
const noSuchFamily = refuse(constants.errno.EAFNOSUPPORT);

/** In `newNamespaces`. */
const namespaceFlags = [17, 25, 26, 27, 28, 29, 30].map((bit) => 2 ** bit);

/** Places in `struct seccomp_data`, the low halves of the arguments on this machine. */
const number = 0;
const arch = 4;
const argument = (index: number) => 16 + 8 * index;

/** A step of classic BPF: code, steps to skip when it holds and when not, value. */
type Step = readonly [code: number, whenTrue: number, whenFalse: number, value: number];
const load = (at: number): Step => [0x20, 0, 0, at];
const skipIfEqual = (value: number, steps: number): Step => [0x15, steps, 0, value];
const skipUnlessEqual = (value: number, steps: number): Step => [0x15, 0, steps, value];
const skipUnlessAtLeast = (value: number, steps: number): Step => [0x35, 0, steps, value];
const skipUnlessAnyOf = (bits: number, steps: number): Step => [0x45, 0, steps, bits];
const end = (verdict: number): Step => [0x06, 0, 0, verdict];

/**
 * The system calls that no action has a use for, as a compiled filter for x86-64: they fail with EPERM,
 * so that configure scripts can ask for them, and sockets of rare families with EAFNOSUPPORT. clone3 hides
 * its flags from filters and fails with ENOSYS: the C library then takes clone, of which new namespaces are
 * refused. Programs for other processors (32 bits among them) get ENOSYS for every call.
 */
export function seccompFilter(): Buffer {
  const steps: readonly Step[] = [
    load(arch),
    skipIfEqual(archX64, 1),
    end(notImplemented),
    load(number),
    skipUnlessAtLeast(x32Bit, 1),
    end(notImplemented),
    ...Object.values(denied).flatMap((call) => [skipUnlessEqual(call, 1), end(notPermitted)]),
    skipUnlessEqual(clone3, 1),
    end(notImplemented),
    skipUnlessEqual(clone, 4),
    load(argument(0)),
    skipUnlessAnyOf(newNamespaces, 1),
    end(notPermitted),
    end(allow),
    skipUnlessEqual(socket, 3 + addressFamilies.length),
    load(argument(0)),
    ...addressFamilies.map((family, index) => skipIfEqual(family, addressFamilies.length - index)),
    end(noSuchFamily),
    end(allow),
    skipUnlessEqual(ioctl, 4),
    // What is pushed into a terminal is taken for typed (CVE-2017-5226).
    load(argument(1)),
    skipIfEqual(tiocsti, 1),
    skipUnlessEqual(tioclinux, 1),
    end(notPermitted),
    end(allow),
  ];
  return compiled(steps);
}

/**
 * Refuses keyrings (EPERM), in programs for 32 bits too: what is in those of a user outlives its commands, and
 * who started a worker may have keys in that of the session. For x86-64.
 */
export function keyringFilter(): Buffer {
  return compiled([
    load(arch),
    ...refusing(archX64, [...keyrings, ...keyrings.map((call) => x32Bit | call)]),
    ...refusing(archI386, keyringsI386),
    end(allow),
  ]);
}

/** The verdict for programs of one kind, to follow what loads the kind. */
function refusing(kind: number, calls: readonly number[]): Step[] {
  const verdict = [
    load(number),
    ...calls.flatMap((call) => [skipUnlessEqual(call, 1), end(notPermitted)]),
    end(allow),
  ];
  return [skipUnlessEqual(kind, verdict.length), ...verdict];
}

function compiled(steps: readonly Step[]): Buffer {
  const bytes = Buffer.alloc(steps.length * 8);
  for (const [index, [code, whenTrue, whenFalse, value]] of steps.entries()) {
    bytes.writeUInt16LE(code, index * 8);
    bytes.writeUInt8(whenTrue, index * 8 + 2);
    bytes.writeUInt8(whenFalse, index * 8 + 3);
    bytes.writeUInt32LE(value, index * 8 + 4);
  }
  return bytes;
}

/** The same as a profile that makers of containers read: runtime-spec, config-linux.md, "Seccomp". */
export function seccompProfile(): string {
  const none = { action: 'SCMP_ACT_ERRNO', errnoRet: constants.errno.EPERM };
  const ofClone = namespaceFlags.map((value) => ({
    names: ['clone'],
    args: [{ index: 0, value, valueTwo: value, op: 'SCMP_CMP_MASKED_EQ' }],
    ...none,
  }));
  const ofTerminals = [tiocsti, tioclinux].map((value) => ({
    names: ['ioctl'],
    args: [{ index: 1, value, op: 'SCMP_CMP_EQ' }],
    ...none,
  }));
  // Rules are joined by "or" for one call, so each range between the allowed families is one.
  const [first = 0, ...others] = addressFamilies;
  const last = others.at(-1) ?? first;
  const between = Array.from({ length: last }, (_, family) => family).filter(
    (family) => !addressFamilies.includes(family),
  );
  const ofSockets = [
    ...between.map((value) => ({ index: 0, value, op: 'SCMP_CMP_EQ' })),
    { index: 0, value: last, op: 'SCMP_CMP_GT' },
  ].map((arg) => ({
    ...none,
    names: ['socket'],
    args: [arg],
    errnoRet: constants.errno.EAFNOSUPPORT,
  }));
  return JSON.stringify({
    defaultAction: 'SCMP_ACT_ALLOW',
    syscalls: [
      { names: Object.keys(denied), ...none },
      { ...none, names: ['clone3'], errnoRet: constants.errno.ENOSYS },
      ...ofClone,
      ...ofTerminals,
      ...ofSockets,
    ],
  });
}
