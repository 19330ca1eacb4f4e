import { readFileSync } from 'node:fs';

/** Put in by build.mjs; absent when the program runs from its sources. */
declare const VERSION: string | undefined;

/** The version of ExpBuild, as package.json has it. */
export const version: string = typeof VERSION === 'string' ? VERSION : versionOfSources();

function versionOfSources(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { readonly version: string }).version;
}
