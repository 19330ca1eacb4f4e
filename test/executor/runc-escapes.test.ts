import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openEscapes } from '../../src/executor/runc-escapes.ts';

const of2025 = ['CVE-2025-31133', 'CVE-2025-52565', 'CVE-2025-52881'];
const all = ['CVE-2024-21626', ...of2025];

describe('DK-13: the ways out of containers that are open', () => {
  for (const [version, expected] of [
    ['1.0.0-rc93', all],
    ['1.1.5+ds1', all],
    ['1.1.11', all],
    ['1.1.12', of2025],
    ['1.1.15', of2025],
    ['1.2.0-rc.1', of2025],
    ['1.2.7', of2025],
    ['1.2.8', []],
    ['1.2.9', []],
    ['1.3.0', of2025],
    ['1.3.2', of2025],
    ['1.3.3+ds1', []],
    ['1.4.0-rc.2', of2025],
    ['1.4.0-rc.3', []],
    ['1.4.0', []],
    ['1.10.0', []],
    ['2.0.0', []],
    ['runc version 1.3.3\ncommit: v1.3.3-0-gd842d771', []],
    ['unknown', all],
    ['', all],
  ] as const) {
    it(`in runc ${JSON.stringify(version)} are known by its number`, () => {
      assert.deepEqual(openEscapes(version), expected);
    });
  }
});
