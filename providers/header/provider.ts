/**
 * Makes a provider of a definition.
 *
 * @module
 */

import type { Grant, JsonObject } from "$core/grant.ts";
import type { Platform } from "$core/platform.ts";
import type {
  GrantRequest,
  InjectionRegistrar,
  Provider,
  ProviderFactory,
} from "$core/provider.ts";
import { Secret } from "$core/secret.ts";
import { obtainToken, TOKEN_FILE_FLAG } from "../tokens/obtain.ts";
import { placeholderFor } from "../tokens/placeholder.ts";
import { revealToken } from "../tokens/settings.ts";
import { placeholderVariables } from "../tokens/variables.ts";
import { DEFAULT_PLACEHOLDER, type HeaderDefinition } from "./definition.ts";
import { headerValue, placedHeaders } from "./placement.ts";
import { type HeaderSettings, readSettings } from "./settings.ts";
import { tryToken } from "./validate.ts";

/**
 * Makes the provider of a definition.
 *
 * @param definition What is special about it; it is not checked again.
 * @returns What makes the provider for a machine.
 */
export function createHeaderProvider(
  definition: HeaderDefinition,
): ProviderFactory {
  const { name, aliases = [], env = [], sourceEnv = [] } = definition;
  return (platform: Platform): Provider => ({
    name,
    aliases,
    description: definition.description,
    grantExamples: [`moat grant ${name}`],
    grantFlags: [TOKEN_FILE_FLAG],
    // The host's own value would reach a plain child past the placeholder.
    conflictingEnv: [...new Set([...env, ...sourceEnv])],

    grant: (request) => grantToken(request, definition, platform),
    configureProxy: (proxy, grant) => declare(proxy, grant, definition),
    containerEnv: (grant) =>
      placeholderVariables(grant.name, env, placeholderOf(grant, definition)),
    containerMounts: () => [],
    registerEndpoints() {},
    impliedDependencies: () => [],
    cleanup() {},

    describe: (grant) => describe(readSettings(grant), definition),
    advise: (grant) => Promise.resolve(adviceOf(readSettings(grant))),
  });
}

async function grantToken(
  request: GrantRequest,
  definition: HeaderDefinition,
  platform: Platform,
): Promise<Grant> {
  const { name, hosts, prompt = `${name} token`, help } = definition;
  const { token, origin } = await obtainToken(request, {
    what: prompt,
    env: platform.env,
    variables: definition.sourceEnv ?? [],
    hint: help ?? `get one for ${hosts.join(" or ")}`,
  });
  const validation = request.validate
    ? await tryToken(definition, token, platform)
    : "skipped";
  return {
    provider: name,
    name: request.name,
    createdAt: platform.clock.now(),
    settings: { ...origin, validation } satisfies JsonObject,
    credential: token,
  };
}

function placeholderOf(
  { name }: Grant,
  { placeholder = DEFAULT_PLACEHOLDER }: HeaderDefinition,
): string {
  return placeholderFor(name, placeholder);
}

function declare(
  proxy: InjectionRegistrar,
  grant: Grant,
  definition: HeaderDefinition,
): void {
  const token = revealToken(grant);
  const placeholder = placeholderOf(grant, definition);
  for (
    const { host, path, header, strip, ...rule } of placedHeaders(definition)
  ) {
    proxy.inject({
      host,
      ...(path !== undefined && { path }),
      header,
      value: headerValue(rule, token),
      strip: strip ?? [],
      placeholder,
    });
  }
  if (definition.inject === "path") {
    for (const host of definition.hosts) {
      for (const spelling of spellings(placeholder)) {
        proxy.substitute({
          host,
          placeholder: spelling,
          value: new Secret(token),
        });
      }
    }
  }
  for (const host of definition.allow ?? []) proxy.allow(host);
}

/** A client may escape what need not be: the colon in a bot's token. */
function spellings(placeholder: string): ReadonlySet<string> {
  return new Set([placeholder, encodeURIComponent(placeholder)]);
}

function describe(
  { tokenSource, tokenVariable, validation }: HeaderSettings,
  { hosts }: HeaderDefinition,
): [string, string][] {
  return [
    ["hosts", hosts.join(", ")],
    ["token-source", tokenVariable ?? tokenSource],
    ["validation", validation],
  ];
}

function adviceOf({ validation }: HeaderSettings): string[] {
  const sentence = ({
    "ok": undefined,
    "skipped": undefined,
    "rate-limited":
      "the token is known, but asked to slow down (429): requests may fail for a while",
    "restricted":
      "the token is known, but may not do what moat tried (403): what it may do was not tested",
    "none":
      "the token was not tried: its provider names no request that would tell",
  })[validation];
  return sentence === undefined ? [] : [sentence];
}
