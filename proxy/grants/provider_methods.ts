/**
 * The providers' own methods of the control socket, and what they may use of
 * the proxy. Results may hold credentials: nothing here logs one.
 *
 * @module
 */

import * as v from "valibot";
import type { Binding } from "$core/binding.ts";
import { MoatError, usageError } from "$core/errors.ts";
import type { Grant, JsonObject } from "$core/grant.ts";
import type {
  ControlMethod,
  Provider,
  ProviderRegistry,
  ProxyAccess,
} from "$core/provider.ts";
import type { Store } from "$core/store/store.ts";

/** What {@link ProviderMethods} needs from outside. */
export interface ProviderMethodsOptions {
  /** All providers. */
  readonly registry: ProviderRegistry;
  /** The stored grants. */
  readonly store: Store;
  /** Finds a binding that counts by name. */
  binding(name: string): Promise<Binding | undefined>;
  /** Makes a changed grant count at once. */
  grantChanged(name: string): Promise<unknown>;
}

const ExplainSchema = v.strictObject({ grant: v.string() });

/** Calls providers' own methods. */
export class ProviderMethods {
  readonly #options: ProviderMethodsOptions;

  /** Makes the dispatcher. */
  constructor(options: ProviderMethodsOptions) {
    this.#options = options;
  }

  /**
   * Calls one method.
   *
   * @param name The provider.
   * @param method One of its own, or `explain`.
   * @param params What it takes; the method checks them.
   * @returns What it gives; never to be logged.
   * @throws {MoatError} `usage` if there is no such method, or the method's own.
   */
  async call(
    name: string,
    method: string,
    params: JsonObject,
  ): Promise<JsonObject> {
    const provider = this.#options.registry.get(name);
    const found = findMethod(provider, method);
    if (found) return await found(params, new Access(provider, this.#options));
    throw usageError(
      `Cannot find method ${
        JSON.stringify(method)
      } of provider "${provider.name}"`,
      "use the same version of moat for all commands",
    );
  }
}

function findMethod(
  provider: Provider,
  method: string,
): ControlMethod | undefined {
  const own = provider.controlMethods ?? {};
  if (Object.hasOwn(own, method)) return own[method];
  return method === "explain" ? explainBy(provider) : undefined;
}

/** What `moat grant show --explain` asks for. */
function explainBy(provider: Provider): ControlMethod | undefined {
  if (!provider.explain) return undefined;
  return async (params, proxy) => {
    const { grant } = v.parse(ExplainSchema, params);
    const lines = await provider.explain?.(await proxy.grant(grant)) ?? [];
    return { lines: lines.map((line) => [...line]) };
  };
}

/** Lives as long as one call. */
class Access implements ProxyAccess {
  readonly #provider: Provider;
  readonly #options: ProviderMethodsOptions;
  /** What the method read, as it was. */
  readonly #read = new Map<string, string>();

  constructor(provider: Provider, options: ProviderMethodsOptions) {
    this.#provider = provider;
    this.#options = options;
  }

  async grant(name: string): Promise<Grant> {
    const grant = await this.#options.store.get(name);
    if (grant.provider !== this.#provider.name) {
      throw usageError(
        `Cannot use grant "${name}" here: it is of provider "${grant.provider}", not "${this.#provider.name}"`,
        "moat grant list shows those there are",
      );
    }
    this.#read.set(name, fingerprint(grant));
    return grant;
  }

  async update(grant: Grant): Promise<void> {
    const { name } = grant;
    const read = this.#read.get(name);
    if (read === undefined) throw new TypeError("update of a grant not read");
    // Under the store's lock; a revoked grant is not found there.
    await this.#options.store.update(name, (current) => {
      if (fingerprint(current) === read) return grant;
      throw new MoatError(
        "grant-changed",
        `Cannot change grant "${name}": another command changed it meanwhile`,
        { hint: "run the command again" },
      );
    });
    this.#read.delete(name);
    await this.#options.grantChanged(name);
  }

  async binding(name: string): Promise<Binding | undefined> {
    return await this.#options.binding(name);
  }
}

/** All of a grant; stays in this module, because its secret is in it. */
function fingerprint({ credential, ...rest }: Grant): string {
  const members = Object.entries(rest).sort(([a], [b]) => a < b ? -1 : 1);
  return JSON.stringify([members, credential?.reveal() ?? null]);
}
