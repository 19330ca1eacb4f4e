import * as v from 'valibot';
import { type Address, parseAddress } from './address.ts';
import { parseAmount, parseDuration, parseSize } from './units.ts';

// Each key is made with one sentence that says what it means. The examples under configs/ repeat it.

/** Text that stands for something: `parse` gives its value, or the complaint, which ends a sentence. */
function parsed<T>(
  sentence: string,
  expected: string,
  parse: (written: string) => { value: T } | { complaint: string },
) {
  return v.pipe(
    v.string(expected),
    v.rawTransform<string, T>(({ dataset, addIssue, NEVER }) => {
      const result = parse(dataset.value);
      if ('value' in result) return result.value;
      addIssue({ message: result.complaint });
      return NEVER;
    }),
    v.description(sentence),
  );
}

/** A size with its unit; bytes come out. `least` is written in the same way. */
export function size(sentence: string, least = '0B') {
  const expected = 'must be a size with a unit, such as "512MiB" or "10GiB"';
  const min = parseSize(least) ?? 0;
  return parsed(sentence, expected, (written) => {
    const value = parseSize(written);
    if (value === undefined) return { complaint: expected };
    return value < min ? { complaint: `must be "${least}" or more` } : { value };
  });
}

/** A duration with its unit; milliseconds come out. `least` is written in the same way. */
export function duration(sentence: string, least = '0s') {
  const expected = 'must be a duration with a unit, such as "30s" or "5m"';
  const min = parseDuration(least) ?? 0;
  return parsed(sentence, expected, (written) => {
    const value = parseDuration(written);
    if (value === undefined) return { complaint: expected };
    return value < min ? { complaint: `must be "${least}" or more` } : { value };
  });
}

const addressForms = 'must be an address such as "localhost:50051" or "grpc://10.0.0.7:50051"';
const noTls = 'asks for TLS, which comes with a later version; use grpc:// or http://';

/** The address of a server. */
export function address(sentence: string) {
  return parsed<Address>(sentence, addressForms, (written) => {
    const value = parseAddress(written);
    if (value === 'tls') return { complaint: noTls };
    return value === 'malformed' ? { complaint: addressForms } : { value };
  });
}

/** One of a few words; `later` are words of later versions, refused as such. */
export function choice<const T extends string>(
  sentence: string,
  choices: readonly T[],
  later: readonly string[] = [],
) {
  const expected = `must be ${choices.map((word) => `"${word}"`).join(' or ')}`;
  return parsed<T>(sentence, expected, (written) => {
    const value = choices.find((word) => word === written);
    if (value !== undefined) return { value };
    const coming = later.includes(written) ? ': this one comes with a later version' : '';
    return { complaint: `${expected}${coming}` };
  });
}

/** Text that is not empty. */
export function text(sentence: string) {
  const expected = 'must be text that is not empty';
  return v.pipe(v.string(expected), v.minLength(1, expected), v.description(sentence));
}

/** Text, possibly empty. */
export function anyText(sentence: string) {
  return v.pipe(v.string('must be text'), v.description(sentence));
}

/** A whole number from `min` to `max`. */
export function count(sentence: string, min: number, max: number) {
  const expected = `must be a whole number from ${min} to ${max}`;
  return v.pipe(
    v.number(expected),
    v.integer(expected),
    v.minValue(min, expected),
    v.maxValue(max, expected),
    v.description(sentence),
  );
}

/** True or false. */
export function flag(sentence: string) {
  return v.pipe(v.boolean('must be true or false'), v.description(sentence));
}

/** A list of texts. */
export function list(sentence: string) {
  const expected = 'must be a list of texts, such as ["a", "b"]';
  return v.pipe(v.array(v.string(expected), expected), v.description(sentence));
}

/** A table whose names the operator makes up: each has a text or a list of texts. */
export function properties(sentence: string) {
  const expected = 'must be a text or a list of texts';
  const value = v.union([v.string(), v.array(v.string())], expected);
  return v.pipe(
    v.record(v.string(), value, 'must be a table of names and values'),
    v.description(sentence),
  );
}

/** A table whose names the operator makes up: each has one text. */
export function texts(sentence: string) {
  const expected = 'must be a text';
  // A variable gives lists, as it does for `properties`.
  const only = v.pipe(
    v.array(v.string()),
    v.length(1),
    v.transform(([first]) => first ?? ''),
  );
  return v.pipe(
    v.record(
      v.string(),
      v.union([v.string(), only], expected),
      'must be a table of names and texts',
    ),
    v.description(sentence),
  );
}

/** A table whose names the operator makes up: each has a number or a size. */
export function amounts(sentence: string) {
  const expected = 'must be a number above 0, such as 4, or a size, such as "16GiB"';
  const amount = v.pipe(
    v.union([v.number(), v.string(), v.pipe(v.array(v.string()), v.length(1))], expected),
    v.rawTransform<number | string | string[], number>(({ dataset, addIssue, NEVER }) => {
      const value = parseAmount([dataset.value].flat()[0] ?? '');
      if (value !== undefined) return value;
      addIssue({ message: expected });
      return NEVER;
    }),
  );
  return v.pipe(
    v.record(v.string(), amount, 'must be a table of names and amounts'),
    v.description(sentence),
  );
}

/** A table of keys, each of them optional. */
export function section<E extends v.ObjectEntries>(entries: E) {
  return v.strictObject(entries, 'must be a table');
}
