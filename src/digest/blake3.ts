import { loadNativeAddon } from '../base/native-addon.ts';
import type { Hasher } from './digest-function.ts';

/** What is used of the addon @napi-rs/blake-hash. */
interface Blake3Addon {
  readonly blake3: (bytes: Uint8Array) => Buffer;
  readonly Blake3Hasher: new () => {
    update(bytes: Uint8Array): unknown;
    digest(format: 'hex'): string;
  };
}

let loaded: Blake3Addon | undefined;

/** The addon is loaded when first needed, so that what hashes nothing starts sooner. */
function addon(): Blake3Addon {
  loaded ??= loadNativeAddon('blake3.node', '@napi-rs/blake-hash') as Blake3Addon;
  return loaded;
}

export function createBlake3Hasher(): Hasher {
  const hasher = new (addon().Blake3Hasher)();
  return {
    update: (chunk) => void hasher.update(chunk),
    digest: () => hasher.digest('hex'),
  };
}

export function blake3HashOf(bytes: Uint8Array): string {
  return addon().blake3(bytes).toString('hex');
}
