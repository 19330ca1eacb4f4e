import type { TestContext } from 'node:test';
import {
  FetchBlobRequest,
  FetchBlobResponse,
  FetchDirectoryRequest,
  FetchDirectoryResponse,
  PushBlobRequest,
  PushBlobResponse,
  PushDirectoryRequest,
  PushDirectoryResponse,
} from '../../src/proto/build/bazel/remote/asset/v1/remote_asset.ts';
import { type CallOptions, TestClient } from './test-client.ts';

const path = '/build.bazel.remote.asset.v1';

/** Values of qualifiers by their names. */
export const qualifiersOf = (values: Readonly<Record<string, string>>) =>
  Object.entries(values).map(([name, value]) => ({ name, value }));

/** The Remote Asset API, as any client speaks it. */
export function assetClient(t: Pick<TestContext, 'after'>, address: string) {
  const client = new TestClient(t, address);
  return {
    fetchBlob: (request: Partial<FetchBlobRequest>, options: CallOptions = {}) =>
      client.unary(
        `${path}.Fetch/FetchBlob`,
        FetchBlobRequest,
        FetchBlobResponse,
        FetchBlobRequest.fromPartial(request),
        options,
      ),
    fetchDirectory: (request: Partial<FetchDirectoryRequest>) =>
      client.unary(
        `${path}.Fetch/FetchDirectory`,
        FetchDirectoryRequest,
        FetchDirectoryResponse,
        FetchDirectoryRequest.fromPartial(request),
      ),
    pushBlob: (request: Partial<PushBlobRequest>) =>
      client.unary(
        `${path}.Push/PushBlob`,
        PushBlobRequest,
        PushBlobResponse,
        PushBlobRequest.fromPartial(request),
      ),
    pushDirectory: (request: Partial<PushDirectoryRequest>) =>
      client.unary(
        `${path}.Push/PushDirectory`,
        PushDirectoryRequest,
        PushDirectoryResponse,
        PushDirectoryRequest.fromPartial(request),
      ),
  };
}
