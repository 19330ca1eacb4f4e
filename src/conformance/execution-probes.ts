import { Code } from '../base/status.ts';
import {
  Action,
  Command,
  type DeepPartial,
  Directory,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Api } from './api.ts';
import { expectRefusal, expectSame, NotApplicable } from './expect.ts';
import { encodedBlob, failureOf, violationsOf } from './actions.ts';
import { execution, running } from './needs.ts';
import type { Area } from './probe.ts';
import type { Blob } from './random-blobs.ts';
import { rpcs } from './rpcs.ts';

/** What can be asked of Execute without anything being run. */
export const executionProbes: Area = {
  name: 'execution',
  needs: [execution],
  probes: [
    {
      ids: ['EXE-05', 'DIG-19'],
      title: 'an empty request is refused, as BuildStream expects it',
      run: async (api) => {
        await expectRefusal(api.all(rpcs.execute, {}), Code.INVALID_ARGUMENT, 'no action_digest');
      },
    },
    {
      ids: ['EXE-05'],
      title: 'an action digest that is malformed, or of a blob that is no Action, is refused',
      run: async (api) => {
        const malformed = api.all(rpcs.execute, { actionDigest: { hash: 'x', sizeBytes: 1 } });
        await expectRefusal(malformed, Code.INVALID_ARGUMENT, 'the hash "x"');
        const text = api.blobOf(Buffer.from(`no action ${api.random.uuid()}`));
        await api.put(text);
        const { code } = await failureOf(api, text);
        expectSame(code, Code.INVALID_ARGUMENT, 'the code for a text in place of an Action');
      },
    },
    {
      ids: ['EXE-04', 'EXE-55'],
      title: 'an action, a command, an input root or a file that is missing stops an execution',
      run: async (api) => {
        for (const missing of ['action', 'command', 'root', 'file'] as const) {
          const { action } = await putAction(api, missing);
          const { code } = await failureOf(api, action);
          expectSame(code, Code.FAILED_PRECONDITION, `the code for a missing ${missing}`);
        }
      },
    },
    {
      ids: ['EXE-51'],
      title: 'what is missing is named: type MISSING, subject blobs/hash/size',
      run: async (api) => {
        const { action, absent } = await putAction(api, 'file');
        const violations = violationsOf(await failureOf(api, action));
        expectSame(
          violations.map(({ type, subject }) => `${type} ${subject}`),
          [`MISSING blobs/${absent?.digest}`],
          'the violations',
        );
      },
    },
    {
      ids: ['EXE-52', 'EXE-54'],
      title: 'what is missing stands in the only detail, which Bazel and Pants need',
      run: async (api) => {
        const { action } = await putAction(api, 'file');
        const { details } = await failureOf(api, action);
        expectSame(
          details.map(({ typeUrl }) => typeUrl),
          ['type.googleapis.com/google.rpc.PreconditionFailure'],
          'the types of the details',
        );
      },
    },
    {
      ids: ['EXE-13'],
      title: 'missing inputs are told in a done operation, where Pants reads them',
      run: async (api) => {
        const { action } = await putAction(api, 'file');
        const actionDigest = action.digest.toMessage();
        const operations = await api.all(rpcs.execute, { actionDigest });
        expectSame(operations.at(-1)?.done, true, 'done of the last message');
        expectSame(operations.at(-1)?.result?.$case, 'response', 'the kind of its result');
      },
    },
    {
      ids: ['EXE-53'],
      title: 'all missing inputs are told at once',
      run: async (api) => {
        const { action } = await putAction(api, 'file', 20);
        const violations = violationsOf(await failureOf(api, action));
        expectSame(violations.length, 20, 'the number of violations');
      },
    },
    {
      ids: ['EXE-14', 'CAP-24'],
      title: 'a priority beyond what is announced is refused',
      run: async (api) => {
        const { priorities = [] } = api.tested.execution?.executionPriorityCapabilities ?? {};
        if (priorities.length === 0) throw new NotApplicable('no priorities are announced');
        const priority = Math.max(...priorities.map((range) => range.maxPriority)) + 1;
        if (priority > 2 ** 31 - 1) throw new NotApplicable('every priority is announced');
        const { action } = await putAction(api, 'file');
        const actionDigest = action.digest.toMessage();
        const call = api.all(rpcs.execute, { actionDigest, executionPolicy: { priority } });
        await expectRefusal(call, Code.INVALID_ARGUMENT, `the priority ${priority}`);
      },
    },
    {
      ids: ['EXE-16', 'DIG-08'],
      title: 'an execution with a digest function that is not announced is refused',
      run: async (api) => {
        const actionDigest = { hash: 'a'.repeat(64), sizeBytes: 1 };
        const call = api.all(rpcs.execute, { actionDigest, digestFunction: 99 as 1 });
        await expectRefusal(call, Code.INVALID_ARGUMENT, 'digest function 99');
      },
    },
    {
      ids: ['DIR-01', 'DIR-02', 'DIR-03', 'DIR-10'],
      title: 'an input tree with names that cannot be, or that repeat, is refused',
      run: async (api) => {
        const file = api.blob();
        await api.put(file);
        const digest = file.digest.toMessage();
        const wrong: readonly DeepPartial<Directory>[] = [
          ...['a/b', '..', '.', ''].map((name) => ({ files: [{ name, digest }] })),
          { files: [{ name: 'x', digest }], symlinks: [{ name: 'x', target: 'y' }] },
          { symlinks: [{ name: 'x', target: '' }] },
        ];
        for (const directory of wrong) {
          const { code } = await failureOf(api, await putActionWith(api, directory));
          const what = `the code for ${JSON.stringify(directory)}`;
          expectSame(code, Code.INVALID_ARGUMENT, what);
        }
      },
    },
    {
      ids: ['ACT-16', 'ACT-17', 'ACT-23', 'ACT-24'],
      title: 'a command with paths that cannot be is refused',
      run: async (api) => {
        const wrong: readonly DeepPartial<Command>[] = [
          { arguments: ['true'], outputPaths: ['/a'] },
          { arguments: ['true'], outputPaths: ['a/'] },
          { arguments: ['true'], outputPaths: ['../a'] },
          { arguments: ['true'], workingDirectory: '../..' },
          { arguments: ['true'], workingDirectory: 'no/such/directory' },
        ];
        for (const command of wrong) {
          const { code } = await failureOf(api, await putActionWith(api, {}, command));
          expectSame(code, Code.INVALID_ARGUMENT, `the code for ${JSON.stringify(command)}`);
        }
      },
      needs: [running],
    },
    {
      ids: ['EXE-24'],
      title: 'an operation that nobody knows is NOT_FOUND',
      run: async (api) => {
        const call = api.all(rpcs.waitExecution, { name: unknownOperation(api) });
        await expectRefusal(call, Code.NOT_FOUND, 'WaitExecution of an unknown operation');
      },
    },
  ],
};

/** The name of an operation as servers form it, that none has. */
export function unknownOperation(api: Api): string {
  const { instanceName } = api.tested;
  return `${instanceName === '' ? '' : `${instanceName}/`}operations/${api.random.uuid()}`;
}

/** An action that can never run: one of its parts is not stored. */
async function putAction(
  api: Api,
  missing: 'action' | 'command' | 'root' | 'file',
  files = 1,
): Promise<{ readonly action: Blob; readonly absent: Blob | undefined }> {
  const absent = Array.from({ length: files }, () => api.blob());
  const inputs = absent.map(({ digest }, i) => ({
    name: `file-${String(i).padStart(2, '0')}`,
    digest: digest.toMessage(),
  }));
  const command = encodedBlob(api, Command, { arguments: ['true', api.random.uuid()] });
  const root = encodedBlob(api, Directory, {
    files: missing === 'file' ? inputs : inputs.slice(1),
  });
  const action = encodedBlob(api, Action, {
    commandDigest: command.digest.toMessage(),
    inputRootDigest: root.digest.toMessage(),
    salt: api.random.bytes(16),
    platform: { properties: [...api.tested.platform] },
  });
  // An input root without files is the empty blob, which is never missing.
  const needed = missing === 'root' ? encodedBlob(api, Directory, { files: inputs }) : undefined;
  if (needed) return putActionOn(api, command, needed);
  if (missing !== 'command') await api.put(command);
  await api.put(root);
  if (missing !== 'action') await api.put(action);
  return { action, absent: missing === 'file' ? absent[0] : undefined };
}

async function putActionOn(api: Api, command: Blob, root: Blob) {
  const action = encodedBlob(api, Action, {
    commandDigest: command.digest.toMessage(),
    inputRootDigest: root.digest.toMessage(),
    salt: api.random.bytes(16),
    platform: { properties: [...api.tested.platform] },
  });
  await api.put(command, action);
  return { action, absent: root };
}

/** An action that must not run: its input root or its command is wrong. */
async function putActionWith(
  api: Api,
  directory: DeepPartial<Directory>,
  parts: DeepPartial<Command> = { arguments: ['true'] },
): Promise<Blob> {
  const root = encodedBlob(api, Directory, directory);
  await api.put(root);
  const { action } = await putActionOn(api, encodedBlob(api, Command, parts), root);
  return action;
}
