import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import type { TlsOptions } from './http-origin.ts';
import { tempDir } from './temp-dir.ts';

/** Why no certificate can be made here, or false if one can; for a test's `skip`. */
export function certificateSkip(): string | false {
  return existsSync('/usr/bin/openssl') ? false : "install Debian's package openssl";
}

/** A certificate for 127.0.0.1 that nobody trusts yet, and the file that it is in. */
export function selfSigned(t: Pick<TestContext, 'after'>): TlsOptions & { readonly file: string } {
  const folder = tempDir(t);
  const file = path.join(folder, 'cert.pem');
  const key = path.join(folder, 'key.pem');
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
  const names = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const files = ['-nodes', '-days', '2', '-keyout', key, '-out', file];
  execFileSync('/usr/bin/openssl', [...request, ...names, ...files], { stdio: 'ignore' });
  return { key: readFileSync(key, 'utf8'), cert: readFileSync(file, 'utf8'), file };
}
