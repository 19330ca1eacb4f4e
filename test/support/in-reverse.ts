import type { TestContext } from 'node:test';

type Hooks = Pick<TestContext, 'after'>;

/** Hooks of a test that run the last one first: `t.after` runs them in the order they were registered. */
export function inReverse(t: Hooks): Hooks {
  const closing = new AsyncDisposableStack();
  t.after(() => closing.disposeAsync());
  return {
    after: (hook) => {
      closing.defer(async () => void (await (hook as () => unknown)()));
    },
  };
}
