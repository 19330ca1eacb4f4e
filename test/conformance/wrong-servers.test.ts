import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  BatchUpdateBlobsResponse,
  FindMissingBlobsRequest,
  FindMissingBlobsResponse,
  ServerCapabilities,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { runCli } from '../support/run-cli.ts';
import { tempDir } from '../support/temp-dir.ts';
import { answering, asked, type Flaw, startWrongServer } from './wrong-server.ts';

interface Case {
  /** What the server does wrong. */
  readonly does: string;
  /** The rule it breaks; in lower case, since this shows nothing of our own server. */
  readonly breaks: string;
  readonly flaw: Flaw;
  readonly argv?: readonly string[];
}

const cases: readonly Case[] = [
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
];

for (const { does, breaks, flaw, argv = [] } of cases) {
  test(`a server that ${does} does not pass the probes of ${breaks}`, async (t) => {
    const address = await startWrongServer(t, flaw);
    const command = ['conformance', address, '--instance-name', '', '--only', breaks, '--json'];
    const { exitCode, stdout, stderr } = await runCli([...command, ...argv], {
      folder: tempDir(t),
    });
    assert.ok(exitCode === 76 || stdout.includes('"brokenOther": 1'), `${exitCode} ${stderr}`);
    const { rules } = JSON.parse(stdout) as { rules: { id: string; outcome: string }[] };
    const rule = rules.find(({ id }) => id.toLowerCase() === breaks);
    assert.equal(rule?.outcome, 'fail', stdout);
  });
}
