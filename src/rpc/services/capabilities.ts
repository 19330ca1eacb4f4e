import {
  CacheCapabilities,
  DigestFunction_Value,
  ExecutionCapabilities,
  GetCapabilitiesRequest,
  ServerCapabilities,
  SymlinkAbsolutePathStrategy_Value,
} from '../../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { SemVer } from '../../proto/build/bazel/semver/semver.ts';
import { supportedNodeProperties } from '../../tree/node-properties.ts';
import { supportedCodecs } from '../compression.ts';
import type { Instance, Instances } from '../instances.ts';
import { type Service, unary } from '../method.ts';
import { executionPriorities, resultsCachePriorities } from '../priorities.ts';

const api = '/build.bazel.remote.execution.v2';

/** Old Bazels refuse a server that does not go down to 2.0 (CAP-05). */
const lowApiVersion = SemVer.fromPartial({ major: 2, minor: 0 });
/** From 2.1 on clients send output_paths only, from 2.2 on Action.platform (CAP-06). */
const highApiVersion = SemVer.fromPartial({ major: 2, minor: 12 });

const symlinkStrategies = {
  allowed: SymlinkAbsolutePathStrategy_Value.ALLOWED,
  disallowed: SymlinkAbsolutePathStrategy_Value.DISALLOWED,
};

/**
 * What an instance can do: the first call of every client, so it asks nobody (CAP-03). Chunks (CAP-16) and
 * execution (CAP-02) are announced only where `offered`, the other methods of the server, have theirs.
 */
export function capabilities(instances: Instances, offered: Service): Service {
  const isOffered = (method: string) => offered.some(({ path }) => path === `${api}.${method}`);
  const splitBlobSupport = isOffered('ContentAddressableStorage/SplitBlob');
  const spliceBlobSupport = isOffered('ContentAddressableStorage/SpliceBlob');
  const executes = isOffered('Execution/Execute');
  return [
    unary(
      `${api}.Capabilities/GetCapabilities`,
      GetCapabilitiesRequest,
      ServerCapabilities,
      async ({ instanceName }) => {
        const instance = instances.get(instanceName);
        return ServerCapabilities.fromPartial({
          lowApiVersion,
          highApiVersion,
          cacheCapabilities: {
            ...cacheCapabilities(instance),
            splitBlobSupport,
            spliceBlobSupport,
          },
          executionCapabilities:
            executes && instance.execution ? executionCapabilities(instance) : undefined,
        });
      },
    ),
  ];
}

function cacheCapabilities({ limits, chunkedBlobs, ...instance }: Instance): CacheCapabilities {
  const compressors = supportedCodecs.map(({ value }) => value);
  const message = CacheCapabilities.fromPartial({
    digestFunctions: instance.digestFunctions.functions.map(({ value }) => value),
    actionCacheUpdateCapabilities: { updateEnabled: instance.actionCacheUpdates },
    cachePriorityCapabilities: { priorities: [resultsCachePriorities] },
    maxBatchTotalSizeBytes: limits.batchBytesMax,
    maxCasBlobSizeBytes: limits.blobBytesMax,
    symlinkAbsolutePathStrategy: symlinkStrategies[instance.absoluteSymlinks],
    supportedCompressors: compressors,
    supportedBatchUpdateCompressors: compressors,
  });
  for (const { announcement } of chunkedBlobs.functions) Object.assign(message, announcement);
  return message;
}

function executionCapabilities({ digestFunctions }: Instance): ExecutionCapabilities {
  const values = digestFunctions.functions.map(({ value }) => value);
  const preferred = digestFunctions.resolve(DigestFunction_Value.UNKNOWN, undefined).value;
  const { SHA256 } = DigestFunction_Value;
  return ExecutionCapabilities.fromPartial({
    // Old clients compare theirs with this one alone (CAP-21).
    digestFunction: values.includes(SHA256) ? SHA256 : preferred,
    digestFunctions: values,
    execEnabled: true,
    executionPriorityCapabilities: { priorities: [executionPriorities] },
    supportedNodeProperties: [...supportedNodeProperties],
  });
}
