import { random } from '../base/random.ts';
import type { Wire } from '../conformance/wire.ts';
import { connectChannel } from '../rpc/stubs/channel.ts';
import { defaultRetryOptions } from '../rpc/stubs/retries.ts';
import type { Program } from './command.ts';

/** Bytes as they are: what is sent may be wrong on purpose, and what is answered is judged elsewhere. */
const asIs = {
  request: { encode: (bytes: Uint8Array) => ({ finish: () => bytes }) },
  response: (bytes: Uint8Array) => bytes,
};

/** A connection to a server for calls that nothing is added to, and none of which is repeated. */
export function connectWire(
  address: string,
  { clock, newId }: Pick<Program, 'clock' | 'newId'>,
): Disposable & { readonly call: Wire } {
  const channel = connectChannel(address, {
    retries: { ...defaultRetryOptions, clock, random },
    invocationId: newId(),
  });
  return {
    // On the wire all kinds of calls are one: messages out, messages in.
    call: (path, requests, options) => channel.bidi({ path, ...asIs }, requests, options),
    [Symbol.dispose]: () => channel.close(),
  };
}
