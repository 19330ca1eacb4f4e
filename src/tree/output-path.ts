/**
 * The path from the input root that `path` means, seen from `workingDirectory`: without `.`, `..` and
 * empty segments; `''` is the input root itself. Undefined when it is absolute, holds a NUL, or leaves
 * the input root on its way, even if it comes back (ACT-17, ACT-24). Symlinks are not considered.
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

function isUnusable(path: string): boolean {
  return path.startsWith('/') || path.includes('\0');
}
