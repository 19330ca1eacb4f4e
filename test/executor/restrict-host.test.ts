import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { elfProgram } from '../../src/executor/elf-program.ts';
import { restrictHost } from '../../src/executor/restrict-host.ts';
import { restrictingProgram } from '../../src/executor/restricting-program.ts';
import { keyringFilter } from '../../src/executor/seccomp-filter.ts';
import { tempDir } from '../support/temp-dir.ts';

const skip =
  (process.platform !== 'linux' || process.arch !== 'x64') &&
  'restrictions are for Linux on x86-64';

/** A folder with two in it, and what runs a program that may make files in the first of them only. */
function confined(t: TestContext) {
  const folder = tempDir(t);
  const own = path.join(folder, 'own');
  const other = path.join(folder, 'other');
  for (const made of [own, other]) mkdirSync(made);
  const program = path.join(folder, 'restrict');
  const start = (file: string, ...args: string[]) => {
    const command = ['--no-new-privs', program, file, ...args];
    return spawnSync('setpriv', command, { cwd: own, encoding: 'utf8', env: { LANG: 'C' } });
  };
  const restrict = (folders: readonly string[] | undefined) => {
    writeFileSync(program, restrictingProgram({ filter: keyringFilter(), folders }));
    chmodSync(program, 0o755);
  };
  restrict([own]);
  return { folder, own, other, start, restrict, isConfined: start('/bin/true').status === 0 };
}

describe('a restricted program', { skip, timeout: 60_000 }, () => {
  it('has its arguments and variables', (t) => {
    const { start, restrict } = confined(t);
    restrict(undefined);
    const { stdout } = start('/bin/sh', '-c', 'echo "$0|$1|$2|$LANG"', 'one', '', 'two  three');
    assert.equal(stdout, 'one||two  three|C\n');
    assert.equal(start('/bin/sh', '-c', 'exit 7').status, 7);
  });

  it('that is not there is told by the number of the error', (t) => {
    const { start, restrict } = confined(t);
    restrict(undefined);
    assert.equal(start('/not/there').status, 2);
  });

  it('WK-01: makes files, folders, links, pipes and sockets in its own folders alone', (t) => {
    const { own, other, start, isConfined } = confined(t);
    if (!isConfined) return t.skip('the kernel has no Landlock');
    writeFileSync(path.join(other, 'there'), 'before');
    const ways = `
      touch "$1/file"; mkdir "$1/folder"; ln -s /etc "$1/link"; mkfifo "$1/pipe"
      ln "$2/there" "$1/hard"; mv "$2/moved" "$1/moved"; cp /dev/null "$1/copy"
    `;
    const make = (where: string) => {
      writeFileSync(path.join(own, 'there'), '');
      writeFileSync(path.join(own, 'moved'), '');
      return start('/bin/sh', '-c', ways, 'sh', where, own);
    };
    assert.equal(make(other).status, 1);
    assert.deepEqual(readdirSync(other), ['there']);
    const below = path.join(own, 'below');
    mkdirSync(below);
    const { status, stderr } = make(below);
    assert.equal(status, 0, stderr);
    assert.deepEqual(readdirSync(below).toSorted(), [
      'copy',
      'file',
      'folder',
      'hard',
      'link',
      'moved',
      'pipe',
    ]);
    // What is there may be changed and removed, by who may do that.
    const change = 'echo changed >"$1/there" && cat "$1/there" && rm "$1/there"';
    assert.equal(start('/bin/sh', '-c', change, 'sh', other).stdout, 'changed\n');
    return undefined;
  });

  it('WK-01: has no keyrings', { skip: !existsSync('/usr/bin/perl') && 'needs perl' }, (t) => {
    const { start, restrict } = confined(t);
    restrict(undefined);
    const text = `
      my ($type, $name, $text) = ('user', 'expbuild', 'secret');
      print syscall(248, $type, $name, $text, 6, -4), ' ', $! + 0, "\\n";
      print syscall(249, $type, $name, 0, -4), ' ', $! + 0, "\\n";
      print syscall(250, 0, -3, 1), ' ', $! + 0, "\\n";
      print syscall(39) == $$ ? 'the rest works' : 'no', "\\n";
    `;
    const { stdout, stderr } = start('/usr/bin/perl', '-e', text);
    assert.equal(stdout, '-1 1\n-1 1\n-1 1\nthe rest works\n', stderr);
  });

  it('WK-01: has no keyrings by the calls of 32 bits either', (t) => {
    const { folder, start, restrict } = confined(t);
    restrict(undefined);
    const old = path.join(folder, 'old');
    const call = (number: number) => {
      const code = [
        [0xb8, number % 256, number >> 8, 0, 0], // mov eax, number
        [0x31, 0xdb], // xor ebx, ebx: KEYCTL_GET_KEYRING_ID
        [0xb9, 0xfd, 0xff, 0xff, 0xff], // mov ecx, KEY_SPEC_SESSION_KEYRING
        [0x31, 0xd2], // xor edx, edx
        [0xcd, 0x80], // int 0x80
        [0xf7, 0xd8], // neg eax
        [0x89, 0xc7], // mov edi, eax
        [0xb8, 0xe7, 0, 0, 0], // mov eax, exit_group
        [0x0f, 0x05], // syscall
      ];
      writeFileSync(old, elfProgram(Buffer.from(code.flat())));
      chmodSync(old, 0o755);
      return start(old);
    };
    const getpid = 20;
    if (call(getpid).signal !== null) return t.skip('the kernel has no calls of 32 bits');
    for (const number of [286, 287, 288]) assert.equal(call(number).status, 1);
    return undefined;
  });
});

describe('a host', { skip, timeout: 60_000 }, () => {
  it('promises what the kernel can keep, and says why not the rest', (t) => {
    const folder = tempDir(t);
    const all = restrictHost({ folder, ownFolders: [folder] });
    const names = all.promises.map(({ what }) => what);
    assert.equal(names[0], 'no keyrings');
    assert.equal(names.length, all.missing === undefined ? 2 : 1);
    const missing = restrictHost({ folder, ownFolders: [path.join(folder, 'missing')] });
    assert.deepEqual(
      missing.promises.map(({ what }) => what),
      ['no keyrings'],
    );
    const why = all.missing === undefined ? /no such file or directory/ : /^Landlock .* is needed/;
    assert.match(missing.missing?.why ?? '', why);
    assert.equal(restrictHost({ folder, ownFolders: undefined }).missing, undefined);
  });
});
