import { parseReadName, parseWriteName, type ReadName } from '../../digest/resource-name.ts';
import { parseLogName } from '../../logs/log-name.ts';
import type { LogStreams } from '../../logs/log-streams.ts';
import {
  QueryWriteStatusRequest,
  QueryWriteStatusResponse,
  ReadRequest,
  WriteRequest,
  WriteResponse,
} from '../../proto/google/bytestream/bytestream.ts';
import { readResponseType } from '../byte-stream-messages.ts';
import type { Instances } from '../instances.ts';
import { type Call, clientStream, serverStream, type Service, unary } from '../method.ts';
import { resolveName } from '../named-blob.ts';
import { logStatus, readLog, writeLog } from './log-bytes.ts';
import { readBlob } from './read-blob.ts';
import { writeBlob } from './write-blob.ts';
import { WriteRequests } from './write-requests.ts';

const servicePath = '/google.bytestream.ByteStream';

/**
 * Blobs of any size, as streams, plain or compressed; and the output of commands that run, where there
 * are `logs`.
 */
export function byteStream(instances: Instances, logs?: LogStreams): Service {
  const logsOf = (name: string) => (parseLogName(name) ? logs : undefined);
  const resolve = (resourceName: string, parsed: ReadName, call: Call) =>
    resolveName(instances, resourceName, parsed, call);
  return [
    serverStream(`${servicePath}/Read`, ReadRequest, readResponseType, (request, call) => {
      const { resourceName } = request;
      const ofLogs = logsOf(resourceName);
      if (ofLogs) return readLog(ofLogs, request, call);
      return readBlob(resolve(resourceName, parseReadName(resourceName), call), request, call);
    }),
    clientStream(`${servicePath}/Write`, WriteRequest, WriteResponse, async (messages, call) => {
      const requests = await WriteRequests.open(messages);
      const { resourceName } = requests;
      const ofLogs = logsOf(resourceName);
      if (ofLogs) return writeLog(ofLogs, requests, call);
      return writeBlob(requests, resolve(resourceName, parseWriteName(resourceName), call), call);
    }),
    unary(
      `${servicePath}/QueryWriteStatus`,
      QueryWriteStatusRequest,
      QueryWriteStatusResponse,
      // An unknown upload is no error: Bazel asks before each retry (BS-62).
      async ({ resourceName }, call) => {
        const ofLogs = logsOf(resourceName);
        if (ofLogs) return logStatus(ofLogs, resourceName, call);
        const { instance, digest } = resolve(resourceName, parseWriteName(resourceName), call);
        return instance.uploads.status(resourceName, digest, call.signal);
      },
    ),
  ];
}
