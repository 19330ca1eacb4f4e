import { MemoryActionCache } from '../../src/action-cache/memory-action-cache.ts';
import { actionCacheStorageContract } from '../contract/action-cache.ts';

actionCacheStorageContract(
  'MemoryActionCache',
  async (_, maxSizeBytes) => new MemoryActionCache({ maxSizeBytes }),
);
