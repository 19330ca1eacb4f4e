import { Code } from '../base/status.ts';
import type { Api } from './api.ts';
import { unknownOperation } from './execution-probes.ts';
import { expectRefusal } from './expect.ts';
import { execution, offered } from './needs.ts';
import type { Area } from './probe.ts';
import { rpcs } from './rpcs.ts';

export const operationsProbes: Area = {
  name: 'operations',
  needs: [execution],
  probes: [
    {
      ids: ['OPS-01'],
      title: 'GetOperation of an unknown operation is NOT_FOUND',
      run: async (api) => {
        const call = api.one(rpcs.getOperation, { name: unknownOperation(api) });
        await expectRefusal(call, Code.NOT_FOUND, 'GetOperation');
      },
    },
    {
      ids: ['OPS-04'],
      title: 'CancelOperation of an unknown operation is NOT_FOUND',
      run: async (api) => {
        const call = api.one(rpcs.cancelOperation, { name: unknownOperation(api) });
        await expectRefusal(call, Code.NOT_FOUND, 'CancelOperation');
      },
    },
    {
      ids: ['OPS-07'],
      title: 'DeleteOperation of an unknown operation is NOT_FOUND',
      run: async (api) => {
        const call = api.one(rpcs.deleteOperation, { name: unknownOperation(api) });
        await expectRefusal(offered('DeleteOperation', call), Code.NOT_FOUND, 'DeleteOperation');
      },
    },
    {
      ids: ['OPS-08'],
      title: 'WaitOperation of an unknown operation is NOT_FOUND',
      run: async (api) => {
        const call = api.one(rpcs.waitOperation, { name: unknownOperation(api) });
        await expectRefusal(offered('WaitOperation', call), Code.NOT_FOUND, 'WaitOperation');
      },
    },
    {
      ids: ['OPS-02'],
      title: 'ListOperations refuses a page token that nobody gave',
      run: async (api) => {
        const name = collectionOf(api);
        const call = api.one(rpcs.listOperations, { name, pageToken: 'no such token' });
        const what = 'the page token "no such token"';
        await expectRefusal(offered('ListOperations', call), Code.INVALID_ARGUMENT, what);
      },
    },
    {
      ids: ['OPS-03'],
      title: 'return_partial_success is refused',
      run: async (api) => {
        const name = collectionOf(api);
        const call = api.one(rpcs.listOperations, { name, returnPartialSuccess: true });
        await expectRefusal(call, Code.UNIMPLEMENTED, 'return_partial_success');
      },
    },
  ],
};

/** The name of all operations of the instance. */
function collectionOf({ tested: { instanceName } }: Api): string {
  return instanceName === '' ? 'operations' : `${instanceName}/operations`;
}
