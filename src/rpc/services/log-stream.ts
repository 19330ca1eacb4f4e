import type { LogStreams } from '../../logs/log-streams.ts';
import {
  CreateLogStreamRequest,
  LogStream,
} from '../../proto/build/bazel/remote/logstream/v1/remote_logstream.ts';
import type { Instances } from '../instances.ts';
import { type Service, unary } from '../method.ts';

/** Makes log streams, whose bytes move over ByteStream. Their parents are the instances (LOG-01). */
export function logStream(instances: Instances, logs: LogStreams): Service {
  return [
    unary(
      '/build.bazel.remote.logstream.v1.LogStreamService/CreateLogStream',
      CreateLogStreamRequest,
      LogStream,
      async ({ parent }, { signal }): Promise<LogStream> => {
        const instance = instances.get(parent);
        const { name, writeName } = await logs.create(instance.name, signal);
        return { name, writeResourceName: writeName };
      },
    ),
  ];
}
