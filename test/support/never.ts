/** The signal of a test that cancels nothing. */
export const never: AbortSignal = new AbortController().signal;
