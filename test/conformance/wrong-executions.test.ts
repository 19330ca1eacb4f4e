import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { areas } from '../../src/conformance/areas.ts';
import {
  type ActionResult,
  ExecuteResponse,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { Operation } from '../../src/proto/google/longrunning/operations.ts';
import type { Method } from '../../src/rpc/method.ts';
import { type Fleet, startFleet } from '../support/fleet.ts';
import { startForwardingServer } from './forwarding-server.ts';
import { answering, type Flaw, refusing } from './wrong-server.ts';

/** Changes what Execute and WaitExecution say at the end. */
function ending(change: (response: ExecuteResponse) => ExecuteResponse): Flaw {
  const changed = (operation: Operation): Operation => {
    if (operation.result?.$case !== 'response') return operation;
    const any = operation.result.value;
    const value = ExecuteResponse.encode(change(ExecuteResponse.decode(any.value))).finish();
    return { ...operation, result: { $case: 'response', value: { ...any, value } } };
  };
  const execute = answering('Execute', Operation, changed);
  const wait = answering('WaitExecution', Operation, changed);
  return (method) => wait(execute(method));
}

/** Changes the result, where there is one. */
function resulting(change: (result: ActionResult) => Partial<ActionResult>): Flaw {
  return ending(({ result, ...response }) => ({
    ...response,
    result: result && { ...result, ...change(result) },
  }));
}

/** As if nothing had been run: every action ends well, without outputs. */
const idle = ending(() => ExecuteResponse.fromPartial({ result: {} }));

/** A method that says yes to everything. */
function answeringAlways(name: string): Flaw {
  return (method): Method =>
    method.kind === 'unary' && method.path.endsWith(`/${name}`)
      ? { ...method, handle: async () => new Uint8Array() }
      : method;
}

const cases: readonly { readonly does: string; readonly breaks: string; readonly flaw: Flaw }[] = [
  {
    does: 'says nothing of a timeout but its code',
    breaks: 'exe-50',
    flaw: ending((response) => {
      if (response.status) response.status.message = 'too slow';
      return response;
    }),
  },
  {
    does: 'calls every result new',
    breaks: 'exe-57',
    flaw: ending((response) => ({ ...response, cachedResult: false })),
  },
  {
    does: 'leaves out when the worker began',
    breaks: 'res-26',
    flaw: resulting(({ executionMetadata: metadata }) => ({
      executionMetadata: metadata && { ...metadata, workerStartTimestamp: undefined },
    })),
  },
  {
    does: 'fills only the new field for symlinks',
    breaks: 'res-07',
    flaw: resulting(() => ({ outputFileSymlinks: [] })),
  },
  {
    does: 'calls an operation done from its beginning',
    breaks: 'exe-26',
    flaw: answering('Execute', Operation, (operation) => ({ ...operation, done: true })),
  },
  {
    does: 'gives each message another name',
    breaks: 'exe-02',
    flaw: answering('Execute', Operation, (operation) => ({
      ...operation,
      name: operation.name + (operation.done ? 'x' : ''),
    })),
  },
  {
    does: 'takes a cancelled operation for a mistake of its own',
    breaks: 'exe-56',
    flaw: ending((response) => {
      if (response.status?.code === Code.CANCELLED) response.status.code = Code.INTERNAL;
      return response;
    }),
  },
  {
    does: 'keeps the results of all actions',
    breaks: 'exe-33',
    flaw: answeringAlways('GetActionResult'),
  },
  {
    does: 'does not say which action an operation is for',
    breaks: 'exe-61',
    flaw: answering('Execute', Operation, ({ metadata, ...operation }) => ({
      ...operation,
      metadata: metadata && { ...metadata, value: new Uint8Array() },
    })),
  },
  {
    does: 'forgets operations at once',
    breaks: 'exe-22',
    flaw: refusing(Code.NOT_FOUND, 'WaitExecution'),
  },
  {
    does: 'lets nobody watch',
    breaks: 'exe-25',
    flaw: refusing(Code.FAILED_PRECONDITION, 'WaitExecution'),
  },
  {
    does: 'deletes nothing, and says that it did',
    breaks: 'ops-07',
    flaw: answeringAlways('DeleteOperation'),
  },
  {
    does: 'answers to WaitOperation with nothing',
    breaks: 'ops-08',
    flaw: answeringAlways('WaitOperation'),
  },
  {
    does: 'cannot cancel what is done',
    breaks: 'ops-05',
    flaw: refusing(Code.FAILED_PRECONDITION, 'CancelOperation'),
  },
];

interface Report {
  readonly rules: readonly { readonly id: string; readonly outcome: string }[];
  readonly probes: readonly { readonly title: string; readonly outcome: string }[];
}

async function reportAt(
  t: Parameters<typeof startForwardingServer>[0],
  fleet: Fleet,
  flaw: Flaw,
  only: string,
) {
  const address = await startForwardingServer(t, fleet.server.address, flaw);
  const argv = ['conformance', address, '--execute', '--json', '--only', only];
  const { stdout, stderr } = await fleet.cli(argv);
  assert.notEqual(stdout, '', stderr);
  return JSON.parse(stdout) as Report;
}

test('a server that executes wrongly does not pass, and each probe fails at one', async (t) => {
  const fleet = await startFleet(t);
  await fleet.worker('worker-1');
  const failed = new Set<string>();
  const note = ({ probes }: Report) => {
    for (const { title, outcome } of probes) if (outcome === 'fail') failed.add(title);
  };
  for (const { does, breaks, flaw } of cases) {
    await t.test(`one that ${does}: ${breaks}`, async (inner) => {
      const report = await reportAt(inner, fleet, flaw, breaks);
      const rule = report.rules.find(({ id }) => id.toLowerCase() === breaks);
      assert.equal(rule?.outcome, 'fail');
      note(report);
    });
  }
  await t.test('one that only says that it executes', async (inner) =>
    note(await reportAt(inner, fleet, idle, 'running')),
  );
  const running = areas.find(({ name }) => name === 'running');
  const harmless = running?.probes.filter(({ title }) => !failed.has(title));
  assert.deepEqual(harmless, []);
});
