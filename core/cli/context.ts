/**
 * What every command works with, made from the process once.
 *
 * @module
 */

import { createAuditLog } from "../audit.ts";
import { systemClock } from "../clock.ts";
import { ForwardingLog } from "../log.ts";
import { ForwardingMetrics } from "../metrics.ts";
import { findPaths } from "../paths.ts";
import type { Platform } from "../platform.ts";
import {
  createRegistry,
  type DefinedProviders,
  type Provider,
  type ProviderFactory,
} from "../provider.ts";
import { createFileStore } from "../store/file.ts";
import { createKeyProvider } from "../store/key.ts";
import type { Store } from "../store/store.ts";
import type { CommandContext } from "./command.ts";
import type { Output, Streams } from "./output.ts";

/** What only main.ts knows. */
export interface Wiring {
  /** A snapshot of the process's environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Sets a variable of this process. */
  setVariable(name: string, value: string): void;
  /** Where output goes. */
  readonly streams: Streams;
  /** Loads the list of providers. */
  loadProviders(): Promise<readonly ProviderFactory[]>;
  /** Loads those that a person defined; absent if there are none of that kind. */
  loadDefinedProviders?(
    platform: Platform,
    builtIn: readonly Provider[],
  ): Promise<DefinedProviders>;
}

/**
 * Makes the context of a command.
 *
 * @param wiring What only main.ts knows.
 * @param output Where the command prints.
 * @returns The context; nothing is created on disk yet, and no home is looked
 * for before a path is needed, so that help and `whoami` work without one.
 * @throws {MoatError} `bad-provider` if the list is wrong.
 */
export async function createContext(
  wiring: Wiring,
  output: Output,
): Promise<CommandContext> {
  const { env, streams, setVariable } = wiring;
  const paths = lazily(() => findPaths(env));
  const log = new ForwardingLog();
  const metrics = new ForwardingMetrics();
  const audit = createAuditLog(paths, systemClock, {
    onFailure: ({ code, message }) =>
      log.error("audit-failed", { code, message }),
  });
  const platform: Platform = {
    clock: systemClock,
    env,
    setVariable,
    paths,
    log,
    metrics,
    audit,
  };
  const factories = await wiring.loadProviders();
  const builtIn = factories.map((factory) => factory(platform));
  const defined = await wiring.loadDefinedProviders?.(platform, builtIn);
  const keys = { paths, clock: systemClock, env };
  let store: Store | undefined;
  return {
    output,
    streams,
    platform,
    log,
    metrics,
    audit,
    registry: createRegistry(builtIn, defined),
    get store() {
      return store ??= createFileStore(
        paths,
        createKeyProvider(keys),
        systemClock,
      );
    },
  };
}

/** An object that is made when a member of it is first read. */
function lazily<T extends object>(make: () => T): T {
  let made: T | undefined;
  return new Proxy({} as T, {
    get: (_target, member) => Reflect.get(made ??= make(), member),
  });
}
