import type { ActionCache } from '../action-cache/action-cache.ts';
import { inlineContents } from '../action-cache/inline-contents.ts';
import type { Clock } from '../base/clock.ts';
import { withHeldMemory } from '../base/memory.ts';
import { Permits } from '../base/permits.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import {
  type Action,
  type Command,
  ExecuteResponse,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { ActionRequest, Operations, OperationState } from '../scheduler/operations.ts';
import { findAction, findCommand } from '../tree/find-action.ts';
import { missingBlobs } from '../tree/missing-blobs.ts';
import { timeoutMsOf } from './action-timeout.ts';
import { checkCommand, checkPlatform } from './check-command.ts';
import type { ExecuteOptions, Execution } from './execution.ts';
import type { ExecutionOptions } from './execution-options.ts';
import { failedResponse } from './failed-response.ts';
import { InputCheck } from './input-check.ts';

export interface ExecutionDependencies {
  /** The blobs of an instance. */
  readonly blobsOf: (instanceName: string) => BlobStore;
  /** The action cache of an instance; gives complete results only (AC-04). */
  readonly actionsOf: (instanceName: string) => ActionCache;
  readonly operations: Operations;
  readonly options: ExecutionOptions;
  readonly clock: Clock;
}

/** What is to become of an action: it ends at once, or it runs. */
interface Prepared {
  readonly request: ActionRequest;
  readonly response?: ExecuteResponse;
}

/**
 * Runs actions on the workers of this server's scheduler. What can be known of an action without running
 * it is looked at first: whether its result is cached, whether its inputs are stored and make sense.
 */
export class LocalExecution implements Execution {
  readonly #dependencies: ExecutionDependencies;
  readonly #preparations: Permits;
  readonly #inputs: InputCheck;

  constructor(dependencies: ExecutionDependencies) {
    this.#dependencies = dependencies;
    const { options, clock } = dependencies;
    this.#preparations = new Permits(options.preparationsMax);
    this.#inputs = new InputCheck(options, clock);
  }

  /**
   * Fails before there is an operation when the action or its inputs are malformed (EXE-12). Missing
   * blobs are told by an operation that is done: some clients lose the details of an error (EXE-13).
   */
  async *execute(options: ExecuteOptions, signal: AbortSignal): AsyncIterable<OperationState> {
    const { operations, blobsOf } = this.#dependencies;
    const prepare = () => withHeldMemory(() => this.#prepare(options, signal));
    const { request, response } = await this.#preparations.hold(prepare, signal);
    const { name } = response
      ? await operations.complete(request, response)
      : await operations.enqueue(request);
    for await (const state of operations.watch(name, signal)) {
      const result = state.response?.result;
      if (!result) {
        yield state;
        continue;
      }
      const { action, instanceName } = options;
      const blobs = blobsOf(instanceName);
      const inlined = await inlineContents(result, options, action.function, blobs, signal);
      yield { ...state, response: { ...state.response, result: inlined } };
    }
  }

  wait(name: string, signal: AbortSignal): AsyncIterable<OperationState> {
    return this.#dependencies.operations.watch(name, signal);
  }

  cancel(name: string): Promise<void> {
    return this.#dependencies.operations.cancel(name);
  }

  async #prepare(options: ExecuteOptions, signal: AbortSignal): Promise<Prepared> {
    const limits = this.#dependencies.options;
    const blobs = this.#dependencies.blobsOf(options.instanceName);
    const found = await findAction(options.action, blobs, limits.actionSizeBytesMax, signal);
    if (!found) {
      const request = requestOf(options, undefined, limits.defaultTimeoutMs);
      return { request, response: failedResponse(missingBlobs([options.action])) };
    }
    const timeoutMs = timeoutMsOf(found.action.timeout, limits);
    const request = requestOf(options, found.action, timeoutMs);
    const cached = await this.#findCached(options, found.action, signal);
    if (cached) return { request, response: cached };

    const command = await findCommand(found.command, blobs, limits.commandSizeBytesMax, signal);
    if (command) checkCommand(command, limits.treeLimits);
    const properties = (found.action.platform ?? command?.platform)?.properties ?? [];
    checkPlatform(properties);
    const { inputRoot } = found;
    const missing = await this.#inputs.findMissing(inputRoot, options.instanceName, blobs, signal);
    if (!command || missing.length > 0) {
      const all = command ? missing : [found.command, ...missing];
      return { request, response: failedResponse(missingBlobs(all)) };
    }
    await this.#inputs.requireDirectory(inputRoot, command.workingDirectory, blobs, signal);
    return { request: { ...request, properties, affinityKey: affinityKeyOf(command) } };
  }

  /** The operation's end if its result is in the action cache and the client takes it (EXE-31, EXE-57). */
  async #findCached(
    { instanceName, action, skipCacheLookup }: ExecuteOptions,
    { doNotCache }: Action,
    signal: AbortSignal,
  ): Promise<ExecuteResponse | undefined> {
    if (skipCacheLookup || doNotCache) return undefined;
    const result = await this.#dependencies.actionsOf(instanceName).find(action, signal);
    // fromPartial would drop the fields of the result that are unknown here (AC-25).
    return result && { ...ExecuteResponse.fromPartial({ cachedResult: true }), result };
  }
}

/** A command whose first output has the same path is most often the same step of an earlier build. */
function affinityKeyOf(command: Command): string | undefined {
  return [...command.outputPaths, ...command.outputFiles, ...command.outputDirectories][0];
}

/** The properties are those of the action; the command's are looked at where the action has none (ACT-03). */
function requestOf(
  options: ExecuteOptions,
  action: Action | undefined,
  timeoutMs: number,
): ActionRequest {
  return {
    instanceName: options.instanceName,
    action: options.action,
    timeoutMs,
    doNotCache: action?.doNotCache ?? false,
    priority: options.priority,
    properties: action?.platform?.properties ?? [],
    requestMetadata: options.requestMetadata,
    requestId: options.requestId,
  };
}
