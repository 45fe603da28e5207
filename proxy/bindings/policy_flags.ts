/**
 * The policy of a run or binding: `moat.toml` and the flags of its command.
 *
 * @module
 */

import type { Arguments } from "$core/cli/command.ts";
import type { Platform } from "$core/platform.ts";
import { DEFAULT_POLICY, type Policy } from "$core/policy.ts";
import type { Flag } from "$core/provider.ts";

/** The flags of `moat run` and `moat bind`. */
export const POLICY_FLAGS: readonly Flag[] = [
  {
    name: "allow",
    value: "HOST[:PORT]",
    summary: "Let it reach a host, or *.SUFFIX",
    repeatable: true,
  },
  {
    name: "deny",
    value: "HOST[:PORT]",
    summary: "Never let it reach a host, not even one of a grant",
    repeatable: true,
  },
  {
    name: "allow-private",
    value: "HOST:PORT",
    summary: "Let a host have a private address",
    repeatable: true,
  },
  {
    name: "plain-http",
    value: "HOST:PORT",
    summary: "Send credentials to a host over plain http, too",
    repeatable: true,
  },
  {
    name: "config",
    value: "FILE",
    summary: "Policies in TOML (default: $MOAT_CONFIG, else moat.toml)",
  },
];

/**
 * Reads the policy that a person gave.
 *
 * @param platform Where the configuration is.
 * @param args The command line.
 * @param binding The binding's name; default: a run, which has none.
 * @returns The policy; undefined if neither flags nor configuration give one.
 * @throws {MoatError} `usage`, or what is wrong with the configuration.
 */
export async function readPolicy(
  platform: Pick<Platform, "paths" | "env">,
  { flags }: Pick<Arguments, "flags">,
  binding?: string,
): Promise<Policy | undefined> {
  // Most commands need neither.
  const { loadConfig, policyFor, withFlags } = await import("$core/config.ts");
  const list = (name: string) => (flags[name] ?? []) as readonly string[];
  const config = await loadConfig(
    platform,
    flags["config"] as string | undefined,
  );
  const policy = policyFor(config, binding);
  const given = {
    allow: list("allow"),
    deny: list("deny"),
    allowHosts: list("allow-private"),
    plainHttp: list("plain-http"),
  };
  if (Object.values(given).some((texts) => texts.length > 0)) {
    return withFlags(policy, given);
  }
  // A file that says nothing of a policy leaves this very one.
  return policy === DEFAULT_POLICY ? undefined : policy;
}
