import { adversary } from './adversary.ts';
import { levelBench, levels } from './adversary-bench.ts';

// A process to be killed while its command runs: node adversary-worker.ts LEVEL UID MARK. It prints a line
// of JSON once the command has left all it can.
const [level, uid, mark = ''] = process.argv.slice(2);
const one = levels[Number(level)];
if (one) {
  const { run, inputRoot, folder, ready, cgroup } = await levelBench(
    { after() {} },
    one,
    Number(uid),
  );
  const running = run(adversary(inputRoot, mark, 'waiting'), { timeoutMs: 600_000 });
  await ready();
  process.stdout.write(`${JSON.stringify({ folder, cgroup })}\n`);
  await running;
}
