import { parseReadName, parseWriteName, type ReadName } from '../../digest/resource-name.ts';
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
import { readBlob } from './read-blob.ts';
import { writeBlob } from './write-blob.ts';

const servicePath = '/google.bytestream.ByteStream';
/** Blobs of any size, as streams, plain or compressed. */
export function byteStream(instances: Instances): Service {
  const resolve = (resourceName: string, parsed: ReadName, call: Call) =>
    resolveName(instances, resourceName, parsed, call);
  return [
    serverStream(`${servicePath}/Read`, ReadRequest, readResponseType, (request, call) => {
      const { resourceName } = request;
      return readBlob(resolve(resourceName, parseReadName(resourceName), call), request, call);
    }),
    clientStream(`${servicePath}/Write`, WriteRequest, WriteResponse, (requests, call) =>
      writeBlob(requests, (name) => resolve(name, parseWriteName(name), call), call),
    ),
    unary(
      `${servicePath}/QueryWriteStatus`,
      QueryWriteStatusRequest,
      QueryWriteStatusResponse,
      // An unknown upload is no error: Bazel asks before each retry (BS-62).
      async ({ resourceName }, call) => {
        const { instance, digest } = resolve(resourceName, parseWriteName(resourceName), call);
        return instance.uploads.status(resourceName, digest, call.signal);
      },
    ),
  ];
}
