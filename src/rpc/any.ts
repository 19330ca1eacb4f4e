import type { StatusError } from '../base/status.ts';
import type { Any } from '../proto/google/protobuf/any.ts';
import { Status } from '../proto/google/rpc/status.ts';
import type { Encodable } from './method.ts';

/** A message packed with its type's full name, such as `google.rpc.Status`. */
export function pack<T>(typeName: string, type: Encodable<T>, message: T): Any {
  return { typeUrl: `type.googleapis.com/${typeName}`, value: type.encode(message).finish() };
}

/** The error as google.rpc.Status: as responses carry it, and the trailer of a failed call (GEN-07). */
export function statusMessage(error: StatusError): Status {
  return Status.fromPartial({
    code: error.code,
    message: error.message,
    details: error.details.map(({ typeUrl, value }) => ({ typeUrl, value })),
  });
}
