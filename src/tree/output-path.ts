/** Linux takes no longer path, with the byte that ends it, and others take less. */
const PATH_CHARACTERS_MAX = 4095;

/**
 * The path from the input root that `path` means, seen from `workingDirectory`: without `.`, `..` and
 * empty segments; `''` is the input root itself. Undefined when it is absolute, holds a NUL, is longer than
 * any system takes, or leaves the input root on its way, even if it comes back (ACT-17, ACT-24). Symlinks
 * are not considered.
 */
export function resolveInRoot(workingDirectory: string, path: string): string | undefined {
  if (isUnusable(workingDirectory) || isUnusable(path)) return undefined;
  const segments: string[] = [];
  for (const segment of [...workingDirectory.split('/'), ...path.split('/')]) {
    if (segment === '..') {
      if (segments.pop() === undefined) return undefined;
    } else if (segment !== '' && segment !== '.') {
      segments.push(segment);
    }
  }
  return segments.join('/');
}

/**
 * How many folders below the input root `path` leads to, seen from a folder that is `depth` below it. Undefined
 * where `resolveInRoot` is. It takes no longer from a working directory with a long name.
 */
export function depthFrom(depth: number, path: string): number | undefined {
  if (isUnusable(path)) return undefined;
  let at = depth;
  for (const segment of path.split('/')) {
    if (segment === '..') at -= 1;
    else if (segment !== '' && segment !== '.') at += 1;
    if (at < 0) return undefined;
  }
  return at;
}

function isUnusable(path: string): boolean {
  return path.length > PATH_CHARACTERS_MAX || path.startsWith('/') || path.includes('\0');
}
