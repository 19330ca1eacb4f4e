import { Code } from '../base/status.ts';
import { DigestFunction_Value } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { BadRequest } from '../proto/google/rpc/error_details.ts';
import { anyQualifier, expectNothing, fetch, push, urn } from './asset-calls.ts';
import { expectRefusal, expectSame, NotApplicable } from './expect.ts';
import { aCache } from './needs.ts';
import type { Area } from './probe.ts';
import { rpcs } from './rpcs.ts';

const a = anyQualifier('a');

/** Nothing is fetched from anywhere: all names are URNs, which lead nowhere. */
export const fetchProbes: Area = {
  name: 'fetch',
  needs: [aCache],
  prepare: async (api) => {
    await fetch(api, { uris: [urn(api)] });
  },
  probes: [
    {
      ids: ['AST-01'],
      title: 'a fetch without a URI is refused',
      run: async (api) => {
        for (const rpc of [rpcs.fetchBlob, rpcs.fetchDirectory]) {
          const call = api.raw(rpc.path, new Uint8Array());
          await expectRefusal(call, Code.INVALID_ARGUMENT, 'an empty request');
        }
      },
    },
    {
      ids: ['AST-10', 'AST-32'],
      title: 'what nobody pushed, and nobody can fetch, is NOT_FOUND and has no digest',
      run: async (api) => {
        await expectNothing(api, { uris: [urn(api)] }, 'a name that nobody uses');
      },
    },
    {
      ids: ['AST-03'],
      title: 'a qualifier that is there twice is refused',
      run: async (api) => {
        const qualifiers = [a, { ...a, value: 'two' }];
        const call = api.one(rpcs.fetchBlob, { uris: [urn(api)], qualifiers });
        await expectRefusal(call, Code.INVALID_ARGUMENT, 'two qualifiers of one name');
      },
    },
    {
      ids: ['AST-05', 'AST-06'],
      title: 'a server that takes no pushes refuses qualifiers it does not know, by name',
      run: async (api) => {
        const blob = api.blob();
        await api.put(blob);
        const takesPushes = await push(api, { uris: [urn(api)], digest: blob.digest }).then(
          () => true,
          (thrown: unknown) => {
            if (thrown instanceof NotApplicable) return false;
            throw thrown;
          },
        );
        if (takesPushes) throw new NotApplicable('pushes are taken, and may have any qualifiers');
        const call = api.one(rpcs.fetchBlob, { uris: [urn(api)], qualifiers: [a] });
        const { details } = await expectRefusal(call, Code.INVALID_ARGUMENT, `qualifier ${a.name}`);
        const told = details
          .filter(({ typeUrl }) => typeUrl.endsWith('/google.rpc.BadRequest'))
          .flatMap(({ value }) => BadRequest.decode(value).fieldViolations)
          .map(({ field, description }) => [field, description]);
        expectSame(told, [['qualifiers.name', `"${a.name}" not supported`]], 'the BadRequest');
      },
    },
    {
      ids: ['AST-11'],
      title: 'a digest function that is not announced is refused',
      run: async (api) => {
        const announced = api.tested.cache.digestFunctions;
        const digestFunction = Object.values(DigestFunction_Value).find(
          (value) => value > DigestFunction_Value.UNKNOWN && !announced.includes(value),
        );
        if (digestFunction === undefined) throw new NotApplicable('all are announced');
        const call = api.one(rpcs.fetchBlob, { uris: [urn(api)], digestFunction });
        const what = `digest function ${digestFunction}`;
        await expectRefusal(call, Code.INVALID_ARGUMENT, what);
      },
    },
    {
      ids: ['AST-18'],
      title: 'a checksum that cannot be read is refused',
      run: async (api) => {
        const qualifiers = [{ name: 'checksum.sri', value: 'no checksum' }];
        const call = api.one(rpcs.fetchBlob, { uris: [urn(api)], qualifiers });
        await expectRefusal(call, Code.INVALID_ARGUMENT, 'the checksum.sri "no checksum"');
      },
    },
    {
      ids: ['AST-20'],
      title: 'the qualifiers that Bazel sends are no reason to refuse',
      run: async (api) => {
        const qualifiers = [
          { name: 'bazel.canonical_id', value: 'https://example.invalid/file' },
          { name: 'http_header:X-Name', value: 'value' },
          { name: 'http_header_url:0:X-Other', value: 'value' },
        ];
        await expectNothing(api, { uris: [urn(api)], qualifiers }, 'a name that nobody uses');
      },
    },
  ],
};
