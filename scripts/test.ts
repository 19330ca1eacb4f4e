// Runs the tests: all of them, or the files and patterns given.
//
//   npm test                                  npm test -- 'test/cas/*.test.ts'
//
// Prints what `node --test` prints, and then, before its closing lines, which tests were skipped and
// why: a skipped test must not look like a passed one.
import { globSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';

/** A file that takes longer hangs: the slowest, a cold Bazel downloading nothing, takes a few minutes. */
const FILE_TIMEOUT_MS = 15 * 60_000;

const patterns = process.argv.slice(2);
const files = globSync(patterns.length > 0 ? patterns : 'test/**/*.test.ts').toSorted();
if (files.length === 0) throw new Error(`no test file matches ${patterns.join(' ')}`);

// What a file finds out of this machine, for those after it (test/support/docker-daemon.ts).
const found = mkdtempSync(path.join(tmpdir(), 'expbuild-found-'));
process.env['FOUND_BY_TESTS'] = found;
process.once('exit', () => rmSync(found, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

const skipped: string[] = [];
const closing: string[] = [];
const events = run({
  files: files.map((file) => path.resolve(file)),
  // Some wait rather than compute: for deadlines of dead connections, and for containers.
  concurrency: availableParallelism() + 1,
  timeout: FILE_TIMEOUT_MS,
});

/** The events that are the reporter's to print; what is to stand at the end is kept back. */
async function* reported() {
  for await (const event of events) {
    const { type, data } = event;
    if (type === 'test:summary' && data.file === undefined && !data.success) process.exitCode = 1;
    if (type === 'test:pass' && data.skip !== undefined && data.skip !== false) {
      const file = data.file === undefined ? '' : `${path.relative('.', data.file)}: `;
      const reason = typeof data.skip === 'string' ? data.skip : 'no reason given';
      skipped.push(`  ${file}${data.name} (${reason})`);
    }
    const isClosing = type === 'test:diagnostic' && data.nesting === 0 && data.file === undefined;
    if (isClosing) closing.push(`# ${data.message}`);
    else yield event;
  }
}

await pipeline(Readable.from(reported()), new spec(), process.stdout, { end: false });
if (skipped.length > 0) console.log(`\nSkipped ${skipped.length} tests:\n${skipped.join('\n')}`);
console.log(`\n${closing.join('\n')}`);
