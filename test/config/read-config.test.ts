import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clientSchema } from '../../src/config/client-config.ts';
import { misspeltVariables } from '../../src/config/misspelt-variables.ts';
import {
  ConfigError,
  type FlagValue,
  readConfig,
  variableOf,
} from '../../src/config/read-config.ts';
import { keysOf } from '../../src/config/schema-keys.ts';
import { serverSchema } from '../../src/config/server-config.ts';
import { workerSchema } from '../../src/config/worker-config.ts';

interface Given {
  readonly toml?: string;
  readonly environment?: Record<string, string>;
  readonly flags?: readonly FlagValue[];
}

const sources = ({ toml, environment = {}, flags = [] }: Given) => ({
  file: toml === undefined ? undefined : { path: 'x.toml', text: toml },
  environment,
  flags,
});

function problemsOf(schema: typeof serverSchema | typeof workerSchema, given: Given) {
  try {
    readConfig(schema, sources(given));
  } catch (thrown) {
    if (thrown instanceof ConfigError) return thrown.problems;
    throw thrown;
  }
  return [];
}

const addressOf = (given: Given) => readConfig(serverSchema, sources(given)).address.host;

test('flags beat the environment, which beats the file, which beats defaults', () => {
  const toml = 'address = "a:1"';
  const environment = { EXPBUILD_ADDRESS: 'b:2' };
  const flags = [{ key: 'address', value: 'c:3', flag: '--address' }];
  assert.equal(addressOf({}), '127.0.0.1');
  assert.equal(addressOf({ toml }), 'a');
  assert.equal(addressOf({ toml, environment }), 'b');
  assert.equal(addressOf({ toml, environment, flags }), 'c');
});

for (const [problem, toml, ...expected] of [
  [
    'an unknown key',
    '[cas_storage]\n\nmax_sise = "1GiB"',
    'x.toml:3: key "cas_storage.max_sise" is not known; did you mean "cas_storage.max_size"?',
  ],
  [
    'a key in the wrong table',
    'durability = "full"',
    'x.toml:1: key "durability" is not known; did you mean "cas_storage.durability"?',
  ],
  ['a key like no other', 'zzzzzz = 1', 'x.toml:1: key "zzzzzz" is not known'],
  ['an unknown table', '[store]\na = 1', 'x.toml:1: key "store" is not known'],
  [
    'a wrong type',
    '[cas_storage]\nmax_size = 10',
    'x.toml:2: key "cas_storage.max_size" must be a size with a unit, such as "512MiB" or "10GiB"; ' +
      'it is 10',
  ],
  [
    'a wrong unit',
    '[execution]\nmax_timeout = "10GiB"',
    'x.toml:2: key "execution.max_timeout" must be a duration with a unit, such as "30s" or "5m"; ' +
      'it is "10GiB"',
  ],
  [
    'a timeout that leaves no time',
    '[execution]\ndefault_timeout = "0s"',
    'x.toml:2: key "execution.default_timeout" must be "1ms" or more; it is "0s"',
  ],
  [
    'an invalid choice',
    '[execution]\nbackend = "cloud"',
    'x.toml:2: key "execution.backend" must be "scheduler" or "direct" or "none"; it is "cloud"',
  ],
  [
    'TLS',
    'address = "grpcs://h:1"',
    'x.toml:1: key "address" asks for TLS, which comes with a later version; use grpc:// or ' +
      'http://; it is "grpcs://h:1"',
  ],
  [
    'a list with a number',
    'instance_names = ["", 3]',
    'x.toml:1: key "instance_names.1" must be a list of texts, such as ["a", "b"]; it is 3',
  ],
  [
    'a value where a table belongs',
    'cas_storage = "x"',
    'x.toml:1: key "cas_storage" must be a table; it is "x"',
  ],
  [
    'several problems',
    'adress = "a:1"\nzebra = 1\n[execution]\nqueue_max = 0',
    'x.toml:1: key "adress" is not known; did you mean "address"?',
    'x.toml:2: key "zebra" is not known',
    'x.toml:4: key "execution.queue_max" must be a whole number from 1 to 10000000; it is 0',
  ],
] as const) {
  test(`${problem} is told with file, line and key`, () => {
    assert.deepEqual(problemsOf(serverSchema, { toml }), expected);
  });
}

test('a text that is no TOML is told with its line', () => {
  const [problem, ...others] = problemsOf(serverSchema, { toml: '\naddress = \n' });
  assert.match(problem ?? '', /^x\.toml:2: /);
  assert.deepEqual(others, []);
});

test('an executor of a later version is refused as such', () => {
  assert.deepEqual(problemsOf(workerSchema, { toml: '[executor]\ntype = "vm"' }), [
    'x.toml:2: key "executor.type" must be "auto" or "host" or "sandbox" or "docker": this one comes with a later version; it is "vm"',
  ]);
});

test('a variable and a flag with a wrong value are told by name', () => {
  const environment = { EXPBUILD_CAS_STORAGE_MAX_SIZE: 'big', EXPBUILD_EXECUTION_QUEUE_MAX: '1.5' };
  const flags = [{ key: 'cas_storage.tipe', value: 'memory', flag: '--set' }];
  assert.deepEqual(problemsOf(serverSchema, { environment, flags }), [
    'flag --set: key "cas_storage.tipe" is not known; did you mean "cas_storage.type"?',
    'variable EXPBUILD_CAS_STORAGE_MAX_SIZE: key "cas_storage.max_size" must be a size with a unit, ' +
      'such as "512MiB" or "10GiB"; it is "big"',
    'variable EXPBUILD_EXECUTION_QUEUE_MAX: key "execution.queue_max" must be a whole number from 1 ' +
      'to 10000000; it is "1.5"',
  ]);
});

test('variables and flags set numbers, lists and tables', () => {
  const { slots, platform, executor } = readConfig(
    workerSchema,
    sources({
      toml: '[platform]\nold = "gone"',
      environment: {
        EXPBUILD_SLOTS: '3',
        EXPBUILD_PLATFORM: 'os=linux,gpu=a,gpu=b',
        EXPBUILD_EXECUTOR_ENV_WHITELIST: 'PATH,HOME',
      },
      flags: [{ key: 'platform.pool', value: 'fast', flag: '--platform' }],
    }),
  );
  assert.equal(slots, 3);
  assert.deepEqual(platform, { os: ['linux'], gpu: ['a', 'b'], pool: 'fast' });
  assert.deepEqual(executor.env_whitelist, ['PATH', 'HOME']);
});

test('HI-30: names that mean something to JavaScript are names like any other', () => {
  assert.deepEqual(problemsOf(serverSchema, { toml: '__proto__ = 1\nconstructor = 2' }), [
    'x.toml:1: key "__proto__" is not known',
    'x.toml:2: key "constructor" is not known',
  ]);
});

test('a variable that is nearly one of ours is noticed; others are not ours', () => {
  const environment = {
    EXPBUILD_CAS_STORAGE_MAX_SISE: '1GiB',
    EXPBUILD_PORT: 'tcp://10.0.0.1:50051',
    EXPBUILD_SLOTS: '3',
    PATH: '/bin',
  };
  assert.deepEqual(misspeltVariables(environment), [
    { name: 'EXPBUILD_CAS_STORAGE_MAX_SISE', meant: 'EXPBUILD_CAS_STORAGE_MAX_SIZE' },
  ]);
});

for (const schema of [serverSchema, workerSchema, clientSchema]) {
  test('no two keys are set by the same variable', () => {
    const variables = keysOf(schema).map(variableOf);
    assert.equal(new Set(variables).size, variables.length);
  });
}
