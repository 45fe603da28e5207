/**
 * Instance metadata as a part of `moat proxy`: from flags and `moat.toml` to
 * listeners.
 *
 * @module
 */

import { MoatError, toMoatError, usageError } from "$core/errors.ts";
import { loadConfig } from "$core/config.ts";
import type { MetadataSettings } from "$core/metadata.ts";
import type { Platform } from "$core/platform.ts";
import type { FlagValues, Provider, ProviderRegistry } from "$core/provider.ts";
import type { Store } from "$core/store/store.ts";
import type { BindingTable } from "../bindings/binding_table.ts";
import type { Containers } from "../containers/containers.ts";
import { type Listeners, parseListen, urlOf } from "../listeners.ts";
import { MetadataFront } from "./front.ts";
import { warnOfAddresses, warnOfNoRoles } from "./warnings.ts";

/** What {@link serveMetadata} needs. */
export interface ServeMetadataOptions {
  /** Clock, environment, log, metrics. */
  readonly platform: Platform;
  /** All providers. */
  readonly registry: ProviderRegistry;
  /** The stored grants. */
  readonly store: Store;
  /** Live bindings. */
  readonly table: BindingTable;
  /** Where it listens. */
  readonly listeners: Listeners;
  /** Who has which address. */
  readonly containers: Containers;
  /** What `moat.toml` and flags say. */
  readonly settings: MetadataSettings;
  /** `ADDR:PORT` of each listener. */
  readonly addresses: readonly string[];
}

/** A metadata service of a running proxy. */
export interface ServedMetadata {
  /** The base URL of each listener. */
  readonly urls: readonly string[];
  /** Makes changed bindings and grants count at once. */
  changed(): void;
}

/**
 * Serves instance metadata.
 *
 * @param options Listeners, containers, grants.
 * @returns What is served, until the listeners are drained.
 * @throws {MoatError} `not-supported` without a provider for it, `bad-config`,
 * or as `Listeners.listen`.
 */
export function serveMetadata(options: ServeMetadataOptions): ServedMetadata {
  const { platform, registry, store, settings, listeners } = options;
  const addresses = options.addresses
    .map((text) => parseListen(text, "169.254.169.254:80"));
  const provider = metadataProvider(registry);
  const front = new MetadataFront({
    platform,
    containers: options.containers,
    service: provider.metadata({ settings, ownUrls: addresses.map(urlOf) }),
    bindings: options.table,
    serves: (grant) => grant.provider === provider.name,
    async grant() {
      const { grant } = settings;
      return grant === undefined ? undefined : await store.get(grant);
    },
  });
  warnAtStart(options);
  const urls = addresses.map((address) =>
    listeners.listenApart(
      address,
      (head, peer) => front.handle(head, peer),
      "--imds",
    )
  );
  return { urls, changed: () => front.changed() };
}

/** A provider that serves metadata. */
export type MetadataProvider =
  & Provider
  & Required<Pick<Provider, "metadata" | "environmentGrant">>;

/**
 * Finds the provider that serves instance metadata.
 *
 * @param registry All providers.
 * @throws {MoatError} `not-supported` if there is none.
 */
export function metadataProvider(registry: ProviderRegistry): MetadataProvider {
  const found = registry.all.find((p) => p.metadata && p.environmentGrant);
  if (found) return found as MetadataProvider;
  throw new MoatError(
    "not-supported",
    "Cannot serve instance metadata: no provider does",
  );
}

function warnAtStart(
  { platform: { log }, settings, store }: ServeMetadataOptions,
) {
  warnOfAddresses(log);
  const { grant } = settings;
  if (grant === undefined) {
    log.warn("metadata-without-grant", {
      reason: "only containers with a binding of mode imds are served",
      hint:
        'write grant = "NAME" and roles = ["PATTERN"] below [metadata] in moat.toml',
    });
    return;
  }
  warnOfNoRoles(log, settings);
  store.get(grant).catch((error) => {
    const { code, hint } = toMoatError(error);
    log.warn("metadata-grant-missing", {
      grant,
      code,
      reason: "each user has grants of its own: those of this one count",
      hint: code === "grant-not-found"
        ? "correct grant in [metadata] of moat.toml; moat grant list shows those there are"
        : hint,
    });
  });
}

/** What `moat proxy` was told about instance metadata. */
export interface MetadataPlan {
  /** Where to listen. */
  readonly addresses: readonly string[];
  /** What `moat.toml` and the flags say. */
  readonly settings: MetadataSettings;
}

/**
 * Reads what flags and `moat.toml` say.
 *
 * @param platform Where `moat.toml` is.
 * @param flags Those of `moat proxy`.
 * @returns The plan; undefined if it is to serve none.
 * @throws {MoatError} `usage`, or as `loadConfig`.
 */
export async function planMetadata(
  platform: Pick<Platform, "env" | "paths">,
  flags: FlagValues,
): Promise<MetadataPlan | undefined> {
  const addresses = (flags["imds"] ?? []) as readonly string[];
  const further = (flags["imds-passthrough"] ?? []) as readonly string[];
  if (addresses.length === 0) {
    if (further.length === 0) return undefined;
    throw usageError(
      "Cannot use --imds-passthrough: there is no metadata service to add to",
      "give --imds as well",
    );
  }
  const { metadata } = await loadConfig(platform);
  const passthrough = [...metadata.passthrough, ...further];
  return { addresses, settings: { ...metadata, passthrough } };
}
