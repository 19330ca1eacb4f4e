import { quoted } from '../../base/quoted.ts';
import { Code } from '../../base/status.ts';
import { type ProtoFile, protoFiles } from '../../proto/descriptors.ts';
import {
  ServerReflectionRequest,
  ServerReflectionResponse,
} from '../../proto/grpc/reflection/v1/reflection.ts';
import { bidi, type Service, serviceNamesOf } from '../method.ts';

type Answer = NonNullable<ServerReflectionResponse['messageResponse']>;

/** The second is the older name of the same messages; some tools know no other. */
const versions = ['grpc.reflection.v1', 'grpc.reflection.v1alpha'];
const pathOf = (version: string) => `/${version}.ServerReflection/ServerReflectionInfo`;

const byName = new Map(protoFiles.map((file) => [file.name, file]));
const bySymbol = new Map(
  protoFiles.flatMap((file) => file.symbols.map((symbol) => [symbol, file] as const)),
);

/**
 * Server reflection, v1 and v1alpha: which services there are, `services` and itself, and the files
 * that describe them. It tells also of messages of proto/ that no method names, for they travel as Any.
 * Unknown names are answered with NOT_FOUND inside the stream, which goes on.
 */
export function reflection(services: readonly Service[]): Service {
  const methods = versions.map((version) =>
    bidi(
      pathOf(version),
      ServerReflectionRequest,
      ServerReflectionResponse,
      async function* (requests) {
        const sent = new Set<ProtoFile>();
        for await (const request of requests) {
          const messageResponse = answerTo(request, names, sent);
          yield { validHost: request.host, originalRequest: request, messageResponse };
        }
      },
      { lasting: true, requestBytesMax: 64 * 1024 },
    ),
  );
  const names = serviceNamesOf([...services, methods]).toSorted();
  return methods;
}

function answerTo(
  { messageRequest }: ServerReflectionRequest,
  services: readonly string[],
  sent: Set<ProtoFile>,
): Answer {
  switch (messageRequest?.$case) {
    case 'fileByFilename':
      return filesFrom(byName.get(messageRequest.value), messageRequest.value, sent);
    case 'fileContainingSymbol':
      return filesFrom(bySymbol.get(messageRequest.value), messageRequest.value, sent);
    case 'fileContainingExtension': {
      const { containingType, extensionNumber } = messageRequest.value;
      return notFound(`extension ${extensionNumber} of ${quoted(containingType)}`);
    }
    case 'allExtensionNumbersOfType': {
      const baseTypeName = messageRequest.value;
      if (!bySymbol.has(baseTypeName)) return notFound(quoted(baseTypeName));
      return {
        $case: 'allExtensionNumbersResponse',
        value: { baseTypeName, extensionNumber: [] },
      };
    }
    case 'listServices':
      return {
        $case: 'listServicesResponse',
        value: { service: services.map((name) => ({ name })) },
      };
    case undefined:
    default:
      return failed(Code.INVALID_ARGUMENT, 'message_request is not set, or not known here');
  }
}

/** The file, then those that it needs and that this stream has not sent yet. */
function filesFrom(file: ProtoFile | undefined, asked: string, sent: Set<ProtoFile>): Answer {
  if (!file) return notFound(quoted(asked));
  const needed = new Set<ProtoFile>([file]);
  // A set may grow while it is gone through.
  for (const one of needed) {
    for (const name of one.imports) {
      const imported = byName.get(name);
      if (imported && !sent.has(imported)) needed.add(imported);
    }
  }
  for (const one of needed) sent.add(one);
  const descriptors = Array.from(needed, ({ descriptor }) => Buffer.from(descriptor, 'base64'));
  return { $case: 'fileDescriptorResponse', value: { fileDescriptorProto: descriptors } };
}

function notFound(what: string): Answer {
  return failed(Code.NOT_FOUND, `this server does not know ${what}`);
}

function failed(errorCode: Code, errorMessage: string): Answer {
  return { $case: 'errorResponse', value: { errorCode, errorMessage } };
}
