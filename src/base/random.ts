/** A number from 0 up to, not including, 1: for jitter. Tests pass a seeded one. */
export type Random = () => number;

export const random: Random = () => Math.random();
