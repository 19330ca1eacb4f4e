// Builds dist/expbuild, one executable with Node, the program and its native addons inside.
//
//   node build.mjs [--if-stale] [--entry FILE] [--out FILE]
//
// --if-stale builds only when the executable is older than what it is made of.
import { execFileSync } from 'node:child_process';
import {
  globSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';

process.chdir(import.meta.dirname);

const { values: options } = parseArgs({
  options: {
    'if-stale': { type: 'boolean', default: false },
    entry: { type: 'string', default: 'src/main.ts' },
    out: { type: 'string', default: 'dist/expbuild' },
  },
});

if (Number(process.versions.node.split('.')[0]) < 26) {
  console.error(
    `Node ${process.versions.node} cannot build the executable: run \`npm run build\`, ` +
      'which finds Node 26 in node_modules/.bin.',
  );
  process.exit(1);
}
if (!options['if-stale'] || isStale()) await buildExecutable();

function isStale() {
  const builtAt = statSync(options.out, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const inputs = [
    'build.mjs',
    'package.json',
    'package-lock.json',
    'scripts/settle-node.mjs',
    ...globSync('src/**/*.ts'),
  ];
  return inputs.some((file) => statSync(file).mtimeMs > builtAt);
}

async function buildExecutable() {
  // Parts of its own for each build, moved into place when whole: two builds at once do no harm, and
  // neither does an executable that is running.
  const parts = `${options.out}.${process.pid}.parts`;
  const bundle = path.join(parts, 'expbuild.mjs');
  const executable = path.join(parts, 'expbuild');
  mkdirSync(parts, { recursive: true });
  try {
    await bundleInto(bundle);
    const config = path.join(parts, 'sea.json');
    writeFileSync(config, JSON.stringify(seaConfig(bundle, executable)));
    execFileSync(process.execPath, ['--build-sea', config], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    renameSync(executable, options.out);
  } finally {
    rmSync(parts, { recursive: true, force: true });
  }
  const sizeMiB = Math.round(statSync(options.out).size / 2 ** 20);
  console.error(`Built ${options.out} (${sizeMiB} MiB, Node ${process.versions.node}).`);
}

function bundleInto(outfile) {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
  return build({
    entryPoints: [options.entry],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node26',
    // As CommonJS, yargs fails at start: it reads import.meta.url.
    format: 'esm',
    sourcemap: 'inline',
    sourcesContent: false,
    define: { VERSION: JSON.stringify(version) },
    // The CommonJS packages call `require`. The odd name is needed: yargs imports `createRequire`, and
    // a second one of that name ends the program at its first line.
    banner: {
      js:
        "import { createRequire as createRequireOfNode } from 'node:module'; " +
        'const require = createRequireOfNode(process.execPath);',
    },
    // dockerode reaches daemons over SSH with them; here it is a socket of this machine, and native parts
    // cannot be bundled.
    plugins: [without(/^(?:ssh2|cpu-features)$/)],
    logLevel: 'warning',
  });
}

/** Puts nothing in the place of some packages. */
function without(names) {
  return {
    name: 'without',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: names }, ({ path: name }) => ({ path: name, namespace: 'nothing' }));
      onLoad({ filter: names, namespace: 'nothing' }, () => ({ contents: '' }));
    },
  };
}

function seaConfig(bundle, output) {
  return {
    main: bundle,
    mainFormat: 'module',
    output,
    disableExperimentalSEAWarning: true,
    execArgv: ['--enable-source-maps'],
    assets: nativeAddons(),
  };
}

/** The addons that src/base/native-addon.ts unpacks, for this machine: there is no cross-building. */
function nativeAddons() {
  const { platform, arch } = process;
  const addons = {
    'better_sqlite3.node': `node_modules/better-sqlite3/prebuilds/${platform}-${arch}.node`,
    'blake3.node': `node_modules/@napi-rs/blake-hash-${platform}-${arch}-gnu/blake.${platform}-${arch}-gnu.node`,
  };
  for (const file of Object.values(addons)) {
    if (statSync(file, { throwIfNoEntry: false })) continue;
    throw new Error(`${file} is missing: no executable can be built for ${platform} on ${arch}`);
  }
  return addons;
}
