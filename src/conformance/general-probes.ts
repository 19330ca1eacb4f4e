import { Code } from '../base/status.ts';
import {
  Digest as DigestMessage,
  Directory,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { HealthCheckResponse_ServingStatus } from '../proto/grpc/health/v1/health.ts';
import type { Api } from './api.ts';
import { piecesOf } from './api.ts';
import { expectBytes, expectRefusal, expectSame, NotApplicable } from './expect.ts';
import { aCache } from './needs.ts';
import type { Area } from './probe.ts';
import { rpcs } from './rpcs.ts';
import { withUnknownField } from './wire-fields.ts';

const METADATA = 'build.bazel.remote.execution.v2.requestmetadata-bin';

/** As many calls at once as clients put on one connection; GEN-14 asks for pings beside them. */
const CALLS_AT_ONCE = 100;

const CANCELLED_CALLS = 20;

export const generalProbes: Area = {
  name: 'general',
  needs: [aCache],
  probes: [
    {
      ids: ['GEN-02'],
      title: 'an instance name with a reserved segment is refused',
      run: async (api) => {
        for (const word of ['uploads', 'blobs', 'actionResults', 'compressed-blobs']) {
          const instanceName = `x/${word}/y`;
          const call = api.one(rpcs.findMissing, { instanceName });
          await expectRefusal(call, Code.INVALID_ARGUMENT, `instance name ${instanceName}`);
        }
      },
    },
    {
      ids: ['GEN-03'],
      title: 'an instance name with a slash too many is refused in messages',
      run: async (api) => {
        const { digest } = api.blob();
        const { instanceName } = api.tested;
        for (const name of [`/${instanceName || 'x'}`, `${instanceName || 'x'}/`, 'a//b']) {
          const request = { instanceName: name, actionDigest: digest.toMessage() };
          const call = api.one(rpcs.getActionResult, request);
          await expectRefusal(call, Code.INVALID_ARGUMENT, `instance name ${name}`);
        }
      },
    },
    {
      ids: ['GEN-03', 'BS-01'],
      title: 'an empty segment in a resource name is dropped, as moon needs it',
      run: async (api) => {
        const blob = api.blob();
        await api.put(blob);
        expectBytes(await api.read(`/${api.readName(blob.digest)}`), blob.bytes, 'the blob');
      },
    },
    {
      ids: ['GEN-04', 'ERR-04'],
      title: 'an instance that does not exist is not taken for a missing result or blob',
      run: async (api) => {
        const instanceName = `no-such-instance-${api.random.uuid()}`;
        const known = await api
          .one(rpcs.getCapabilities, { instanceName })
          .then(() => true)
          .catch(() => false);
        if (known) throw new NotApplicable('the server takes any instance name');
        const codes = [Code.INVALID_ARGUMENT, Code.PERMISSION_DENIED];
        const { digest } = api.blob();
        const getting = { instanceName, actionDigest: digest.toMessage() };
        await expectRefusal(api.one(rpcs.getActionResult, getting), codes, 'GetActionResult there');
        const name = `${instanceName}/blobs/${digest}`;
        await expectRefusal(api.read(name), codes, 'Read there');
        const asking = api.one(rpcs.getCapabilities, { instanceName });
        await expectRefusal(asking, codes, 'GetCapabilities there');
      },
    },
    {
      ids: ['GEN-01'],
      title: 'an instance name means the same store in messages and in resource names',
      run: async (api) => {
        const [batch, stream] = [api.blob(), api.blob()];
        await api.put(batch);
        await api.writeWhole(api.writeName(stream.digest), stream.bytes);
        expectBytes(await api.read(api.readName(batch.digest)), batch.bytes, 'what is read');
        await api.expectPresent(stream, 'a Write');
      },
    },
    {
      ids: ['GEN-10'],
      title: 'a method that is not offered is UNIMPLEMENTED',
      run: async (api) => {
        const service = '/build.bazel.remote.execution.v2.ContentAddressableStorage';
        for (const path of [`${service}/NoSuchMethod`, '/no.such.Service/Call']) {
          const call = api.raw(path, new Uint8Array());
          await expectRefusal(call, Code.UNIMPLEMENTED, path);
        }
      },
    },
    {
      ids: ['GEN-12'],
      title: 'headers that nobody knows are ignored',
      run: async (api) => {
        const headers = Object.fromEntries(
          Array.from({ length: 20 }, (_, i) => [`x-header-${i}`, api.random.uuid()]),
        );
        await api.one(rpcs.findMissing, {}, { headers });
      },
    },
    {
      ids: ['CAS-01'],
      title: `${CALLS_AT_ONCE} calls go over one connection at once`,
      run: async (api) => {
        const blobDigests = [api.blob().digest.toMessage()];
        const calls = Array.from({ length: CALLS_AT_ONCE }, () =>
          api.one(rpcs.findMissing, { blobDigests }),
        );
        for (const { missingBlobDigests } of await Promise.all(calls)) {
          expectSame(missingBlobDigests.length, 1, 'the number of missing blobs');
        }
      },
    },
    {
      ids: ['GEN-15'],
      title: 'an upload that runs into its deadline leaves nothing behind',
      run: async (api) => {
        const blob = api.blob(20_000);
        const call = api.write(api.writeName(blob.digest), firstOnly(api, blob.bytes), {
          deadlineMs: 300,
        });
        await expectRefusal(call, Code.DEADLINE_EXCEEDED, 'an upload that does not end');
        await api.expectAbsent(blob, 'the deadline');
      },
    },
    {
      ids: ['GEN-16'],
      title: `${CANCELLED_CALLS} cancelled uploads leave nothing behind, and the next one succeeds`,
      run: async (api) => {
        const blob = api.blob(20_000);
        for (let i = 0; i < CANCELLED_CALLS; i++) {
          const cancelled = new AbortController();
          const signal = AbortSignal.any([api.signal, cancelled.signal]);
          const pieces = firstOnly(api, blob.bytes, () => cancelled.abort());
          await api.write(api.writeName(blob.digest), pieces, { signal }).catch(() => {});
        }
        await api.expectAbsent(blob, 'the last cancelled upload');
        await api.writeWhole(api.writeName(blob.digest), blob.bytes);
        await api.expectPresent(blob, 'a whole upload');
      },
    },
    {
      ids: ['GEN-17'],
      title: 'fields of later versions are ignored',
      run: async (api) => {
        const request = { blobDigests: [api.blob().digest.toMessage()] };
        const bytes = withUnknownField(api.encoded(rpcs.findMissing, request));
        const [answer = new Uint8Array()] = await api.raw(rpcs.findMissing.path, bytes);
        const { missingBlobDigests } = rpcs.findMissing.response.decode(answer);
        expectSame(missingBlobDigests.length, 1, 'the number of missing blobs');
      },
    },
    {
      ids: ['GEN-18'],
      title: 'a Directory is kept as the bytes it came in, fields of later versions included',
      run: async (api) => {
        const file = { name: api.random.uuid(), digest: api.blob().digest.toMessage() };
        const message = Directory.encode(Directory.fromPartial({ files: [file] })).finish();
        const blob = api.blobOf(withUnknownField(message));
        await api.put(blob);
        const request = { digests: [blob.digest.toMessage()] };
        const { responses } = await api.one(rpcs.batchRead, request);
        expectBytes(responses[0]?.data ?? new Uint8Array(), blob.bytes, 'what a batch reads');
        expectBytes(await api.read(api.readName(blob.digest)), blob.bytes, 'what Read gives');
      },
    },
    {
      ids: ['GEN-19'],
      title: 'sizes are whole numbers of 64 bits: 2^50+1 comes back as it is, and -1 is refused',
      run: async (api) => {
        const { hash } = api.blob().digest;
        const sizeBytes = 2 ** 50 + 1;
        const { missingBlobDigests } = await api.one(rpcs.findMissing, {
          blobDigests: [{ hash, sizeBytes }],
        });
        expectSame(missingBlobDigests[0]?.sizeBytes, sizeBytes, 'the size');
        const negative = DigestMessage.fromPartial({ hash, sizeBytes: -1 });
        const call = api.one(rpcs.findMissing, { blobDigests: [negative] });
        await expectRefusal(call, Code.INVALID_ARGUMENT, 'a size of -1');
      },
    },
    {
      ids: ['GEN-21'],
      title: 'the standard health service says SERVING',
      run: async (api) => {
        const { status } = await api.one(rpcs.checkHealth, {});
        expectSame(status, HealthCheckResponse_ServingStatus.SERVING, 'the status');
      },
    },
    {
      ids: ['MD-02'],
      title: 'request metadata that is empty or nonsense never fails a request',
      run: async (api) => {
        for (const bytes of [Buffer.alloc(0), api.random.bytes(100)]) {
          await api.one(rpcs.findMissing, {}, { headers: { [METADATA]: bytes } });
        }
      },
    },
  ],
};

/** Half of an upload; then nothing more comes until the call has ended. */
async function* firstOnly(api: Api, bytes: Uint8Array, afterwards = () => {}) {
  yield* piecesOf(bytes, bytes.length / 2).slice(0, 1);
  afterwards();
  await new Promise((resolve) => api.signal.addEventListener('abort', resolve));
}
