/**
 * Live bindings by token, or by container: who may use which endpoints.
 *
 * @module
 */

import {
  type Access,
  type Binding,
  equalDigests,
  readToken,
  type ShownToken,
  TOKEN_PREFIX,
} from "$core/binding.ts";
import { type ContainerFacts, matchesContainer } from "$core/container.ts";
import { MoatError } from "$core/errors.ts";
import type { Grant } from "$core/grant.ts";
import type { Answer, EndpointHandler } from "$core/provider.ts";
import { Ending } from "../ending.ts";
import type { Outbound } from "../intercept/outbound.ts";

/** Who may use a binding, and where. */
export interface Entry {
  /** What its token permits. */
  readonly binding: Binding;
  /** See `digestToken`. */
  readonly tokenDigest: string;
  /** Where its client sends the token; elsewhere it does not count. */
  readonly access: Access;
  /**
   * Whether its token counts at an address of this host, in plain spelling, or
   * at a unix socket's path. A token that someone took elsewhere is worth
   * nothing there.
   */
  readonly admits: (localHostname: string) => boolean;
  /** Whether it is still what is stored. Default: it is not stored. */
  readonly isCurrent?: () => boolean;
}

/** What a binding's client is served. */
export interface Served {
  /** What answers, by path. */
  readonly routes: ReadonlyMap<string, EndpointHandler>;
  /** The answer at all other paths. */
  readonly otherwise: Answer;
  /** Where it may go through the forward proxy, and with what. */
  readonly outbound: Outbound;
  /** The grants behind it that there are. */
  readonly grants: readonly Grant[];
}

/** A binding that clients can use, with the endpoints of its grants. */
export class LiveBinding {
  /** Who may use it, and where. */
  readonly entry: Entry;
  /** What they are served. */
  readonly served: Served;
  readonly #ending = new Ending();

  /** Makes a live binding. */
  constructor(entry: Entry, served: Served) {
    this.entry = entry;
    this.served = served;
  }

  /** Its permission. */
  get binding(): Binding {
    return this.entry.binding;
  }

  /** False once it was removed or replaced: remembered requests must not pass. */
  get isLive(): boolean {
    return !this.#ending.isOver && (this.entry.isCurrent?.() ?? true);
  }

  /** Ends it, also for requests under way. */
  end(): void {
    this.#ending.end();
  }

  /**
   * Tells of its end.
   *
   * @param tell Called once when it is removed or replaced.
   * @returns A function that takes it back.
   */
  onEnd(tell: () => void): () => void {
    return this.#ending.onEnd(tell);
  }
}

/** Compared with, so that a name that is not known takes as long. */
const NO_DIGEST = "-".repeat(64);

/** All live bindings of a proxy. */
export class BindingTable {
  readonly #byName = new Map<string, readonly LiveBinding[]>();
  /** Those whose clients have no token. */
  readonly #tokenless = new Set<string>();
  readonly #renewals = new Map<string, Promise<unknown>>();
  readonly #prefix: string;
  /** Told of each binding that is removed or replaced. */
  onRemoved: ((name: string) => void) | undefined;
  /** Told when a binding whose client has no token is entered or removed. */
  onTokenless: (() => void) | undefined;
  /** Makes a stored binding live. */
  load: ((name: string) => Promise<void>) | undefined;
  /** Whether there is a stored binding of which nobody knows for which container it is. */
  isUnsure: (() => boolean) | undefined;

  /** Makes an empty table of tokens that begin with `prefix`. */
  constructor(prefix: string = TOKEN_PREFIX) {
    this.#prefix = prefix;
  }

  /** The names of all live bindings. */
  get names(): readonly string[] {
    return [...this.#byName.keys()];
  }

  /** Enters a binding in all its forms: two while its token is changed. */
  set(name: string, forms: readonly LiveBinding[]): void {
    this.#replace(name, forms);
  }

  /**
   * Removes a binding: its token stops at once, also on open connections.
   *
   * @returns Whether there was one.
   */
  remove(name: string): boolean {
    return this.#replace(name);
  }

  /** Ends what was there when it cannot be found any more: whoever is told looks again. */
  #replace(name: string, forms?: readonly LiveBinding[]): boolean {
    const old = this.#byName.get(name);
    const wasTokenless = this.#tokenless.delete(name);
    if (isTokenless(forms?.at(-1))) this.#tokenless.add(name);
    if (forms) this.#byName.set(name, forms);
    else this.#byName.delete(name);
    old?.forEach((live) => live.end());
    if (old) this.onRemoved?.(name);
    if (wasTokenless || this.#tokenless.has(name)) this.onTokenless?.();
    return old !== undefined;
  }

  /**
   * Removes a binding that is about to be entered anew: its clients wait for
   * that.
   *
   * @param name Its name.
   * @param renewal Settles when it was entered, or will not be.
   */
  renew(name: string, renewal: Promise<unknown>): void {
    this.#renewals.set(name, renewal);
    this.remove(name);
    const forget = () => {
      if (this.#renewals.get(name) === renewal) this.#renewals.delete(name);
    };
    renewal.then(forget, forget);
  }

  /** Whether a binding is entered, live or not. */
  has(name: string): boolean {
    return this.#byName.has(name);
  }

  /** Gives a live binding without asking for its token. */
  get(name: string): Binding | undefined {
    return this.#byName.get(name)?.find((live) => live.isLive)?.binding;
  }

  /**
   * Finds the binding of a token.
   *
   * @param token What the client sent.
   * @returns The binding, or undefined for a token that does not count; at
   * once unless the binding has to be loaded.
   */
  find(
    token: string,
  ): LiveBinding | undefined | Promise<LiveBinding | undefined> {
    const shown = readToken(token, this.#prefix);
    if (!shown) return undefined;
    const forms = this.#byName.get(shown.name) ?? [];
    const isLive = forms.some((live) => live.isLive);
    const entered = isLive
      ? undefined
      : this.#renewals.get(shown.name) ?? this.load?.(shown.name);
    if (!entered) return match(shown, forms);
    const now = () => match(shown, this.#byName.get(shown.name) ?? []);
    return entered.then(now, now);
  }

  /**
   * Finds the bindings whose client has no token and is this container.
   *
   * @param container What its engine says of it now.
   * @returns All of them, also such as are not live because they cannot be
   * read now: they count as bindings, and give nothing. At once unless one has
   * to be loaded, or is about to be entered anew.
   * @throws {MoatError} `binding-unusable` for a container without one, while
   * there is a binding that cannot be read: it may be this container's.
   */
  ofContainer(
    container: ContainerFacts,
  ): readonly LiveBinding[] | Promise<readonly LiveBinding[]> {
    const found = this.#tokenlessOf(container);
    const awaited = [
      ...this.#renewals.values(),
      ...found.filter(({ isLive }) => !isLive)
        .map(({ binding }) => this.load?.(binding.name)),
    ];
    if (awaited.length === 0) return this.#sure(found);
    return Promise.allSettled(awaited)
      .then(() => this.#sure(this.#tokenlessOf(container)));
  }

  #sure(found: readonly LiveBinding[]): readonly LiveBinding[] {
    if (found.length > 0 || !this.isUnsure?.()) return found;
    throw new MoatError(
      "binding-unusable",
      "A binding cannot be read, which may be this container's",
    );
  }

  /** Of one that is being changed, only what it becomes: no token has to last. */
  #tokenlessOf(container: ContainerFacts): LiveBinding[] {
    return [...this.#tokenless].flatMap((name) => {
      const live = this.#byName.get(name)?.at(-1);
      const { container: wanted } = live?.binding ?? {};
      return live && wanted && matchesContainer(wanted, container)
        ? [live]
        : [];
    });
  }
}

function isTokenless(live: LiveBinding | undefined): boolean {
  return live?.entry.access === "container";
}

/** All are compared, so that the time does not tell which one it is. */
function match(
  { digest }: ShownToken,
  forms: readonly LiveBinding[],
): LiveBinding | undefined {
  const digests = forms.map(({ entry }) => entry.tokenDigest);
  const equal = (digests.length > 0 ? digests : [NO_DIGEST])
    .map((known) => equalDigests(known, digest));
  const live = forms[equal.indexOf(true)];
  // Where there is no token, none counts, not even that of the digest.
  return live?.isLive && !isTokenless(live) ? live : undefined;
}
