/**
 * Live bindings by token: who may use which endpoints.
 *
 * @module
 */

import { type Binding, digestToken, equalDigests } from "$core/binding.ts";
import { MoatError } from "$core/errors.ts";
import type { EndpointHandler, EndpointRegistrar } from "$core/provider.ts";

/** A binding that clients can use, with the endpoints of its grants. */
export class LiveBinding {
  /** What its token permits. */
  readonly binding: Binding;
  /** What answers, by path. */
  readonly routes: ReadonlyMap<string, EndpointHandler>;
  /**
   * Whether its token counts at an address of this host, in plain spelling. A
   * token that someone took elsewhere is worth nothing there.
   */
  readonly admits: (localHostname: string) => boolean;
  /** False once it was removed or replaced: remembered requests must not pass. */
  isLive = true;

  /** Makes a live binding. */
  constructor(
    binding: Binding,
    routes: ReadonlyMap<string, EndpointHandler>,
    admits: (localHostname: string) => boolean,
  ) {
    this.binding = binding;
    this.routes = routes;
    this.admits = admits;
  }
}

/** All live bindings of a proxy. */
export class BindingTable {
  readonly #byDigest = new Map<string, LiveBinding>();

  /** Adds a binding, or replaces the one with the same token. */
  set(live: LiveBinding): void {
    const { tokenDigest } = live.binding;
    const old = this.#byDigest.get(tokenDigest);
    if (old) old.isLive = false;
    this.#byDigest.set(tokenDigest, live);
  }

  /**
   * Removes a binding: its token stops at once, also on open connections.
   *
   * @returns What was removed.
   */
  remove(binding: Binding): LiveBinding | undefined {
    const live = this.#byDigest.get(binding.tokenDigest);
    if (!live) return undefined;
    live.isLive = false;
    this.#byDigest.delete(binding.tokenDigest);
    return live;
  }

  /**
   * Finds the binding of a token.
   *
   * @param token What the client sent.
   * @returns The binding, or undefined for a token that is not known.
   */
  find(token: string): LiveBinding | undefined {
    const digest = digestToken(token);
    const live = this.#byDigest.get(digest);
    if (!live || !equalDigests(live.binding.tokenDigest, digest)) return;
    return live;
  }
}

/**
 * Collects the endpoints that a provider registers for one grant of a binding.
 *
 * @param binding The binding.
 * @param taken Routes of the binding's other grants, which must differ.
 * @returns The registrar to pass on, and the routes that it collects.
 */
export function collectRoutes(
  binding: Binding,
  taken: ReadonlyMap<string, EndpointHandler> = new Map(),
): { endpoints: EndpointRegistrar; routes: Map<string, EndpointHandler> } {
  const routes = new Map<string, EndpointHandler>();
  const endpoints = {
    binding,
    get(path: string, handler: EndpointHandler) {
      if (taken.has(path) || routes.has(path)) {
        throw new MoatError(
          "endpoint-conflict",
          `Cannot bind ${
            binding.grants.join(" and ")
          } together: wanted one grant of each provider`,
          { hint: "use one run for each of them" },
        );
      }
      routes.set(path, handler);
    },
  };
  return { endpoints, routes };
}
