import { clientSchema } from './client-config.ts';
import { nearest } from './nearest.ts';
import { variableOf } from './read-config.ts';
import { keysOf } from './schema-keys.ts';
import { serverSchema } from './server-config.ts';
import { workerSchema } from './worker-config.ts';

/**
 * Variables that look like one of ours but are none, each with what was probably meant. They are no
 * errors: Kubernetes sets EXPBUILD_PORT and others for a service called expbuild.
 */
export function misspeltVariables(
  environment: Readonly<Record<string, string | undefined>>,
): { readonly name: string; readonly meant: string }[] {
  const candidates = Object.keys(environment).filter((name) => name.startsWith('EXPBUILD_'));
  if (candidates.length === 0) return [];
  const known = new Set(
    [serverSchema, workerSchema, clientSchema].flatMap((schema) => keysOf(schema).map(variableOf)),
  );
  return candidates.flatMap((name) => {
    const meant = known.has(name) ? undefined : nearest(name, known, maxDistance);
    return meant === undefined ? [] : [{ name, meant }];
  });
}

/** All share a long beginning, so only slips of a letter or two tell what was meant. */
const maxDistance = 2;
