/** An operation's name, of which a person may tell the last part alone. */
export function operationName(told: string, instanceName: string): string {
  if (told.includes('/')) return told;
  return `${instanceName === '' ? '' : `${instanceName}/`}operations/${told}`;
}
