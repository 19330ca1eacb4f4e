import { amountText } from './amounts.ts';
import { explainUnmatched } from './explain-unmatched.ts';
import { matches, nothingOffered } from './platform.ts';
import type { PlatformQueue } from './platform-queue.ts';
import type { Run } from './run.ts';
import type { Worker } from './worker.ts';

/** Some lines: it goes to each watcher, each time the operation changes. */
const reasonCharsMax = 8_000;

/** So many workers in one state are named; more are counted. */
const namedMax = 3;

export interface Waiting {
  readonly run: Run;
  /** The run's; undefined when it stands in none. */
  readonly queue: PlatformQueue | undefined;
  /** Workers that are here, or may come back. */
  readonly known: readonly Worker[];
  /** Of those that may be given something now. */
  readonly freeSlots: ReadonlyMap<Worker, number>;
}

/** What each of some workers does, and what several do. */
interface Doing {
  readonly one: string;
  readonly several: string;
}

const busy = { one: 'is busy', several: 'are busy' };
const kept = { one: 'is kept for a larger action', several: 'are kept for larger actions' };
const resting = {
  one: 'rests after it failed or handed back an action',
  several: 'rest after they failed or handed back actions',
};
const avoided = {
  one: 'has failed with this action before',
  several: 'have failed with this action before',
};
const given = { one: 'is about to be given it', several: 'are about to be given it' };
const away = { one: 'is away, and may come back', several: 'are away, and may come back' };
const terminating = { one: 'is told to terminate', several: 'are told to terminate' };
const unfit = {
  one: 'is in trouble, as `expbuild workers show` tells',
  several: 'are in trouble, as `expbuild workers show` tells',
};
const stopping = { one: 'shuts down', several: 'shut down' };
const drained = { one: 'is drained', several: 'are drained' };

/** Why a queued run is not given to a worker, for people: which property none has, or what those do that match. */
export function explainWaiting(waiting: Waiting): string {
  const reason = wholeReason(waiting);
  if (reason.length <= reasonCharsMax) return reason;
  return `${reason.slice(0, reasonCharsMax).toWellFormed()}…`;
}

function wholeReason(waiting: Waiting): string {
  const { requirements } = waiting.run;
  // Those of before a restart have not said yet what they offer.
  const told = waiting.known.filter(({ offered }) => offered !== nothingOffered);
  const matching = told.filter(({ offered }) => matches(requirements, offered));
  if (matching.length === 0) {
    const untold = waiting.known.length - told.length;
    const more = untold === 0 ? '' : `; ${untold} of before the restart may come back`;
    return `${explainUnmatched(requirements, told)}${more}`;
  }
  const byDoing = new Map<string, { doing: Doing; ids: string[] }>();
  for (const worker of matching) {
    const doing = doingOf(worker, waiting);
    const known = byDoing.get(doing.one);
    if (known) known.ids.push(worker.id);
    else byDoing.set(doing.one, { doing, ids: [worker.id] });
  }
  const isOpen = matching.some((worker) => worker.isOpen);
  const { memoryAbove } = requirements;
  const why = memoryAbove === 0 ? '' : `; ${amountText(memoryAbove)} of memory were too little`;
  return `${isOpen ? '' : 'no worker takes it now: '}${textOf([...byDoing.values()])}${why}`;
}

function textOf(all: readonly { doing: Doing; ids: readonly string[] }[]): string {
  const count = all.reduce((sum, { ids }) => sum + ids.length, 0);
  const [only, ...more] = all;
  if (only && more.length === 0) {
    return count === 1
      ? `the one worker that matches ${only.doing.one}${namesOf(only.ids)}`
      : `the ${count} workers that match ${only.doing.several}${namesOf(only.ids)}`;
  }
  const parts = all.map(({ doing, ids }) =>
    [ids.length, ids.length === 1 ? doing.one : doing.several].join(' ').concat(namesOf(ids)),
  );
  return `${count} workers match: ${parts.join(', ')}`;
}

function namesOf(ids: readonly string[]): string {
  return ids.length > namedMax ? '' : ` (${ids.join(', ')})`;
}

function doingOf(worker: Worker, { run, queue, freeSlots }: Waiting): Doing {
  if (!worker.session) return away;
  if (worker.isTerminating) return terminating;
  if (worker.trouble !== '') return unfit;
  if (worker.isDraining) return stopping;
  if (worker.isDrained) return drained;
  if (worker.rest) return resting;
  if (!freeSlots.has(worker)) return busy;
  if (worker.reservedFor !== undefined && worker.reservedFor !== queue) return kept;
  if (!worker.hasRoomFor(run.requirements)) return shortOf(run);
  return queue?.maySend(run.avoided, worker) === false ? avoided : given;
}

/** In the words of the action: `memory=4GiB`. */
function shortOf({ requirements: { properties, amounts } }: Run): Doing {
  const needs = properties
    .filter(({ name }) => amounts.has(name))
    .map(({ name, value }) => `${name}=${value}`);
  return {
    one: `has no ${needs.join(' and ')} left`,
    several: `have no ${needs.join(' and ')} left`,
  };
}
