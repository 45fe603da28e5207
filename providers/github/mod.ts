/**
 * The GitHub provider: API, git over https and downloads, of github.com,
 * ghe.com or an Enterprise Server.
 *
 * @module
 */

import type { Platform } from "$core/platform.ts";
import type { InjectionRegistrar, Provider } from "$core/provider.ts";
import { Secret } from "$core/secret.ts";
import {
  createTokenProvider,
  type TokenKind,
  type TokenUse,
} from "../tokens/provider.ts";
import { GH_VARIABLES, ghProgram } from "./gh.ts";
import { gitVariables } from "./git.ts";
import { GITHUB, githubHosts, isCloud } from "./hosts.ts";

const INSTALLATION = "GitHub App installation token";

/** @see {@link https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/about-authentication-to-github#githubs-token-formats | GitHub's token formats} */
const KINDS: readonly TokenKind[] = [
  { name: "personal access token", pattern: /^ghp_|^[0-9a-f]{40}$/ },
  { name: "fine-grained personal access token", pattern: /^github_pat_/ },
  { name: "OAuth token", pattern: /^gho_/ },
  { name: "GitHub App user token", pattern: /^ghu_/ },
  { name: INSTALLATION, pattern: /^ghs_/ },
  {
    name: "refresh token",
    pattern: /^ghr_/,
    refusal: {
      why: "is a refresh token, which opens nothing by itself",
      hint: "give the access token that it belongs to",
    },
  },
];

/** Each `gh` reads two of them; which two depends on the host. */
const [CLOUD_VARIABLES, SERVER_VARIABLES] = [
  GH_VARIABLES.slice(0, 2),
  GH_VARIABLES.slice(2),
];

/**
 * Makes the GitHub provider.
 *
 * @param platform Clock and environment.
 */
export function createGithubProvider(platform: Platform): Provider {
  return createTokenProvider({
    name: "github",
    description: "GitHub's API, and git over https",
    vendor: "GitHub",
    grantExamples: [
      "moat grant github",
      "moat grant github --name work --token-file work.token",
      "moat grant github --name corp --host github.example.com",
    ],
    host: GITHUB,
    hostSummary:
      "An Enterprise Server, or TENANT.ghe.com (default: github.com)",
    variables: (host) => isCloud(host) ? CLOUD_VARIABLES : SERVER_VARIABLES,
    conflictingEnv: GH_VARIABLES,
    dependencies: ["gh", "git"],
    hint: "create one under Settings, Developer settings on GitHub",
    kinds: KINDS,
    // Enterprise Servers and apps have had others.
    otherKind: "token",
    shape: () => ({ prefix: "ghp_", length: 36 }),
    validation: ({ host, kind }, token) => ({
      url: githubHosts(host).apiUrl +
        // An installation is nobody.
        (kind === INSTALLATION
          ? "/installation/repositories?per_page=1"
          : "/user"),
      headers: bearer(token.reveal()),
    }),
    expiresAt: (headers) =>
      readExpiration(headers.get("github-authentication-token-expiration")),
    inject,
    placeholderVariables: ({ host }) =>
      isCloud(host) ? CLOUD_VARIABLES : SERVER_VARIABLES.slice(0, 1),
    settingVariables: ({ host, isVendor }) => ({
      ...gitVariables(githubHosts(host).git),
      ...!isVendor && { GH_HOST: host },
    }),
    program: (host) => ghProgram(host, platform),
    programName: "gh",
  }, platform);
}

function inject(
  proxy: InjectionRegistrar,
  { host, placeholder }: TokenUse,
  token: string,
): void {
  const { api, git, downloads } = githubHosts(host);
  const common = { header: "authorization", strip: [], placeholder };
  for (const place of api) {
    proxy.inject({ ...place, ...common, value: bearer(token).authorization });
  }
  // git's server takes no Bearer.
  const basic = new Secret(`Basic ${btoa(`x-access-token:${token}`)}`);
  for (const host of git) proxy.inject({ host, ...common, value: basic });
  for (const host of downloads) proxy.allow(host);
}

function bearer(token: string): { authorization: Secret } {
  return { authorization: new Secret(`Bearer ${token}`) };
}

/** `2026-05-01 10:00:00 UTC`, or with an offset such as `-0700` in its place. */
const EXPIRATION =
  /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) (?:UTC|([+-]\d\d):?(\d\d))$/;

function readExpiration(text: string | null): number | undefined {
  const [, date, time, hours, minutes] = EXPIRATION.exec(text ?? "") ?? [];
  if (date === undefined) return undefined;
  const zone = hours === undefined ? "Z" : `${hours}:${minutes}`;
  const expiresAt = Date.parse(`${date}T${time}${zone}`);
  return Number.isNaN(expiresAt) ? undefined : expiresAt;
}
