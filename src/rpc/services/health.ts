import { aborted } from '../../base/aborted.ts';
import { quoted } from '../../base/quoted.ts';
import { Code, StatusError } from '../../base/status.ts';
import {
  HealthCheckRequest,
  HealthCheckResponse,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from '../../proto/grpc/health/v1/health.ts';
import { serverStream, type Service, serviceNamesOf, unary } from '../method.ts';

const servicePath = '/grpc.health.v1.Health';

/**
 * The standard health service (GEN-21), for the given services and, as the empty name, for the server as
 * a whole. They are SERVING until `draining` aborts, then NOT_SERVING. That no worker is connected makes
 * nothing unhealthy: actions wait for one, and it must be able to come.
 */
export function health(services: readonly Service[], draining: AbortSignal): Service {
  const names = new Set(['', ...serviceNamesOf(services)]);
  const statusOf = (name: string): ServingStatus => {
    if (!names.has(name)) return ServingStatus.SERVICE_UNKNOWN;
    return draining.aborted ? ServingStatus.NOT_SERVING : ServingStatus.SERVING;
  };
  return [
    unary(
      `${servicePath}/Check`,
      HealthCheckRequest,
      HealthCheckResponse,
      async ({ service }): Promise<HealthCheckResponse> => {
        const status = statusOf(service);
        if (status !== ServingStatus.SERVICE_UNKNOWN) return { status };
        throw new StatusError(Code.NOT_FOUND, `this server does not serve ${quoted(service)}`);
      },
    ),
    serverStream(
      `${servicePath}/Watch`,
      HealthCheckRequest,
      HealthCheckResponse,
      async function* ({ service }, { signal }) {
        const first = statusOf(service);
        yield { status: first };
        if (first === ServingStatus.SERVING) {
          await aborted(AbortSignal.any([draining, signal]));
          yield { status: statusOf(service) };
        }
        await aborted(signal);
      },
      { lasting: true },
    ),
  ];
}
