import {
  chmodSync,
  copyFileSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { messageQueuesFolder } from '../../src/executor/shared-folders.ts';
import { processesNaming } from './processes.ts';

export type Ending = 'success' | 'failure' | 'waiting' | 'memory';

/** Leaves all that a command can leave on a machine, tells what it could, and ends as it is told. */
const program = String.raw`
my ($mark, $ending) = @ARGV;
$SIG{$_} = 'IGNORE' for qw(TERM HUP INT USR1 USR2);
$| = 1;
sub tell_of { my ($what, $done) = @_; print "$what ", $done ? 'left' : 'refused', "\n"; }
my $key = 0x5EED0000 | ($$ & 0xFFFF);
tell_of('shm', defined shmget($key, 4096, 01600));
tell_of('sem', defined semget($key, 1, 01600));
tell_of('msg', defined msgget($key, 01600));
my ($queue, $type, $text) = ($mark, 'user', 'secret');
tell_of('mq', syscall(240, $queue, 0102, 0600, 0) >= 0);
tell_of('key', syscall(248, $type, $queue, $text, 6, -4) >= 0);
for my $at ('/tmp', '/var/tmp', '/dev/shm', '/run/lock', '/var/spool/cron/crontabs', '/dev/mqueue', "/run/$mark") {
  tell_of($at, open(my $file, '>', "$at/$mark"));
}
my $here = -w '/var/tmp' ? '/var/tmp' : '/tmp';
open(my $odd, '>', "$here/$mark\xff\n x");
symlink('/etc', "$here/$mark.link");
mkdir($_) for "$here/$mark.d", "$here/$mark.d/closed";
open(my $deep, '>', "$here/$mark.d/closed/file");
chmod(0, "$here/$mark.d/closed", "$here/$mark.d");
socket(my $named, 1, 1, 0);
tell_of('socket', bind($named, pack('S a*', 1, "$here/$mark.sock")) && listen($named, 1));
socket(my $abstract, 1, 1, 0);
tell_of('abstract', bind($abstract, pack('S a*', 1, "\0$mark")) && listen($abstract, 1));
$^F = 100;
pipe(my $ready, my $begun);
if (!fork) {
  # It has a session of its own, says nothing, and is never the same process for long.
  syscall(112);
  exit if fork;
  close $_ for *STDIN, *STDOUT, *STDERR;
  close $ready;
  if (!fork) { close $begun; sleep 1 while 1 }
  syswrite($begun, 'x');
  close $begun;
  while (1) { select(undef, undef, undef, 0.002); exit if fork }
}
sysread($ready, my $one, 1);
print "ready\n";
sleep 1 while $ending eq 'waiting';
my $size = $ending eq 'memory' ? 300_000_000 : 0;
my $hog = 'x' x $size;
exit($ending eq 'failure' ? 3 : 0);
`;

/** A folder that everybody may write to, and that nobody knows of, gone after the test. */
export function openFolder(t: Pick<TestContext, 'after'>, mark: string): void {
  const folder = path.join('/run', mark);
  mkdirSync(folder);
  chmodSync(folder, 0o1777);
  t.after(() => rmSync(folder, { recursive: true }));
}

/** The command in an input root; the mark tells its processes, files and sockets from all others. */
export function adversary(
  inputRoot: string,
  mark: string,
  ending: Ending,
): readonly [string, ...string[]] {
  writeFileSync(path.join(inputRoot, 'adversary'), program);
  return ['perl', 'adversary', mark, ending];
}

/** The same for a container that has no Perl: it brings this machine's. */
export function adversaryWithPerl(
  inputRoot: string,
  mark: string,
  ending: Ending,
): readonly [string, ...string[]] {
  const folder = path.join(inputRoot, 'perl');
  mkdirSync(folder, { recursive: true });
  const lines = execFileSync('ldd', ['/usr/bin/perl']).toString();
  const files = [...lines.matchAll(/\/\S+/g)].map(([file]) => file);
  for (const file of ['/usr/bin/perl', ...files]) {
    copyFileSync(file, path.join(folder, path.basename(file)));
  }
  const [, ...args] = adversary(inputRoot, mark, ending);
  const loader = path.basename(files.find((file) => file.includes('ld-linux')) ?? '');
  return [`perl/${loader}`, '--library-path', 'perl', 'perl/perl', ...args];
}

/** All that a machine shows of a user or of what has the mark; empty when nothing is left. */
export function leftOn(uid: number, mark: string): string[] {
  const isOfUser = (status: string) => new RegExp(`^Uid:.*\\t${uid}\\b`, 'm').test(status);
  const processes = readdirSync('/proc').filter((id) => {
    const status = /^\d+$/.test(id) ? readIfThere(`/proc/${id}/status`) : '';
    return isOfUser(status) && !/^State:\t[ZX]/m.test(status);
  });
  const tables = ['shm', 'sem', 'msg'].flatMap((table) =>
    linesOf(`/proc/sysvipc/${table}`).filter((line) => line.split(/\s+/).includes(String(uid))),
  );
  const marked = ['/proc/net/unix', '/proc/self/mountinfo'].flatMap((file) =>
    linesOf(file).filter((line) => line.includes(mark)),
  );
  const shared = [
    path.join('/run', mark),
    '/tmp',
    '/var/tmp',
    '/dev/shm',
    '/run/lock',
    '/var/spool/cron/crontabs',
  ];
  const files = [...shared, messageQueuesFolder() ?? '/dev/mqueue'].flatMap((folder) =>
    entriesOf(folder).filter((entry) => lstatSync(entry, { throwIfNoEntry: false })?.uid === uid),
  );
  return [...processes, ...processesNaming(mark), ...tables, ...marked, ...files.map(String)];
}

function entriesOf(folder: string): Buffer[] {
  try {
    const names = readdirSync(folder, { encoding: 'buffer' });
    return names.map((name) => Buffer.concat([Buffer.from(`${folder}/`), name]));
  } catch {
    return [];
  }
}

function linesOf(file: string): string[] {
  return readIfThere(file).split('\n').filter(Boolean);
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
