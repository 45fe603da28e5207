/**
 * The npm provider: credentials of npm registries, as many as npm is
 * configured with, each for its host, port and path.
 *
 * @module
 */

import type { Grant } from "$core/grant.ts";
import type { Platform } from "$core/platform.ts";
import type { InjectionRegistrar, Provider } from "$core/provider.ts";
import {
  CONFLICTING_ENV,
  containerEnv,
  containerMounts,
  npmPlaceholder,
} from "./client.ts";
import { GRANT_FLAGS, grantNpm } from "./grant.ts";
import { type Npm, systemNpm } from "./npm_config.ts";
import { keyOf, registryUrl } from "./place.ts";
import {
  type CredentialSettings,
  type NpmSettings,
  readSettings,
  unpackCredentials,
} from "./settings.ts";

/**
 * Makes the npm provider.
 *
 * @param platform Clock and environment.
 * @param npm How npm is asked. Default: the one of this machine.
 */
export function createNpmProvider(
  platform: Platform,
  npm: Npm = systemNpm(platform),
): Provider {
  return {
    name: "npm",
    aliases: [],
    description: "Registries of npm, by the credentials that npm has",
    grantExamples: [
      "moat grant npm",
      "moat grant npm --name acme --registry https://npm.acme.example/ --scope @acme",
    ],
    grantFlags: GRANT_FLAGS,
    conflictingEnv: CONFLICTING_ENV,
    trustVariables: ["npm_config_cafile"],

    grant: (request) => grantNpm(request, platform, npm),
    configureProxy: declare,
    containerEnv,
    containerMounts,
    registerEndpoints() {},
    impliedDependencies: () => ["node", "npm"],
    cleanup() {},

    describe: (grant) => describe(readSettings(grant)),
    advise: (grant) => Promise.resolve(adviceOf(readSettings(grant))),
  };
}

function declare(proxy: InjectionRegistrar, grant: Grant): void {
  const { registries, credentials } = readSettings(grant);
  const authorizations = unpackCredentials(grant);
  const placeholder = npmPlaceholder(grant.name);
  for (const place of credentials) {
    const value = authorizations.get(keyOf(place));
    if (!value) continue;
    proxy.inject({
      host: place.host,
      ...(place.path !== "/" && { path: place.path.replace(/\/$/, "") }),
      header: "authorization",
      value,
      strip: [],
      placeholder,
    });
  }
  // What is public needs no credential, but it has to be reached.
  for (const { host } of registries) proxy.allow(host);
}

function describe(
  { registries, credentials, tokenSource, tokenVariable }: NpmSettings,
): [string, string][] {
  return [
    ["credentials", credentials.map(keyOf).join(", ")],
    ...registries.map((registry): [string, string] => [
      registry.isDefault ? "registry" : registry.scopes.join(", "),
      registryUrl(registry),
    ]),
    ["token-source", tokenVariable ?? tokenSource],
    [
      "validation",
      credentials.map(({ validation }) => validation).join(", "),
    ],
  ];
}

function adviceOf({ credentials, skipped }: NpmSettings): string[] {
  return [
    ...credentials.flatMap((place) => adviceOn(place) ?? []),
    ...skipped.map((sentence) => `left out: ${sentence}`),
  ];
}

function adviceOn(place: CredentialSettings): string | undefined {
  const where = registryUrl(place);
  return ({
    "ok": undefined,
    "skipped": undefined,
    "rate-limited":
      `${where} knows the credential, but asks to slow down (429): requests may fail for a while`,
    "restricted":
      `${where} does not tell whose credential it is (403): what it may do was not tested`,
    "unknown":
      `${where} could not tell whether the credential is good: it was not tested`,
    "plain-http":
      `${where} has no TLS: the credential was not tested, and goes there only if the policy's plain_http names ${place.host}`,
  })[place.validation];
}
