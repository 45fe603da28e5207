/**
 * What `moat metadata-proxy` allows by default, so that what worked with
 * go-metadataproxy goes on working, and what it says of that.
 *
 * @module
 */

import type { Config } from "$core/config.ts";
import type { Log } from "$core/log.ts";
import { type MetadataSettings, NO_METADATA } from "$core/metadata.ts";
import type { CompatibleEnv } from "./compatible_env.ts";
import { warnOfAddresses, warnOfNoRoles } from "./warnings.ts";

/** An event for the log, and why. */
type Warning = readonly [event: string, reason: string];

/** What go-metadataproxy does and moat by itself would not. */
const DEFAULTS: readonly Warning[] = [
  [
    "any-role",
    "a container may name any role that this host can assume; with --strict only those that [metadata] of moat.toml allows",
  ],
  [
    "version-1",
    "requests without a session token (version 1) are answered, so whoever makes a container fetch a URL gets its credentials; with --strict they are refused",
  ],
  [
    "failures-are-404",
    "every failure is answered with 404, which tells a client nothing; with --strict with its own status",
  ],
  [
    "hour-long-sessions",
    "sessions last an hour and are all named go-metadataproxy; with --strict they are named after their containers",
  ],
];

const NO_NEW_RELIC =
  "moat does not send to New Relic; its agent can read Prometheus (ENABLE_PROMETHEUS) or statsd (STATSD_ADDR)";

/** Variables that do nothing here. */
const UNSUPPORTED: Readonly<Record<string, string>> = {
  NEWRELIC_APP_NAME: NO_NEW_RELIC,
  NEWRELIC_LICENSE: NO_NEW_RELIC,
  DATADOG_SERVICE_NAME:
    "moat sends no traces; DATADOG_ADDR sends measurements to Datadog's agent",
  COPY_REQUEST_HEADERS:
    "a client would choose the values of labels; COPY_DOCKER_LABELS and COPY_DOCKER_ENV copy what was set at its start",
};

/**
 * Says what containers may have.
 *
 * @param env go-metadataproxy's variables, which count more than `moat.toml`.
 * @param config What `moat.toml` says, with `--strict`; else it is not read.
 * @returns Without `config`: whatever a container names, by version 1 and 2.
 */
export function compatibleSettings(
  { defaultRole, defaultAccount }: CompatibleEnv,
  config?: Config,
): MetadataSettings {
  const base = config?.metadata ??
    { ...NO_METADATA, roles: "any", v1: true } as const;
  return {
    ...base,
    ...(defaultRole !== undefined && { defaultRole }),
    ...(defaultAccount !== undefined && { defaultAccount }),
  };
}

/**
 * Warns, once each, of what is laxer than moat's own ways, and of variables
 * that do nothing.
 *
 * @param log Where.
 * @param options The environment; `settings` are given with `--strict`.
 */
export function warnAtStart(
  log: Log,
  { env, strict }: {
    readonly env: Readonly<Record<string, string>>;
    readonly strict?: MetadataSettings | undefined;
  },
): void {
  const defaults = strict ? [] : DEFAULTS;
  for (const [event, reason] of defaults) log.warn(event, { reason });
  warnOfAddresses(log);
  const ignored = strict
    ? {
      ...UNSUPPORTED,
      ROLE_CACHE_OFFSET: "with --strict moat itself decides when to renew",
    }
    : UNSUPPORTED;
  for (const [variable, reason] of Object.entries(ignored)) {
    if (env[variable]) log.warn("variable-ignored", { variable, reason });
  }
  if (strict) warnOfNoRoles(log, strict);
}
