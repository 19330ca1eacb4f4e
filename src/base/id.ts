import { randomUUID } from 'node:crypto';

/** Makes identifiers that never repeat and cannot be guessed; tests pass a counted one. */
export type NewId = () => string;

export const newId: NewId = () => randomUUID();
