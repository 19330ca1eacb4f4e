import type { TestContext } from 'node:test';
import { systemClock } from '../../../src/base/clock.ts';
import { Instances } from '../../../src/rpc/instances.ts';
import { byteStream } from '../../../src/rpc/services/byte-stream.ts';
import { logStream } from '../../../src/rpc/services/log-stream.ts';
import { connectChannel } from '../../../src/rpc/stubs/channel.ts';
import { RemoteLogStreams } from '../../../src/rpc/stubs/remote-log-streams.ts';
import { defaultRetryOptions } from '../../../src/rpc/stubs/retries.ts';
import { logStreamsContract } from '../../contract/log-streams.ts';
import { inReverse } from '../../support/in-reverse.ts';
import { memoryLogStreams } from '../../support/memory-log-streams.ts';
import { startServer } from '../../support/start-server.ts';
import { testInstance } from '../../support/test-instance.ts';

logStreamsContract('RemoteLogStreams at our own server', async (context: TestContext) => {
  const t = inReverse(context);
  const logs = await memoryLogStreams(t);
  const instances = new Instances([testInstance(), testInstance({ name: 'main' })]);
  const services = [byteStream(instances, logs), logStream(instances, logs)];
  const { listener } = await startServer(t, services);
  const channel = connectChannel(listener.address, {
    retries: { ...defaultRetryOptions, clock: systemClock, random: () => 0 },
    invocationId: 'test',
  });
  t.after(() => channel.close());
  return new RemoteLogStreams(channel);
});
