/**
 * What a binding gives: the endpoints of its grants, and environment and files
 * of its client. The same for runs and for bindings that are stored.
 *
 * @module
 */

import type { Access, Binding } from "$core/binding.ts";
import { MoatError, toMoatError } from "$core/errors.ts";
import type { Grant } from "$core/grant.ts";
import type { Platform } from "$core/platform.ts";
import { DEFAULT_POLICY } from "$core/policy.ts";
import {
  type Container,
  type EndpointHandler,
  errorAnswer,
  type MountedFile,
  type Provider,
  type ProviderRegistry,
} from "$core/provider.ts";
import type { Secret } from "$core/secret.ts";
import { NOT_FOUND } from "../answers.ts";
import { type Entry, LiveBinding, type Served } from "./binding_table.ts";
import {
  collectDeclared,
  type Declared,
  Outbound,
} from "../intercept/outbound.ts";
import { interceptConflicts, interceptEnv } from "../intercept/client_env.ts";
import { findMode } from "./modes.ts";
import { joinVariables } from "../variables.ts";

/** What a client of a revoked grant is told, or of one that its binding does not fit any more. */
const GRANT_GONE = errorAnswer(
  403,
  "grant-gone",
  "The grant behind this endpoint was revoked, or this binding may not use it any more",
);

/** Environment and files of a client. */
export interface ClientSetup {
  /** Variables. */
  readonly env: Readonly<Record<string, string>>;
  /** Files, the token not among them. */
  readonly files: readonly MountedFile[];
  /** Variables that would override `env`. */
  readonly conflictingEnv: readonly string[];
}

/** Told of a grant that a binding does not fit any more. */
export type OnMisfit = (grant: Grant, error: MoatError) => void;

/** Binds grants to clients. */
export class Binder {
  readonly #registry: ProviderRegistry;
  readonly #platform: Pick<Platform, "log">;

  /** Binds grants of these providers. */
  constructor(registry: ProviderRegistry, platform: Pick<Platform, "log">) {
    this.#registry = registry;
    this.#platform = platform;
  }

  /**
   * Collects the endpoints of a binding.
   *
   * @param binding The binding.
   * @param grants Those of its grants that there are.
   * @param onMisfit Told of a grant that is left out; without it, thrown.
   * @returns What it may have.
   * @throws {MoatError} `endpoint-conflict`, or a provider's own.
   */
  rights(
    binding: Binding,
    grants: readonly Grant[],
    onMisfit?: OnMisfit,
  ): Served {
    const routes = new Map<string, EndpointHandler>();
    const served: Grant[] = [];
    const declared: Declared[] = [];
    for (const grant of grants) {
      try {
        const own = this.#declare(grant);
        for (const [path, handler] of this.#endpoints(binding, grant, routes)) {
          routes.set(path, handler);
        }
        declared.push(own);
      } catch (error) {
        if (!onMisfit) throw error;
        onMisfit(grant, toMoatError(error));
        continue;
      }
      served.push(grant);
    }
    const isWhole = served.length === binding.grants.length;
    return {
      routes,
      otherwise: isWhole ? NOT_FOUND : GRANT_GONE,
      outbound: new Outbound(
        binding.policy ?? DEFAULT_POLICY,
        declared,
        !isWhole,
      ),
      grants: served,
    };
  }

  /** What a grant is for, at the forward proxy. */
  #declare(grant: Grant): Declared {
    return collectDeclared(
      grant.name,
      (registrar) => this.#provider(grant).configureProxy(registrar, grant),
    );
  }

  /** The endpoints of one grant, which must differ from the others'. */
  #endpoints(
    binding: Binding,
    grant: Grant,
    taken: ReadonlyMap<string, EndpointHandler>,
  ): ReadonlyMap<string, EndpointHandler> {
    const added = new Map<string, EndpointHandler>();
    this.#provider(grant).registerEndpoints({
      binding,
      get(path, handler) {
        if (taken.has(path) || added.has(path)) throw conflict(binding);
        added.set(path, handler);
      },
    }, grant);
    return added;
  }

  /**
   * Makes environment and files of a client. The files by which an intercepted
   * one trusts us are not among them: see `interceptFiles`.
   *
   * @param grants Its grants: of two that set one variable, the first counts.
   * @param container Where it finds us.
   * @param proxyToken Its token, or what stands for it, if it is intercepted.
   * @returns What it is given.
   */
  setup(
    grants: readonly Grant[],
    container: Container,
    proxyToken?: Secret,
  ): ClientSetup {
    const each = grants.map((grant) => ({
      grant,
      provider: this.#provider(grant),
    }));
    const env = joinVariables([
      ...proxyToken
        ? [interceptEnv(this.#registry, container, proxyToken)]
        : [],
      ...each.map(({ grant, provider }) =>
        provider.containerEnv(grant, container)
      ),
    ]);
    return {
      env,
      files: container.directory === undefined ? [] : each.flatMap((
        { grant, provider },
      ) => [...provider.containerMounts(grant, container)]),
      conflictingEnv: [
        ...each.flatMap(({ provider }) => [...provider.conflictingEnv]),
        ...interceptConflicts(this.#registry, env),
      ],
    };
  }

  /**
   * Makes a binding that clients can use.
   *
   * @param entry Who may use it; the mode says where the token is.
   * @param served What they are served.
   * @returns The binding, to be entered in the table.
   * @throws {MoatError} `usage` for a mode that there is not.
   */
  live(entry: Omit<Entry, "access">, served: Served): LiveBinding {
    const access = this.access(entry.binding);
    return new LiveBinding({ ...entry, access }, served);
  }

  /**
   * Tells where a binding's client sends its token.
   *
   * @param binding The binding.
   * @throws {MoatError} `usage` for a mode that there is not.
   */
  access({ grants, mode }: Binding): Access {
    return findMode(this.#registry, grants, mode)?.access ?? "header";
  }

  /**
   * Prepares first answers: a client that is about to start need not wait, and
   * some never ask again after one that came late (Rusoto).
   *
   * @param binding The binding.
   * @param grants Its grants.
   * @param onFailure Told of each that cannot be had now.
   */
  prefetch(
    binding: Binding,
    grants: readonly Grant[],
    onFailure: (grant: Grant, error: MoatError) => void,
  ): void {
    for (const grant of grants) {
      this.#provider(grant).prefetch?.(grant, binding)
        .catch((error) => onFailure(grant, toMoatError(error)));
    }
  }

  /** Releases what providers hold for a binding that ended. */
  async release(binding: Binding): Promise<void> {
    for (const provider of this.#registry.all) {
      try {
        await provider.cleanup(binding);
      } catch (error) {
        const { code } = toMoatError(error);
        this.#platform.log.error("cleanup-failed", {
          provider: provider.name,
          code,
        });
      }
    }
  }

  /** Drops what providers have cached for a grant that changed. */
  forget(grant: string): void {
    for (const provider of this.#registry.all) provider.forget?.(grant);
  }

  #provider(grant: Grant): Provider {
    return this.#registry.get(grant.provider);
  }
}

function conflict({ grants }: Binding): MoatError {
  return new MoatError(
    "endpoint-conflict",
    `Cannot bind ${
      grants.join(" and ")
    } together: wanted one grant of each provider`,
    { hint: "bind each of them by itself" },
  );
}
