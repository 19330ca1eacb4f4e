import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { executable, executableSkip } from '../support/executable.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Runs the function that it reads from its argument against the compiler's own. */
const harness = String.raw`
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
typedef _Bool compare_exchange(size_t, void *, void *, void *, int, int);
static int failures;
static void check(compare_exchange *f, size_t size, int equal) {
  _Alignas(16) unsigned char object[48], expected[48], desired[48], was[48];
  for (int i = 0; i < 48; i++) { object[i] = 3 * i + 1; desired[i] = 200 - i; expected[i] = object[i]; }
  if (!equal) expected[16 + size - 1] ^= 0x80;
  memcpy(was, object, 48);
  _Bool done = f(size, object + 16, expected + 16, desired + 16, 5, 5);
  if (done != equal) failures++;
  if (memcmp(object + 16, (equal ? desired : was) + 16, size) != 0) failures++;
  if (memcmp(expected + 16, was + 16, size) != 0) failures++;
  if (memcmp(object, was, 16) || memcmp(object + 16 + size, was + 16 + size, 32 - size)) failures++;
}
int main(int argc, char **argv) {
  unsigned char code[4096] = {0};
  FILE *file = fopen(argv[1], "rb");
  if (argc != 2 || !file || !fread(code, 1, sizeof code, file)) return 2;
  void *page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memcpy(page, code, 4096);
  mprotect(page, 4096, PROT_READ | PROT_EXEC);
  for (size_t size = 1; size <= 16; size *= 2)
    for (int equal = 0; equal < 2; equal++) check((compare_exchange *)page, size, equal);
  printf("%d failures\n", failures);
  return failures != 0;
}`;

test(
  'the executable needs no library that a plain Debian lacks',
  { skip: executableSkip() },
  () => {
    const listed = execFileSync(executable, {
      env: { LD_TRACE_LOADED_OBJECTS: '1' },
      encoding: 'utf8',
    });
    const libraries = new Set(
      [...listed.matchAll(/^\s*(?:\S*\/)?(\S+?)\.so/gm)].map(([, name]) => name),
    );
    // linux-vdso comes from the kernel, libstdc++ and libgcc_s with apt, the rest with glibc.
    const everywhere = ['linux-vdso', 'libstdc++', 'libgcc_s'];
    const glibc = ['ld-linux-x86-64', 'libc', 'libdl', 'libm', 'libpthread'];
    assert.deepEqual(libraries, new Set([...everywhere, ...glibc]));
  },
);

test('the function that Node is given in place of libatomic compares and exchanges', async (t) => {
  if (spawnSync('gcc', ['--version']).error) return t.skip('no gcc');
  // The machine's own Node runs that file, so it is no TypeScript and has no types.
  const settle = path.resolve('scripts/settle-node.mjs');
  const { compareExchange, withoutLibatomic } = (await import(settle)) as {
    compareExchange: Uint8Array;
    withoutLibatomic: (bytes: Uint8Array) => Uint8Array | undefined;
  };
  const dir = tempDir(t);
  writeFileSync(path.join(dir, 'code'), compareExchange);
  writeFileSync(path.join(dir, 'harness.c'), harness);
  execFileSync('gcc', ['-O1', '-o', 'harness', 'harness.c'], { cwd: dir });
  const output = execFileSync(path.join(dir, 'harness'), ['code'], { cwd: dir, encoding: 'utf8' });
  assert.equal(output, '0 failures\n');
  assert.equal(withoutLibatomic(readFileSync(process.execPath)), undefined, 'settled already');
});
