import { Code, StatusError } from '../base/status.ts';

/** A server that breaks a rule: what the rule wants, and what was seen instead. */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly expected: string;
  readonly seen: string;

  constructor(expected: string, seen: string, options?: ErrorOptions) {
    super(`expected ${expected}; seen: ${seen}`, options);
    this.expected = expected;
    this.seen = seen;
  }
}

/** The rule asks nothing of this server; the message says why. */
export class NotApplicable extends Error {
  override readonly name = 'NotApplicable';
}

/** Fails with what was seen unless `holds`. */
export function expectThat(holds: boolean, expected: string, seen: unknown): asserts holds {
  if (!holds) throw new Failure(expected, shown(seen));
}

/** That two values look the same when written down; for texts, numbers, and lists of them. */
export function expectSame(seen: unknown, expected: unknown, what: string): void {
  expectThat(shown(seen) === shown(expected), `${what} to be ${shown(expected)}`, seen);
}

/** That bytes are those of the blob; they are not shown. */
export function expectBytes(seen: Uint8Array, expected: Uint8Array, what: string): void {
  expectThat(
    Buffer.compare(seen, expected) === 0,
    `${what} to be the ${expected.length} bytes that were uploaded`,
    `${seen.length} bytes${seen.length === expected.length ? ', others' : ''}`,
  );
}

/** That a call ends with one of `codes`, and gives its status. */
export async function expectRefusal(
  call: Promise<unknown>,
  codes: Code | readonly Code[],
  what: string,
): Promise<StatusError> {
  const allowed = [codes].flat();
  const expected = `${allowed.map(nameOfCode).join(' or ')} for ${what}`;
  try {
    await call;
  } catch (thrown) {
    if (!(thrown instanceof StatusError)) throw thrown;
    if (allowed.includes(thrown.code)) return thrown;
    throw new Failure(expected, textOf(thrown), { cause: thrown });
  }
  throw new Failure(expected, 'OK');
}

/**
 * The answer to a call that takes room of the store; a server may have none (CDC-05), which tells nothing
 * of the rest.
 */
export async function withRoom<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (thrown) {
    if (!(thrown instanceof StatusError) || thrown.code !== Code.RESOURCE_EXHAUSTED) throw thrown;
    throw noRoom(thrown.message);
  }
}

function noRoom(message: string): NotApplicable {
  return new NotApplicable(`the server has no room for it: ${message}`);
}

interface MessageStatus {
  readonly code: number;
  readonly message: string;
}

/** That the status of one blob in a batch has one of `codes`; does not apply where there is no room for it. */
export function expectStatus(
  status: MessageStatus | undefined,
  codes: Code | readonly Code[],
  what: string,
): void {
  const allowed = [codes].flat();
  const isFull = status?.code === Code.RESOURCE_EXHAUSTED && allowed.includes(Code.OK);
  if (isFull) throw noRoom(status.message);
  expectThat(
    status !== undefined && (allowed as readonly number[]).includes(status.code),
    `${allowed.map(nameOfCode).join(' or ')} for ${what}`,
    status ? `${nameOfCode(status.code)} ${status.message}`.trimEnd() : 'no status',
  );
}

/** Throws the status of the first blob of a batch when it is an error, as a call would. */
export function throwFirstStatus({
  responses: [first],
}: {
  readonly responses: readonly { readonly status?: MessageStatus | undefined }[];
}): void {
  const { code = 0, message = '' } = first?.status ?? {};
  if (code !== Code.OK) throw new StatusError(code as Code, message);
}

/** A status as reports show it. */
export function textOf(error: MessageStatus): string {
  return `${nameOfCode(error.code)}: ${error.message}`;
}

/** As reports show it. */
export function nameOfCode(code: number): string {
  return Object.entries(Code).find(([, known]) => known === code)?.[0] ?? `code ${code}`;
}

function shown(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
}
