/**
 * Stored bindings: each is read when a client first shows its token, whose
 * text names it, and followed from then on. Starting takes no longer with a
 * hundred thousand of them. Those of a container are read at start: their
 * client may have no token to show.
 *
 * @module
 */

import type { Binding } from "$core/binding.ts";
import type { BindingStore, StoredBinding } from "$core/binding_store.ts";
import { type MoatError, toMoatError } from "$core/errors.ts";
import { missingOk } from "$core/files.ts";
import type { Grant } from "$core/grant.ts";
import type { Platform } from "$core/platform.ts";
import { errorAnswer } from "$core/provider.ts";
import type { Reach } from "$core/reach.ts";
import type { Store } from "$core/store/store.ts";
import { isLoopback } from "../addresses.ts";
import type { Binder } from "./binder.ts";
import type { BindingTable, LiveBinding } from "./binding_table.ts";
import type { Listeners, Reached } from "../listeners.ts";

/**
 * How old the knowledge of a binding's file may be, in ms: a change by a
 * command that could not tell us counts as soon. A look at the file for each
 * request would cost a third of the throughput.
 */
const STALE_MS = 10;

/**
 * Beyond, the one that was loaded first is dropped, and loaded again if asked
 * for. Those of containers do not count.
 */
const MAX_LIVE = 10_000;

/** When a grant that could not be read is tried again: a keyring may be locked. */
const RETRY_MS = 1000;

/** What a client is told meanwhile; SDKs try again. */
const GRANT_UNREADABLE = errorAnswer(
  503,
  "grant-unreadable",
  "The grant behind this endpoint cannot be read now",
);

/** The grants of a binding that are there. */
interface FoundGrants {
  readonly grants: readonly Grant[];
  /** Whether one that is missing may only be out of reach for now. */
  readonly isUnsure: boolean;
}

const NO_GRANTS: FoundGrants = { grants: [], isUnsure: false };

/** What {@link StoredBindings} needs from outside. */
export interface StoredBindingsOptions {
  /** Clock, log, audit log. */
  readonly platform: Platform;
  /** Binds grants. */
  readonly binder: Binder;
  /** The stored grants. */
  readonly store: Store;
  /** The stored bindings. */
  readonly bindings: BindingStore;
  /** Where live bindings are entered. */
  readonly table: BindingTable;
  /** How clients reach us. */
  readonly listeners: Pick<Listeners, "reach" | "isPermanent">;
}

/** The stored bindings that a proxy serves. */
export class StoredBindings {
  readonly #options: StoredBindingsOptions;
  readonly #loading = new Map<string, Promise<void>>();
  /** What is in the table, in the order of loading. */
  readonly #live = new Map<string, readonly StoredBinding[]>();
  /** Those of them that are of a container: they stay. */
  readonly #kept = new Set<string>();
  /** Listeners of their own. */
  readonly #reached = new Map<string, Reached>();
  /** Tokens that another program may have been sent: not valid again in this process. */
  readonly #lostTokens = new Set<string>();
  /** Changes of listeners under way. */
  readonly #turns = new Map<string, Promise<void>>();
  /** Files that were told of in the log, by their stamp. */
  readonly #told = new Map<string, string>();
  /** Those of containers, or of whom nobody knows because they cannot be read. */
  readonly #ofContainers = new Set<string>();
  /** How often a grant changed: what was read before may be out of date. */
  #changes = 0;

  /** Serves the bindings of a store from now on. */
  constructor(options: StoredBindingsOptions) {
    this.#options = options;
    options.table.load = (name) => this.#load(name);
    options.table.isUnsure = () =>
      [...this.#ofContainers].some((name) => !options.table.has(name));
  }

  /** The names of those that are in use. */
  get names(): readonly string[] {
    return [...new Set([...this.#live.keys(), ...this.#reached.keys()])].sort();
  }

  /**
   * Opens the listeners of those that have one of their own, and makes those of
   * containers live. Never rejects.
   */
  async start(): Promise<void> {
    const { bindings, platform: { log } } = this.#options;
    try {
      const entries = await missingOk(
        Array.fromAsync(Deno.readDir(bindings.paths.bound)),
      );
      for (const { name } of entries ?? []) {
        await this.#stored(name)
          .then((stored) => this.#serve(name, stored))
          .catch((error) => this.#tell(name, error));
      }
    } catch (error) {
      log.error("bindings-unread", { code: toMoatError(error).code });
    }
  }

  /**
   * Makes a binding that was stored anew, or removed, count at once.
   *
   * @param name Its name.
   * @throws {MoatError} If it cannot be read, or no listener can serve it.
   */
  async changed(name: string): Promise<void> {
    // One after another: they may be about the same address.
    const turn = (this.#turns.get(name) ?? Promise.resolve())
      .catch(() => {/* told to whom it concerned */})
      .then(() => this.#follow(name));
    this.#turns.set(name, turn);
    this.#renew(name, turn);
    try {
      await turn;
    } finally {
      if (this.#turns.get(name) === turn) this.#turns.delete(name);
    }
  }

  /** Read once: for the audit, for its listener and for its first answer. */
  async #follow(name: string): Promise<void> {
    const { audit } = this.#options.platform;
    const stored = await this.#stored(name).catch(async (error) => {
      audit.recordSoon("bound", { binding: name });
      await this.#listen(name, undefined);
      throw error;
    });
    const grants = stored?.binding.grants;
    audit.recordSoon(
      stored ? "bound" : "unbound",
      { binding: name, ...(grants && { grants }) },
    );
    await this.#serve(name, stored);
    if (!stored) return;
    void this.#prefetch(stored).catch((error) => this.#tell(name, error));
  }

  async #serve(name: string, stored: StoredBinding | undefined): Promise<void> {
    await this.#listen(name, stored?.reach);
    if (stored?.binding.container) await this.#load(name);
  }

  async #stored(name: string): Promise<StoredBinding | undefined> {
    const { bindings } = this.#options;
    this.#ofContainers.delete(name);
    if (bindings.stamp(name) === undefined) return undefined;
    // Until it was read it may be any container's.
    this.#ofContainers.add(name);
    const stored = await bindings.latest(name);
    if (!stored.binding.container) this.#ofContainers.delete(name);
    return stored;
  }

  /** Some clients never ask again after a first answer that came late (Rusoto). */
  async #prefetch(stored: StoredBinding): Promise<void> {
    const { binder, platform: { log } } = this.#options;
    const { binding } = stored;
    const { grants } = await this.#grantsOf(stored);
    binder.prefetch(
      binding,
      grants,
      (grant, { code }) =>
        log.warn("prefetch-failed", {
          binding: binding.name,
          grant: grant.name,
          code,
        }),
    );
  }

  /** Opens the listener of its own that a binding has, if it has one. */
  async #listen(name: string, reach: Reach | undefined): Promise<void> {
    const old = this.#reached.get(name);
    this.#reached.delete(name);
    // Others need no gap between the two; a socket's path is free only then.
    if (reach?.by === "socket") await old?.release();
    try {
      if (hasListener(reach)) this.#open(name, reach);
    } finally {
      if (reach?.by !== "socket") await old?.release();
    }
  }

  #open(name: string, reach: Reach): void {
    const onLost = (error: MoatError) => this.#lose(name, error);
    const { listeners } = this.#options;
    try {
      this.#reached.set(name, listeners.reach(reach, onLost, Infinity));
    } catch (thrown) {
      const error = toMoatError(thrown);
      if (error.code === "address-in-use") onLost(error);
      throw error;
    }
  }

  /** Finds a binding by name, whether a client has used it or not. */
  async find(name: string): Promise<Binding | undefined> {
    const { table } = this.#options;
    if (!table.get(name)) await this.#load(name);
    return table.get(name);
  }

  /** Makes a changed or revoked grant count: those who use it are read anew. */
  grantChanged(grant: string): void {
    this.#changes++;
    for (const [name, forms] of this.#live) {
      if (forms.some(({ binding }) => binding.grants.includes(grant))) {
        this.#renew(name, Promise.resolve());
      }
    }
  }

  /**
   * Drops a binding that changed. One of a container is read again at once:
   * meanwhile its client must not be taken for one without a binding.
   */
  #renew(name: string, ready: Promise<void>): void {
    if (this.#kept.has(name)) {
      const { table } = this.#options;
      const renewal = ready.then(() =>
        table.get(name) ? undefined : this.#load(name)
      );
      table.renew(name, renewal);
    }
    this.#drop(name);
  }

  /** One at a time for each name; a failure is told in the log. */
  #load(name: string): Promise<void> {
    let loading = this.#loading.get(name);
    if (!loading) {
      loading = this.#read(name)
        .catch((error) => this.#tell(name, error))
        .finally(() => this.#loading.delete(name));
      this.#loading.set(name, loading);
    }
    return loading;
  }

  async #read(name: string): Promise<void> {
    const { bindings } = this.#options;
    for (;;) {
      const changes = this.#changes;
      const stamp = bindings.stamp(name);
      if (stamp === undefined) {
        this.#ofContainers.delete(name);
        return this.#drop(name);
      }
      const forms = await bindings.get(name);
      const grants = await Promise.all(
        forms.map((stored) => this.#grantsOf(stored)),
      );
      // From here on nothing waits until it is entered.
      if (changes === this.#changes && bindings.stamp(name) === stamp) {
        return this.#enter(name, stamp, forms, grants);
      }
    }
  }

  /** Those that are there: of one that was revoked, clients are told. */
  async #grantsOf(
    { binding: { name, grants }, ownGrants }: StoredBinding,
  ): Promise<FoundGrants> {
    if (ownGrants) return { grants: ownGrants, isUnsure: false };
    const { store, platform: { log } } = this.#options;
    const found: Grant[] = [];
    let isUnsure = false;
    for (const grant of grants) {
      try {
        found.push(await store.get(grant));
      } catch (error) {
        const { code } = toMoatError(error);
        log.warn("grant-gone", { binding: name, name: grant, code });
        isUnsure ||= code !== "grant-not-found";
      }
    }
    return { grants: found, isUnsure };
  }

  #enter(
    name: string,
    stamp: string,
    forms: readonly StoredBinding[],
    grants: readonly FoundGrants[],
  ): void {
    const { table } = this.#options;
    const isUnsure = grants.some((found) => found.isUnsure);
    const isCurrent = this.#watch(name, stamp, isUnsure);
    this.#drop(name);
    table.set(
      name,
      forms.map((stored, index) =>
        this.#makeLive(stored, grants[index] ?? NO_GRANTS, isCurrent)
      ),
    );
    this.#live.set(name, forms);
    if (forms.some(({ binding }) => binding.container)) this.#kept.add(name);
    if (this.#live.size - this.#kept.size <= MAX_LIVE) return;
    const oldest = this.#live.keys().find((name) => !this.#kept.has(name));
    if (oldest !== undefined) this.#drop(oldest);
  }

  #makeLive(
    stored: StoredBinding,
    { grants, isUnsure }: FoundGrants,
    isCurrent: () => boolean,
  ): LiveBinding {
    const { binder, platform: { log } } = this.#options;
    const { binding, tokenDigest } = stored;
    const rights = binder.rights(
      binding,
      grants,
      (grant, { code }) =>
        log.warn("binding-misfit", {
          binding: binding.name,
          grant: grant.name,
          code,
        }),
    );
    return binder.live({
      binding,
      tokenDigest,
      admits: (local) =>
        !this.#lostTokens.has(tokenDigest) && this.#admits(stored, local),
      isCurrent,
    }, isUnsure ? { ...rights, otherwise: GRANT_UNREADABLE } : rights);
  }

  #admits({ binding: { name }, reach }: StoredBinding, local: string): boolean {
    if (hasListener(reach)) {
      return this.#reached.get(name)?.admits(local) ?? false;
    }
    return this.#options.listeners.isPermanent(local) && isMeant(reach, local);
  }

  /** Tells whether the file is still the one that was read; once not, never again. */
  #watch(name: string, stamp: string, isUnsure: boolean): () => boolean {
    const { bindings, platform: { clock } } = this.#options;
    const readAt = clock.now();
    let lookedAt = readAt;
    let isSame = true;
    return () => {
      const now = clock.now();
      if (isSame && Math.abs(now - lookedAt) >= STALE_MS) {
        lookedAt = now;
        isSame = bindings.stamp(name) === stamp &&
          !(isUnsure && Math.abs(now - readAt) >= RETRY_MS);
      }
      return isSame;
    };
  }

  #drop(name: string): void {
    const { table, binder } = this.#options;
    const [stored] = this.#live.get(name) ?? [];
    if (!stored) return;
    table.remove(name);
    this.#live.delete(name);
    this.#kept.delete(name);
    void binder.release(stored.binding);
  }

  /** Another program listens where its client sends the token. */
  #lose(name: string, error: MoatError): void {
    const { platform: { log }, bindings } = this.#options;
    void this.#reached.get(name)?.release();
    this.#reached.delete(name);
    log.error("binding-lost", {
      binding: name,
      code: error.code,
      reason:
        `no client reaches it, and its token may be known: bind ${name} again`,
    });
    bindings.get(name).then((forms) => {
      for (const { tokenDigest } of forms) this.#lostTokens.add(tokenDigest);
    }).catch(() => {/* then nobody can use it */});
  }

  /** Once for each state of a file: clients that ask again must not fill the log. */
  #tell(name: string, thrown: unknown): void {
    const { bindings, platform: { log } } = this.#options;
    const stamp = bindings.stamp(name) ?? "";
    if (this.#told.get(name) === stamp) return;
    this.#told.set(name, stamp);
    const { code, message } = toMoatError(thrown);
    log.error("binding-unusable", { binding: name, code, message });
  }
}

/** Whether a client is reached by a listener that is for it alone, or for its network. */
function hasListener(reach: Reach | undefined): reach is Reach {
  return reach?.by === "gateway" || reach?.by === "socket";
}

/** Whether a permanent listener is the one by which a client is to ask. */
function isMeant(reach: Reach | undefined, local: string): boolean {
  if (!reach) return true;
  return reach.by === "address" ? local === reach.address : isLoopback(local);
}
