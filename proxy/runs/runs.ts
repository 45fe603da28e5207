/**
 * Runs: bindings that live as long as the control connection of their
 * `moat run`, plus a short grace (issue of a token and its end are one
 * mechanism, so that no crash leaves a live token).
 *
 * @module
 */

import { type Binding, placeholderToken } from "$core/binding.ts";
import type { RunOpened, RunRequest } from "$core/control.ts";
import { MoatError, toMoatError, usageError } from "$core/errors.ts";
import type { Grant } from "$core/grant.ts";
import type { Platform } from "$core/platform.ts";
import type { Mode, ProviderRegistry } from "$core/provider.ts";
import type { Reach } from "$core/reach.ts";
import type { Store } from "$core/store/store.ts";
import type { Binder, ClientSetup, OnMisfit } from "../bindings/binder.ts";
import type { BindingTable, Served } from "../bindings/binding_table.ts";
import { noMetadata, refuseIntercepted } from "../bindings/container_match.ts";
import { isIntercepted } from "../intercept/client_env.ts";
import type { Listeners, Reached } from "../listeners.ts";
import { findMode } from "../bindings/modes.ts";
import { removeOrphan } from "./run_files.ts";

/** How long a run outlives its connection, for a `moat run` that reconnects. */
const GRACE_MS = 5000;

/** The connection that keeps a run alive. */
export interface RunOwner {
  /** Tells what goes wrong meanwhile. */
  notify?(error: MoatError): void;
}

interface Run {
  readonly request: RunRequest;
  readonly binding: Binding;
  readonly reached: Reached;
  /** Grants that were revoked meanwhile: one granted anew is not this run's. */
  readonly revoked: Set<string>;
  owner: RunOwner | undefined;
  cancelGrace: () => void;
}

/** What {@link Runs} needs from outside. */
export interface RunsOptions {
  /** Clock, paths, log, metrics, audit log. */
  readonly platform: Platform;
  /** All providers. */
  readonly registry: ProviderRegistry;
  /** Binds grants. */
  readonly binder: Binder;
  /** The stored grants. */
  readonly store: Store;
  /** Where live bindings are entered. */
  readonly bindings: BindingTable;
  /** How clients reach us. */
  readonly listeners: Pick<Listeners, "reach">;
  /** Told to each run. */
  readonly endsWhenIdle: boolean;
  /** Whether instance metadata is served. Default: it is not. */
  readonly servesMetadata?: () => boolean;
  /** Called when the last run ended. */
  onIdle(): void;
  /** Called when a run is opened, not when it is resumed. */
  onOpened?(grants: readonly string[], owner: RunOwner): void;
}

/** The live runs of a proxy. */
export class Runs {
  readonly #options: RunsOptions;
  readonly #runs = new Map<string, Run>();
  /** Tokens that another program may have been sent: never valid again. */
  readonly #lostTokens = new Set<string>();
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
   * @throws {MoatError} If a grant is missing or cannot be read, grants
   * conflict or the run's settings do not fit; `proxy-stopping` after {@link stop}.
   */
  async open(request: RunRequest, owner: RunOwner): Promise<RunOpened> {
    const revoked = this.#adopt(request, owner)?.revoked ??
      new Set<string>();
    const changes = this.#changes;
    const grants = await this.#load(request.grants, revoked);
    // Again, because others may have come and gone; from here on nothing waits
    // until the run is entered.
    const old = this.#adopt(request, owner);
    const { run, served } = this.#enter(request, owner, grants, revoked, old);
    if (changes !== this.#changes) await this.#renew(run);
    const { platform } = this.#options;
    const { binding } = run;
    platform.audit.recordSoon(old ? "run-resumed" : "bound", {
      binding: binding.name,
      grants: binding.grants,
    });
    platform.log.info("run-opened", {
      run: request.run,
      grants: binding.grants,
    });
    this.#prefetch(served, run);
    if (!old) this.#options.onOpened?.(binding.grants, owner);
    return this.#describe(request, served, run.reached.url);
  }

  /** Makes a run that has its grants, or takes the place of an old one. */
  #enter(
    request: RunRequest,
    owner: RunOwner,
    grants: readonly Grant[],
    revoked: Set<string>,
    old: Run | undefined,
  ): { run: Run; served: readonly Grant[] } {
    const { binder } = this.#options;
    const binding = bindingOf(request);
    // A run that is resumed keeps what still fits.
    const rights = binder.rights(binding, grants, old && this.#onMisfit(old));
    const reached = this.#reach(request, grants, old);
    if (reached !== old?.reached) void old?.reached.release();
    const run: Run = {
      request,
      binding,
      reached,
      revoked: old?.revoked ?? revoked,
      owner,
      cancelGrace: () => {},
    };
    this.#runs.set(request.run, run);
    this.#measure();
    this.#serve(run, rights);
    return { run, served: rights.grants };
  }

  /** Makes us reachable for it. */
  #reach(
    request: RunRequest,
    grants: readonly Grant[],
    old: Run | undefined,
  ): Reached {
    const { listeners, registry, servesMetadata } = this.#options;
    const { reach, container } = request;
    const mode = findMode(registry, request.grants, request.mode);
    if (mode?.access === "container") {
      if (!container) throw noContainer(mode);
      refuseIntercepted(registry, grants);
      if (!servesMetadata?.()) throw noMetadata("open a run", true);
      return byMetadata(reach);
    }
    // A socket stays: its path cannot be listened on twice.
    if (old && reach.by === "socket") return old.reached;
    return listeners.reach(
      reach,
      (error) => void this.#lose(request.run, error),
    );
  }

  /** From here on its token counts. */
  #serve({ request, binding, reached }: Run, rights: Served): void {
    const { bindings, binder } = this.#options;
    const { tokenDigest } = request;
    const { admits } = reached;
    bindings.set(binding.name, [
      binder.live({ binding, tokenDigest, admits }, rights),
    ]);
  }

  /** From now on the new connection keeps a run that is resumed alive. */
  #adopt(request: RunRequest, owner: RunOwner): Run | undefined {
    if (this.#isStopping) throw stopping();
    if (this.#lostTokens.has(request.tokenDigest)) throw lost();
    const run = this.#runs.get(request.run);
    if (!run) return undefined;
    if (run.request.tokenDigest !== request.tokenDigest) {
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
    const { bindings, binder } = this.#options;
    const changed = [...this.#runs.values()].filter(({ binding }) =>
      binding.grants.includes(name)
    );
    const renewals = changed.map((run) => {
      const renewal = this.#renew(run);
      bindings.renew(run.binding.name, renewal);
      return { run, renewal };
    });
    // All are off: when what clients wait for fails, the server asks the new binding.
    binder.forget(name);
    await Promise.all(renewals.map(async ({ run, renewal }) => {
      if ((await renewal).includes(name)) this.#tellChanged(run, name);
    }));
  }

  #tellChanged({ binding }: Run, grant: string): void {
    const { platform: { log, audit } } = this.#options;
    const fields = { binding: binding.name, grant };
    log.info("grant-changed", fields);
    audit.recordSoon("grant-changed", fields);
  }

  #onMisfit({ binding, owner }: Run): OnMisfit {
    return (grant, error) => {
      this.#options.platform.log.warn("binding-misfit", {
        binding: binding.name,
        grant: grant.name,
        code: error.code,
      });
      owner?.notify?.(error);
    };
  }

  /** Tells those who keep runs alive that use a grant. */
  notify(grant: string, notice: MoatError): void {
    for (const { binding, owner } of this.#runs.values()) {
      if (binding.grants.includes(grant)) owner?.notify?.(notice);
    }
  }

  /** Tells the one who keeps a run alive. */
  notifyBinding(name: string, notice: MoatError): void {
    for (const { binding, owner } of this.#runs.values()) {
      if (binding.name === name) owner?.notify?.(notice);
    }
  }

  /** Binds a run anew to what the store says now; gives the grants it has. */
  async #renew(run: Run): Promise<string[]> {
    const { bindings, binder } = this.#options;
    const { binding } = run;
    // Off first: whatever fails below, the old rights must not last.
    bindings.remove(binding.name);
    let changes: number;
    let grants: Grant[];
    do {
      changes = this.#changes;
      grants = await this.#readAgain(run);
    } while (changes !== this.#changes);
    // It may have ended meanwhile.
    if (this.#runs.get(run.request.run) !== run) return [];
    const rights = binder.rights(binding, grants, this.#onMisfit(run));
    this.#serve(run, rights);
    return rights.grants.map(({ name }) => name);
  }

  /** The grants of a run that are still there and were never revoked. */
  async #readAgain({ binding, revoked }: Run): Promise<Grant[]> {
    const { store, platform } = this.#options;
    const grants: Grant[] = [];
    for (const name of binding.grants) {
      if (revoked.has(name)) continue;
      try {
        grants.push(await store.get(name));
      } catch (error) {
        const { code } = toMoatError(error);
        if (code === "grant-not-found") revoked.add(name);
        platform.log.warn("grant-gone", { binding: binding.name, name, code });
      }
    }
    return grants;
  }

  async #load(
    names: readonly string[],
    revoked: ReadonlySet<string>,
  ): Promise<Grant[]> {
    const { store } = this.#options;
    if (new Set(names).size < names.length) {
      throw usageError(
        "Cannot open a run: a grant was given twice",
        "give each --grant once",
      );
    }
    const left = names.filter((name) => !revoked.has(name));
    return await Promise.all(left.map((name) => store.get(name)));
  }

  #describe(
    request: RunRequest,
    grants: readonly Grant[],
    endpointUrl: string,
  ): RunOpened {
    const { registry, binder } = this.#options;
    const { directory, run } = request;
    const mode = findMode(registry, request.grants, request.mode);
    if (mode?.access === "container") {
      const client = { mode: mode.name, endpointUrl };
      return this.#opened(grants, endpointUrl, binder.setup(grants, client));
    }
    const token = placeholderToken(`run-${run}`);
    const proxyToken = isIntercepted(registry, grants, request.policy)
      ? token
      : undefined;
    const setup = binder.setup(grants, {
      mode: mode?.name ?? "",
      endpointUrl,
      directory,
      ...(mode?.access === "query"
        ? { token }
        : { tokenFile: `${directory}/token` }),
    }, proxyToken);
    return this.#opened(grants, endpointUrl, setup);
  }

  #opened(
    grants: readonly Grant[],
    endpointUrl: string,
    setup: ClientSetup,
  ): RunOpened {
    const { registry, endsWhenIdle } = this.#options;
    return {
      endpointUrl,
      ...setup,
      endsWhenIdle,
      environment: Object.fromEntries(grants.flatMap((grant) => {
        const identity = registry.get(grant.provider)
          .environmentIdentity?.(grant);
        return identity === undefined ? [] : [[grant.name, identity]];
      })),
    };
  }

  /** The client has not started yet: use the time. A failure shows when it asks. */
  #prefetch(grants: readonly Grant[], run: Run): void {
    const { binder, platform: { log } } = this.#options;
    binder.prefetch(run.binding, grants, ({ name }, error) => {
      // Nobody waits for it: the run has ended, or has been bound anew.
      if (this.#runs.get(run.request.run) !== run) return;
      if (error.code === "grant-changed") return;
      log.warn("prefetch-failed", { grant: name, code: error.code });
      run.owner?.notify?.(error);
    });
  }

  #measure(): void {
    this.#options.platform.metrics.gauge("runs", this.#runs.size);
  }

  /** Ends a run that has no listener: another program may have got its token. */
  async #lose(name: string, cause: MoatError): Promise<void> {
    const run = this.#runs.get(name);
    if (!run) return;
    this.#lostTokens.add(run.request.tokenDigest);
    run.owner?.notify?.(lost(cause));
    await this.#end(run);
  }

  async #end(run: Run): Promise<void> {
    const { platform, bindings, binder } = this.#options;
    const { request, binding } = run;
    run.cancelGrace();
    bindings.remove(binding.name);
    this.#runs.delete(request.run);
    this.#measure();
    await run.reached.release();
    await binder.release(binding);
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

function bindingOf(request: RunRequest): Binding {
  const { run, grants, mode, settings, policy, subject, container } = request;
  return {
    name: `run-${run}`,
    grants,
    ...(mode !== undefined && { mode }),
    ...(settings && { settings }),
    ...(policy && { policy }),
    subject: { ...subject, run },
    ...(container && { container }),
  };
}

/** Its listener knows containers by themselves; no token counts anywhere. */
function byMetadata(reach: Reach): Reached {
  const host = reach.by === "address" ? reach.address : "";
  return { url: `http://${host}`, admits: () => false, release() {} };
}

function noContainer({ name }: Mode): MoatError {
  return usageError(
    `Cannot open a run in mode ${name}: its clients are known by their container alone`,
    `moat run --mode ${name} --grant NAME -- docker run …`,
  );
}

function stopping(): MoatError {
  return new MoatError(
    "proxy-stopping",
    "Cannot open a run: the proxy is about to end",
    { hint: "run the command again" },
  );
}

function lost(cause?: MoatError): MoatError {
  return new MoatError(
    "run-lost",
    "The run has lost its access: its gateway could not be listened on, and another program may have got its token",
    { hint: "run the command again", ...(cause && { cause }) },
  );
}
