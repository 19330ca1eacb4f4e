/** One command, ready to run: paths are absolute, the environment is complete but for TMPDIR. */
export interface Command {
  /** argv[0] as the action names it: absolute, relative to `workingDirectory`, or looked up in PATH. */
  readonly argv: readonly [string, ...string[]];
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  /** For temporary files, private to the command; TMPDIR names it unless the environment does. */
  readonly temporary: string;
  /** Holds its output files. What names it in its environment or output is a process of the command. */
  readonly folder: string;
  /** Files in `folder` that take the command's output; made by the executor. */
  readonly stdoutPath: string;
  readonly stderrPath: string;
  readonly timeoutMs: number;
  /** It asks for the machine's network; where commands have none, it may be refused. */
  readonly network: boolean;
  /** What memory it asked for; it is held to it where an executor can. */
  readonly memoryBytesMax: number | undefined;
  /** And how many processors' worth of time, in parts of one too. */
  readonly cpusMax?: number | undefined;
  /** The action's platform properties: of some of them it is the executor that decides. */
  readonly properties?: ReadonlyMap<string, string>;
}

/** What the command used, its children that it waited for included; undefined is what nobody measured. */
export interface ResourceUsage {
  readonly userTimeMs: number | undefined;
  readonly systemTimeMs: number | undefined;
  /**
   * The largest resident set seen, of a process or, in a container, of all together; undefined when the
   * command ended too soon to be measured.
   */
  readonly maxResidentBytes: number | undefined;
}

/** How the command ended. A failing command is an outcome; only failing to run it is an error. */
export type Outcome = { readonly usage: ResourceUsage; readonly wallTimeMs: number } & (
  | {
      readonly kind: 'exited';
      readonly exitCode: number;
      /** Why something of it was ended all the same, so that it might come to more elsewhere; ends a sentence. */
      readonly message?: string | undefined;
    }
  | { readonly kind: 'killed'; readonly signal: NodeJS.Signals }
  | { readonly kind: 'timed-out' }
  | { readonly kind: 'output-limit'; readonly message: string }
  /** It failed, and had met a limit of its memory, processes or files; the message ends a sentence. */
  | {
      readonly kind: 'resource-limit';
      readonly exitCode: number;
      readonly message: string;
      /** The limit, when it was one of memory. */
      readonly memoryBytesMax?: number | undefined;
    }
);

/** A user and group of the operating system, by number. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
  /** Nobody else has the user: all that belongs to it is of its commands. */
  readonly isPrivate?: boolean;
}

/**
 * Runs commands in prepared input roots, one at a time: as processes, in containers, in virtual machines.
 * When `run` settles, no process of the command is left. It fails with INVALID_ARGUMENT when there is
 * nothing to run under argv[0] (ACT-11), and with CANCELLED, after ending the command, when `signal`
 * aborts.
 */
export interface Executor {
  run(command: Command, inputRoot: string, signal: AbortSignal): Promise<Outcome>;
  /**
   * Ends and removes what a command left that `run` could not end; fails while something is left.
   * Without it, nothing can be.
   */
  clean?(): Promise<void>;
  /** Whom the folders of an input root must belong to, unless it is the worker itself. */
  readonly owner: Owner | undefined;
  /** True when a command cannot change files of the worker that it can read (WRK-03). */
  readonly protectsInputs: boolean;
}
