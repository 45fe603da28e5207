/**
 * Runs: bindings that live as long as the control connection of their
 * `moat run`, plus a short grace (issue of a token and its end are one
 * mechanism, so that no crash leaves a live token).
 *
 * @module
 */

import type { Binding } from "$core/binding.ts";
import type { RunOpened, RunRequest } from "$core/control.ts";
import { MoatError, toMoatError, usageError } from "$core/errors.ts";
import type { Grant } from "$core/grant.ts";
import type { Platform } from "$core/platform.ts";
import { errorAnswer, type ProviderRegistry } from "$core/provider.ts";
import type { Store } from "$core/store/store.ts";
import { type BindingTable, collectRoutes, LiveBinding } from "./bindings.ts";
import type { Listeners } from "./listeners.ts";
import { removeOrphan } from "./run_files.ts";

/** How long a run outlives its connection, for a `moat run` that reconnects. */
const GRACE_MS = 5000;

/** The connection that keeps a run alive. */
export interface RunOwner {
  /** Tells what goes wrong meanwhile. */
  notify?(error: MoatError): void;
}

/** What a client of a revoked grant is told. */
const GRANT_GONE = errorAnswer(
  403,
  "grant-gone",
  "The grant behind this endpoint was revoked or cannot be read",
);

interface Run {
  readonly request: RunRequest;
  readonly binding: Binding;
  owner: RunOwner | undefined;
  cancelGrace: () => void;
  releaseListener: () => void;
}

/** What {@link Runs} needs from outside. */
export interface RunsOptions {
  /** Clock, paths, log, audit log. */
  readonly platform: Platform;
  /** All providers. */
  readonly registry: ProviderRegistry;
  /** The stored grants. */
  readonly store: Store;
  /** Where live bindings are entered. */
  readonly bindings: BindingTable;
  /** How clients reach us. */
  readonly listeners: Pick<Listeners, "reach">;
  /** Told to each run. */
  readonly endsWhenIdle: boolean;
  /** Called when the last run ended. */
  onIdle(): void;
}

/** The live runs of a proxy. */
export class Runs {
  readonly #options: RunsOptions;
  readonly #runs = new Map<string, Run>();
  /** How often a grant changed: what was read before may be out of date. */
  #changes = 0;
  #isStopping = false;

  /** Makes an empty set of runs. */
  constructor(options: RunsOptions) {
    this.#options = options;
  }

  /** The names of all live runs. */
  get names(): readonly string[] {
    return [...this.#runs.keys()];
  }

  /**
   * Opens a run, or resumes it when its `moat run` connects again.
   *
   * @param request What `moat run` asks for.
   * @param owner The connection that keeps it alive.
   * @returns Environment and files for the client.
   * @throws {MoatError} If a grant is missing or cannot be read, or grants
   * conflict; `proxy-stopping` after {@link stop}.
   */
  async open(request: RunRequest, owner: RunOwner): Promise<RunOpened> {
    this.#adopt(request, owner);
    const { platform, listeners, bindings } = this.#options;
    const changes = this.#changes;
    const grants = await this.#load(request.grants);
    // Again, because others may have come and gone; from here on nothing waits
    // until the run is entered.
    const old = this.#adopt(request, owner);
    const binding: Binding = {
      name: `run-${request.run}`,
      grants: grants.map((grant) => grant.name),
      tokenDigest: request.tokenDigest,
    };
    const live = this.#bind(binding, grants);
    const reached = listeners.reach(request.reach);
    old?.releaseListener();
    const run: Run = {
      request,
      binding,
      owner,
      cancelGrace: () => {},
      releaseListener: reached.release,
    };
    this.#runs.set(request.run, run);
    if (changes === this.#changes) bindings.set(live);
    else await this.#renew(run);
    platform.audit.recordSoon(old ? "run-resumed" : "bound", {
      binding: binding.name,
      grants: binding.grants,
    });
    platform.log.info("run-opened", {
      run: request.run,
      grants: binding.grants,
    });
    this.#prefetch(grants, run);
    return this.#describe(request, grants, reached.url);
  }

  /** From now on the new connection keeps a run that is resumed alive. */
  #adopt(request: RunRequest, owner: RunOwner): Run | undefined {
    if (this.#isStopping) throw stopping();
    const run = this.#runs.get(request.run);
    if (!run) return undefined;
    if (run.binding.tokenDigest !== request.tokenDigest) {
      throw new MoatError(
        "run-exists",
        `Cannot open run "${request.run}": another one has that name`,
        { hint: "run the command again" },
      );
    }
    run.cancelGrace();
    run.owner = owner;
    return run;
  }

  /** Opens no run any more. */
  stop(): void {
    this.#isStopping = true;
  }

  /** Starts the grace of all runs that a closed connection kept alive. */
  disconnected(owner: RunOwner): void {
    for (const run of this.#runs.values()) {
      if (run.owner !== owner) continue;
      run.owner = undefined;
      run.cancelGrace = this.#options.platform.clock.after(
        GRACE_MS,
        () => this.#end(run),
      );
    }
  }

  /** Ends a run at once: its `moat run` says that the command is over. */
  async close(name: string, owner: RunOwner): Promise<void> {
    const run = this.#runs.get(name);
    if (run?.owner === owner) await this.#end(run);
  }

  /** Makes a changed or revoked grant count for all runs at once. */
  async grantChanged(name: string): Promise<void> {
    this.#changes++;
    for (const provider of this.#options.registry.all) provider.forget?.(name);
    const changed = [...this.#runs.values()].filter(({ binding }) =>
      binding.grants.includes(name)
    );
    await Promise.all(changed.map((run) => this.#renew(run)));
  }

  /** Binds a run anew to what the store says now. */
  async #renew(run: Run): Promise<void> {
    const { bindings } = this.#options;
    // Off first: whatever fails below, the old rights must not last.
    const old = bindings.remove(run.binding);
    let changes: number;
    let live: LiveBinding;
    do {
      changes = this.#changes;
      live = await this.#rebind(run.binding, [...old?.routes.keys() ?? []]);
    } while (changes !== this.#changes);
    // It may have ended meanwhile.
    if (this.#runs.get(run.request.run) === run) bindings.set(live);
  }

  /** A binding with the grants that are still there; the others' paths refuse. */
  async #rebind(
    binding: Binding,
    paths: readonly string[],
  ): Promise<LiveBinding> {
    const { store, platform } = this.#options;
    const grants: Grant[] = [];
    for (const name of binding.grants) {
      try {
        grants.push(await store.get(name));
      } catch (error) {
        const { code } = toMoatError(error);
        platform.log.warn("grant-gone", { binding: binding.name, name, code });
      }
    }
    return this.#bind(binding, grants, paths);
  }

  async #load(names: readonly string[]): Promise<Grant[]> {
    const { store } = this.#options;
    if (new Set(names).size < names.length) {
      throw usageError(
        "Cannot open a run: a grant was given twice",
        "give each --grant once",
      );
    }
    return await Promise.all(names.map((name) => store.get(name)));
  }

  #bind(
    binding: Binding,
    grants: readonly Grant[],
    oldPaths: readonly string[] = [],
  ): LiveBinding {
    const { endpoints, routes } = collectRoutes(binding);
    for (const grant of grants) {
      this.#provider(grant).registerEndpoints(endpoints, grant);
    }
    for (const path of oldPaths) {
      if (!routes.has(path)) routes.set(path, () => GRANT_GONE);
    }
    return new LiveBinding(binding, routes);
  }

  #describe(
    request: RunRequest,
    grants: readonly Grant[],
    endpointUrl: string,
  ): RunOpened {
    const { directory } = request;
    const container = {
      endpointUrl,
      directory,
      tokenFile: `${directory}/token`,
    };
    const providers = grants.map((grant) => this.#provider(grant));
    return {
      endpointUrl,
      env: Object.assign(
        {},
        ...grants.map((g) => this.#provider(g).containerEnv(g, container)),
      ),
      files: grants.flatMap((g) => [
        ...this.#provider(g).containerMounts(g, container),
      ]),
      conflictingEnv: providers.flatMap((p) => [...p.conflictingEnv]),
      endsWhenIdle: this.#options.endsWhenIdle,
    };
  }

  #provider(grant: Grant) {
    return this.#options.registry.get(grant.provider);
  }

  /** The client has not started yet: use the time. A failure shows when it asks. */
  #prefetch(grants: readonly Grant[], run: Run): void {
    for (const grant of grants) {
      this.#provider(grant).prefetch?.(grant, run.binding).catch((thrown) => {
        const error = toMoatError(thrown);
        this.#options.platform.log.warn("prefetch-failed", {
          grant: grant.name,
          code: error.code,
        });
        run.owner?.notify?.(error);
      });
    }
  }

  async #end(run: Run): Promise<void> {
    const { platform, bindings, registry } = this.#options;
    const { request, binding } = run;
    run.cancelGrace();
    bindings.remove(binding);
    this.#runs.delete(request.run);
    run.releaseListener();
    for (const provider of registry.all) {
      try {
        await provider.cleanup(binding);
      } catch (error) {
        const { code } = toMoatError(error);
        platform.log.error("cleanup-failed", { provider: provider.name, code });
      }
    }
    await removeOrphan(platform.paths, request.run).catch((error) =>
      platform.log.warn("files-left", {
        run: request.run,
        code: toMoatError(error).code,
      })
    );
    platform.audit.recordSoon("unbound", { binding: binding.name });
    platform.log.info("run-ended", { run: request.run });
    if (this.#runs.size === 0) this.#options.onIdle();
  }
}

function stopping(): MoatError {
  return new MoatError(
    "proxy-stopping",
    "Cannot open a run: the proxy is about to end",
    { hint: "run the command again" },
  );
}
