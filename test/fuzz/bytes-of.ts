interface Encoder<T> {
  encode(message: T): { finish(): Uint8Array };
  fromPartial(message: Partial<T>): T;
}

/** The message as it is sent. */
export function bytesOf<T>(type: Encoder<T>, message: Partial<T>): Buffer {
  return Buffer.from(type.encode(type.fromPartial(message)).finish());
}
