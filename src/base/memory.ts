import { getHeapStatistics } from 'node:v8';

/** What all objects of this process may take together; V8 ends it when they take more. */
export const heapBytesMax = getHeapStatistics().heap_size_limit;
