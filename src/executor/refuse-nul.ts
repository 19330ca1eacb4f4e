import { Code, StatusError } from '../base/status.ts';

/** Fails with INVALID_ARGUMENT for what no argument or variable can hold. */
export function refuseNul(texts: readonly string[]): void {
  const text = texts.find((other) => other.includes('\0'));
  if (text === undefined) return;
  throw new StatusError(
    Code.INVALID_ARGUMENT,
    `${JSON.stringify(text.slice(0, 200))} holds a NUL, which no argument or variable can`,
  );
}
