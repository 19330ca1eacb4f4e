/** One JSON object on one line, for scripts; without what messages of the API keep for programs of ours. */
export function jsonText(object: object): string {
  return JSON.stringify(object, (name, value: unknown) =>
    name === '_unknownFields' ? undefined : value,
  );
}
