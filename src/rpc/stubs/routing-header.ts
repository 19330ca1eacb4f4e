const printableAscii = /^[\x20-\x7e]+$/;

/** The resource name as a header, for proxies that route by it (BS-09); none if it has other letters. */
export function routingHeader(resourceName: string): Readonly<Record<string, string>> {
  return printableAscii.test(resourceName)
    ? { 'build.bazel.remote.execution.v2.resource-name': resourceName }
    : {};
}
