import { runLauncher } from '../../src/executor/launcher.ts';

// The program that tests start as a launcher.
await runLauncher();
process.exit();
