import {
  Action,
  Command,
  Directory,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { encodedBlob, failureOf, putScript, resultOf } from './actions.ts';
import type { Api } from './api.ts';
import { Code } from '../base/status.ts';
import { expectSame } from './expect.ts';
import { splicing } from './needs.ts';
import type { Probe } from './probe.ts';
import type { Blob } from './random-blobs.ts';
import { rpcs } from './rpcs.ts';

/** What a command is given: its arguments, and its inputs. */
export const argumentProbes: readonly Probe[] = [
  {
    ids: ['ACT-09'],
    title: 'a command is a path below its working directory, an absolute one, or looked up in PATH',
    run: async (api) => {
      const script = api.blobOf(Buffer.from(`#!/bin/sh\n# ${api.random.uuid()}\nexit 7\n`));
      const variables = [{ name: 'PATH', value: '/usr/local/bin:/usr/bin:/bin' }];
      const forms = [['./program'], ['/bin/sh', 'program'], ['sh', 'program']];
      for (const args of forms) {
        const command = {
          arguments: args,
          workingDirectory: 'work',
          environmentVariables: variables,
        };
        const { result } = await resultOf(api, await putInput(api, script, command));
        expectSame(result.exitCode, 7, `the exit code of ${args.join(' ')}`);
      }
      const nothing = await putScript(api, '', { command: { arguments: [] } });
      const { code } = await failureOf(api, nothing);
      expectSame(code, Code.INVALID_ARGUMENT, 'the code for no arguments');
    },
  },
  {
    ids: ['CDC-22'],
    title: 'a blob that was spliced can be an input',
    needs: [splicing],
    run: async (api) => {
      const chunks = ['exit ', '9\n'].map((text) => api.blobOf(Buffer.from(text)));
      await api.put(...chunks);
      const blob = api.blobOf(Buffer.concat(chunks.map(({ bytes }) => bytes)));
      await api.one(rpcs.splice, {
        blobDigest: blob.digest.toMessage(),
        chunkDigests: chunks.map(({ digest }) => digest.toMessage()),
      });
      const command = { arguments: ['sh', 'program'], workingDirectory: 'work' };
      const { result } = await resultOf(api, await putInput(api, blob, command, false));
      expectSame(result.exitCode, 9, 'the exit code of the spliced script');
    },
  },
];

/** An action with one executable file, `work/program`. */
async function putInput(
  api: Api,
  program: Blob,
  parts: Parameters<typeof Command.fromPartial>[0],
  isUploaded = true,
): Promise<Blob> {
  const platform = { properties: [...api.tested.platform] };
  const file = { name: 'program', digest: program.digest.toMessage(), isExecutable: true };
  const work = encodedBlob(api, Directory, { files: [file] });
  const root = encodedBlob(api, Directory, {
    directories: [{ name: 'work', digest: work.digest.toMessage() }],
  });
  const command = encodedBlob(api, Command, { platform, ...parts });
  const action = encodedBlob(api, Action, {
    commandDigest: command.digest.toMessage(),
    inputRootDigest: root.digest.toMessage(),
    salt: api.random.bytes(16),
    platform,
  });
  await api.put(...(isUploaded ? [program] : []), work, root, command, action);
  return action;
}
