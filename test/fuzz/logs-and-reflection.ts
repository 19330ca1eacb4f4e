import type { LogStream } from '../../src/proto/build/bazel/remote/logstream/v1/remote_logstream.ts';
import { ReadRequest, WriteRequest } from '../../src/proto/google/bytestream/bytestream.ts';
import { ServerReflectionRequest } from '../../src/proto/grpc/reflection/v1/reflection.ts';
import { bytesOf } from './bytes-of.ts';
import type { Chance } from './chance.ts';

const logData = Buffer.from('line\n');

/** To append to a log stream, at its end or beside it. */
export function writeToLog(
  { writeResourceName: resourceName }: LogStream,
  chance: Chance,
): Buffer[] {
  const count = 1 + chance.below(3);
  const firstOffset = chance.pick([0, 0, 1, 2]) * logData.length;
  return Array.from({ length: count }, (_, at) =>
    bytesOf(WriteRequest, {
      resourceName,
      writeOffset: firstOffset + at * logData.length,
      data: logData,
      finishWrite: at === count - 1 && chance.oneIn(2),
    }),
  );
}

/** Of all of it, or a part; its name may be the whole one or the id alone. */
export function readFromLog({ name }: LogStream, chance: Chance): Buffer[] {
  const resourceName = chance.pick([name, name.split('/').at(-1) ?? '']);
  const readOffset = chance.below(2 * logData.length);
  return [bytesOf(ReadRequest, { resourceName, readOffset, readLimit: chance.below(3) })];
}

const symbols = ['google.bytestream.ByteStream', 'grpc.health.v1.HealthCheckRequest', 'no.Such'];

/** Some questions in one stream, as tools ask them. */
export function reflect(chance: Chance): Buffer[] {
  const questions: readonly NonNullable<ServerReflectionRequest['messageRequest']>[] = [
    { $case: 'listServices', value: '' },
    { $case: 'fileContainingSymbol', value: chance.pick(symbols) },
    { $case: 'fileByFilename', value: 'google/rpc/status.proto' },
    { $case: 'allExtensionNumbersOfType', value: chance.pick(symbols) },
    {
      $case: 'fileContainingExtension',
      value: { containingType: chance.pick(symbols), extensionNumber: 1 },
    },
  ];
  return chance
    .shuffled(questions)
    .map((messageRequest) => bytesOf(ServerReflectionRequest, { messageRequest }));
}
