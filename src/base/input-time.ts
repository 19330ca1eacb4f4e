/** When a file was downloaded says nothing of an input: one time for all keeps results the same. */
export const inputTime = new Date('2000-01-01T00:00:00Z');
