import { UsageError } from './exit-codes.ts';

/** The properties that a flag was given as NAME=VALUE; a UsageError names what is none. */
export function namesAndValues(
  flag: string,
  entries: readonly string[],
): { name: string; value: string }[] {
  return entries.map((entry) => {
    const [, name, value] = /^([^=]+)=(.*)$/s.exec(entry) ?? [];
    if (name !== undefined && value !== undefined) return { name, value };
    throw new UsageError(`${flag} ${entry} is not NAME=VALUE`);
  });
}
