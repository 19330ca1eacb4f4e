import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { Code } from '../../src/base/status.ts';
import {
  ActionResult,
  BatchUpdateBlobsRequest,
  BatchUpdateBlobsResponse,
  FindMissingBlobsRequest,
  FindMissingBlobsResponse,
  GetTreeResponse,
  ServerCapabilities,
  SplitBlobResponse,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  FetchBlobRequest,
  FetchBlobResponse,
  PushBlobRequest,
} from '../../src/proto/build/bazel/remote/asset/v1/remote_asset.ts';
import { LogStream } from '../../src/proto/build/bazel/remote/logstream/v1/remote_logstream.ts';
import {
  QueryWriteStatusResponse,
  ReadRequest,
  WriteResponse,
} from '../../src/proto/google/bytestream/bytestream.ts';
import { Operation } from '../../src/proto/google/longrunning/operations.ts';
import { Empty } from '../../src/proto/google/protobuf/empty.ts';
import { type Call, type Method, unary } from '../../src/rpc/method.ts';
import { blobOf } from '../support/blob-of.ts';
import { never } from '../support/never.ts';
import { runCli } from '../support/run-cli.ts';
import { tempDir } from '../support/temp-dir.ts';
import {
  answering,
  asked,
  type Flaw,
  refusing,
  startWrongServer,
  takingTheBlame,
} from './wrong-server.ts';

interface Case {
  /** What the server does wrong. */
  readonly does: string;
  /** The rule it breaks; in lower case, since this shows nothing of our own server. */
  readonly breaks: string;
  readonly flaw?: Flaw;
  readonly more?: readonly Method[];
}

const sound: Flaw = (method) => method;

const cases: readonly Case[] = [
  {
    does: 'takes its time to say what it can do',
    breaks: 'cap-03',
    flaw: (method) => {
      if (method.kind !== 'unary' || !method.path.endsWith('/GetCapabilities')) return method;
      const handle = async (bytes: Uint8Array, call: Call) => {
        await systemClock.sleep(1100, never);
        return method.handle(bytes, call);
      };
      return { ...method, handle };
    },
  },
  {
    does: 'has an answer to methods that nobody knows',
    breaks: 'gen-10',
    more: [unary('/no.such.Service/Call', Empty, Empty, async (request) => request)],
  },
  {
    does: 'announces a digest function twice',
    breaks: 'cap-08',
    flaw: answering('GetCapabilities', ServerCapabilities, (answer) => {
      answer.cacheCapabilities?.digestFunctions.push(1);
      return answer;
    }),
  },
  {
    does: 'forgets one of the missing blobs',
    breaks: 'cas-01',
    flaw: answering('FindMissingBlobs', FindMissingBlobsResponse, (answer) => {
      answer.missingBlobDigests.pop();
      return answer;
    }),
  },
  {
    does: 'looks only at the first thousand digests',
    breaks: 'cas-06',
    flaw: asked('FindMissingBlobs', FindMissingBlobsRequest, (request) => ({
      ...request,
      blobDigests: request.blobDigests.slice(0, 1000),
    })),
  },
  {
    does: 'leaves out the status of blobs that were stored',
    breaks: 'cas-11',
    flaw: answering('BatchUpdateBlobs', BatchUpdateBlobsResponse, (answer) => {
      for (const response of answer.responses) response.status = undefined;
      return answer;
    }),
  },
  {
    does: 'takes no notice of the size in a digest',
    breaks: 'cas-08',
    flaw: asked('FindMissingBlobs', FindMissingBlobsRequest, (request) => {
      for (const digest of request.blobDigests) digest.sizeBytes = 1000;
      return request;
    }),
  },
  {
    does: 'takes every instance name for one',
    breaks: 'gen-02',
    flaw: asked('FindMissingBlobs', FindMissingBlobsRequest, (request) => ({
      ...request,
      instanceName: '',
    })),
  },
  {
    does: 'stores what it gets under the digest that fits',
    breaks: 'dig-20',
    flaw: asked('BatchUpdateBlobs', BatchUpdateBlobsRequest, (request) => {
      for (const one of request.requests) one.digest = blobOf(one.data).digest.toMessage();
      return request;
    }),
  },
  {
    does: 'gives no page tokens',
    breaks: 'cas-44',
    flaw: answering('GetTree', GetTreeResponse, (page) => ({ ...page, nextPageToken: '' })),
  },
  {
    does: 'does not know the limit of a read',
    breaks: 'bs-13',
    flaw: asked('Read', ReadRequest, (request) => ({ ...request, readLimit: 0 })),
  },
  {
    does: 'reads packed blobs from their beginning, as Buildbarn does',
    breaks: 'bs-14',
    flaw: asked('Read', ReadRequest, (request) => ({ ...request, readOffset: 0 })),
  },
  {
    does: 'commits -1 bytes always, as Buildfarm does',
    breaks: 'bs-37',
    flaw: answering('Write', WriteResponse, () => WriteResponse.create({ committedSize: -1 })),
  },
  {
    does: 'does not know uploads that never came',
    breaks: 'bs-62',
    flaw: refusing(Code.NOT_FOUND, 'QueryWriteStatus'),
  },
  {
    does: 'gives chunks in a wrong order',
    breaks: 'cdc-02',
    flaw: answering('SplitBlob', SplitBlobResponse, (answer) => ({
      ...answer,
      chunkDigests: answer.chunkDigests.toReversed(),
    })),
  },
  {
    does: 'calls mistakes of the client its own',
    breaks: 'err-02',
    flaw: takingTheBlame,
  },
  {
    does: 'leaves out the metadata of a stored result',
    breaks: 'ac-20',
    flaw: answering('GetActionResult', ActionResult, (result) => ({
      ...result,
      executionMetadata: undefined,
    })),
  },
  {
    does: 'reports an execution whose inputs are missing as done, without a response',
    breaks: 'exe-13',
    flaw: answering('Execute', Operation, (operation) => ({ ...operation, result: undefined })),
  },
  {
    does: 'takes every operation for cancelled',
    breaks: 'ops-04',
    flaw: (method) =>
      method.kind === 'unary' && method.path.endsWith('/CancelOperation')
        ? { ...method, handle: async () => new Uint8Array() }
        : method,
  },
  {
    does: 'gives log streams one name for all',
    breaks: 'log-01',
    flaw: answering('CreateLogStream', LogStream, (answer) => ({
      ...answer,
      writeResourceName: answer.name,
    })),
  },
  {
    does: 'lets whoever reads a log see its name for writing',
    breaks: 'log-03',
    flaw: asked('Read', ReadRequest, (request) => ({
      ...request,
      resourceName: request.resourceName.replace(/(logstreams\/[^/]+)\/.*/, '$1'),
    })),
  },
  {
    does: 'reads logs from their beginning always',
    breaks: 'log-07',
    flaw: asked('Read', ReadRequest, (request) => ({ ...request, readOffset: 0 })),
  },
  {
    does: 'ends a log with what is there',
    breaks: 'log-06',
    flaw: (method) => {
      if (method.kind !== 'server-stream' || !method.path.endsWith('/Read')) return method;
      const handle = async function* (bytes: Uint8Array, call: Call) {
        for await (const first of method.handle(bytes, call)) {
          yield first;
          return;
        }
      };
      return { ...method, handle };
    },
  },
  {
    does: 'calls every log finished',
    breaks: 'log-13',
    flaw: answering('QueryWriteStatus', QueryWriteStatusResponse, (answer) => ({
      ...answer,
      complete: true,
    })),
  },
  {
    does: 'looks at the first qualifier alone',
    breaks: 'ast-27',
    flaw: asked('FetchBlob', FetchBlobRequest, (request) => ({
      ...request,
      qualifiers: request.qualifiers.slice(0, 1),
    })),
  },
  {
    does: 'answers a fetch with the first URI, whichever it used',
    breaks: 'ast-02',
    flaw: answering('FetchBlob', FetchBlobResponse, (answer) => ({ ...answer, uri: 'urn:x:y' })),
  },
  {
    does: 'takes no pushes, and any qualifiers all the same',
    breaks: 'ast-05',
    flaw: refusing(Code.PERMISSION_DENIED, 'PushBlob'),
  },
  {
    does: 'sets an empty digest where it found nothing, as some Bazels cannot bear',
    breaks: 'ast-10',
    flaw: answering('FetchBlob', FetchBlobResponse, (answer) => ({
      ...answer,
      blobDigest: answer.blobDigest ?? { hash: '', sizeBytes: 0 },
    })),
  },
  {
    does: 'takes no notice of how old a client wants it',
    breaks: 'ast-12',
    flaw: asked('FetchBlob', FetchBlobRequest, (request) => ({
      ...request,
      oldestContentAccepted: undefined,
    })),
  },
  {
    does: 'ties a blob to the first of its URIs alone',
    breaks: 'ast-26',
    flaw: asked('PushBlob', PushBlobRequest, (request) => ({
      ...request,
      uris: request.uris.slice(0, 1),
    })),
  },
  {
    does: 'keeps what has expired',
    breaks: 'ast-28',
    flaw: asked('PushBlob', PushBlobRequest, (request) => ({ ...request, expireAt: undefined })),
  },
];

for (const { does, breaks, flaw = sound, more } of cases) {
  test(`a server that ${does} does not pass the probes of ${breaks}`, async (t) => {
    const address = await startWrongServer(t, flaw, more);
    const command = ['conformance', address, '--instance-name', '', '--only', breaks, '--json'];
    const { exitCode, stdout, stderr } = await runCli(command, {
      folder: tempDir(t),
    });
    assert.ok(exitCode === 76 || stdout.includes('"brokenOther": 1'), `${exitCode} ${stderr}`);
    const { rules } = JSON.parse(stdout) as { rules: { id: string; outcome: string }[] };
    const rule = rules.find(({ id }) => id.toLowerCase() === breaks);
    assert.equal(rule?.outcome, 'fail', stdout);
  });
}

test('a server without room is asked nothing that needs it, and breaks no rule by that', async (t) => {
  const address = await startWrongServer(t, refusing(Code.RESOURCE_EXHAUSTED, 'SplitBlob'));
  const command = ['conformance', address, '--instance-name', '', '--only', 'cdc-08', '--json'];
  const { exitCode, stdout, stderr } = await runCli(command, { folder: tempDir(t) });
  assert.equal(exitCode, 0, stderr);
  const { rules } = JSON.parse(stdout) as { rules: { outcome: string }[] };
  assert.deepEqual(new Set(rules.map(({ outcome }) => outcome)), new Set(['not applicable']));
});
