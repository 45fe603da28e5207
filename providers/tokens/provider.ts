/**
 * What providers of one token have in common: they differ in data, and in what
 * they put on the wire.
 *
 * @module
 */

import { MoatError } from "$core/errors.ts";
import { type Grant, grantCommand, type JsonObject } from "$core/grant.ts";
import type { Platform } from "$core/platform.ts";
import type {
  Expiry,
  Flag,
  GrantRequest,
  InjectionRegistrar,
  Provider,
} from "$core/provider.ts";
import type { Secret } from "$core/secret.ts";
import { hostFlag, readHost } from "./host.ts";
import {
  type FoundToken,
  obtainToken,
  TOKEN_FILE_FLAG,
  type TokenProgram,
} from "./obtain.ts";
import { placeholderFor, type PlaceholderShape } from "./placeholder.ts";
import { readSettings, revealToken, type TokenSettings } from "./settings.ts";
import { parseToken } from "./token.ts";
import { validateToken, type Validation } from "./validate.ts";
import { placeholderVariables } from "./variables.ts";

const DAY_MS = 24 * 60 * 60_000;

/** What a grant of this kind is for, without its token. */
export interface TokenUse {
  /** Where it goes, such as `api.openai.com` or `gateway.internal:8443`. */
  readonly host: string;
  /** Whether that is the vendor's own host. */
  readonly isVendor: boolean;
  /** What kind of token it is: a name of {@link TokenProviderOptions.kinds}. */
  readonly kind: string;
  /** What the client has in its place. */
  readonly placeholder: string;
}

/** One kind of a vendor's tokens. */
export interface TokenKind {
  /** For people, such as `API key`; stored in the grant. */
  readonly name: string;
  /** How its tokens begin, or look. */
  readonly pattern: RegExp;
  /** Why it cannot be used, and what can; absent if it can. */
  readonly refusal?: { readonly why: string; readonly hint: string };
}

/** What makes one provider of this kind differ from another. */
export interface TokenProviderOptions {
  /** As {@link Provider.name}. */
  readonly name: string;
  /** As {@link Provider.aliases}. Default: none. */
  readonly aliases?: readonly string[];
  /** As {@link Provider.description}. */
  readonly description: string;
  /** Whose tokens these are, for people, such as `GitHub`. */
  readonly vendor: string;
  /** As {@link Provider.grantExamples}. */
  readonly grantExamples: readonly string[];
  /** The vendor's own host, where {@link TokenUse.host} leads without `--host`. */
  readonly host: string;
  /** The summary of `--host`. */
  readonly hostSummary: string;
  /** Variables of this machine that may hold a token for a host, in order. */
  variables(host: string): readonly string[];
  /** As {@link Provider.conflictingEnv}. */
  readonly conflictingEnv: readonly string[];
  /** As {@link Provider.impliedDependencies}. Default: none. */
  readonly dependencies?: readonly string[];
  /** How to get a token, such as `create one at https://…`. */
  readonly hint: string;
  /** The first whose pattern matches counts. */
  readonly kinds: readonly TokenKind[];
  /** The kind of any other token; absent if the vendor has no other. With `--host` all are taken. */
  readonly otherKind?: string;
  /** What the vendor's tools check. */
  shape(kind: string): PlaceholderShape;
  /** The request that tells whether a token is good. */
  validation(
    use: TokenUse,
    token: Secret,
  ): Omit<Validation, "vendor" | "hint">;
  /** When the token ends, in ms since the Unix epoch, as the answer tells. */
  expiresAt?(headers: Headers): number | undefined;
  /** Declares injections. */
  inject(proxy: InjectionRegistrar, use: TokenUse, token: string): void;
  /** Variables that hold the placeholder. */
  placeholderVariables(use: TokenUse): readonly string[];
  /** Further variables. Default: none. */
  settingVariables?(use: TokenUse): Record<string, string>;
  /** The vendor's own program, if it has one that prints tokens. */
  program?(host: string): TokenProgram;
  /** The program that it runs, such as `gh`. */
  readonly programName?: string;
}

/**
 * Makes a provider of one token.
 *
 * @param options What is special about it.
 * @param platform Clock and environment.
 * @returns A provider with all seven members, and `refresh` if it has a program.
 */
export function createTokenProvider(
  options: TokenProviderOptions,
  platform: Platform,
): Provider {
  const { conflictingEnv, dependencies = [], programName } = options;
  return {
    name: options.name,
    aliases: options.aliases ?? [],
    description: options.description,
    grantExamples: options.grantExamples,
    grantFlags: flagsOf(options),
    conflictingEnv,

    grant: (request) => grantToken(request, options, platform),
    configureProxy: (proxy, grant) =>
      options.inject(proxy, useOf(grant, options), revealToken(grant)),
    containerEnv: (grant) => containerEnv(grant, options),
    // What a tool's configuration holds beside secrets is not ours to copy.
    containerMounts: () => [],
    registerEndpoints() {},
    impliedDependencies: () => dependencies,
    cleanup() {},

    describe: (grant) => describe(readSettings(grant)),
    advise: (grant) => Promise.resolve(adviceOf(readSettings(grant), options)),
    expiries: (grant) => Promise.resolve(expiriesOf(grant)),
    ...(options.program && {
      refresh: (grant) => refreshToken(grant, options),
      sourceProcess: (grant) =>
        Promise.resolve(
          readSettings(grant).tokenSource === "cli" ? programName : undefined,
        ),
    }),
  };
}

function flagsOf({ hostSummary }: TokenProviderOptions): readonly Flag[] {
  return [TOKEN_FILE_FLAG, hostFlag(hostSummary)];
}

async function grantToken(
  request: GrantRequest,
  options: TokenProviderOptions,
  platform: Platform,
): Promise<Grant> {
  const { name, flags, validate } = request;
  const host = readHost(flags, options.host);
  const isVendor = host === options.host;
  const { token, origin }: FoundToken = await obtainToken(request, {
    what: `${options.vendor} token`,
    env: platform.env,
    variables: options.variables(host),
    program: options.program?.(host),
    hint: options.hint,
  });
  const kind = kindOf(token, isVendor, options);
  const settings = { host, kind, ...origin };
  const grant = {
    provider: options.name,
    name,
    createdAt: platform.clock.now(),
    settings: { ...settings, validation: "skipped" } satisfies JsonObject,
    credential: token,
  };
  if (!validate) return grant;
  const { result, headers } = await validateToken({
    ...options.validation(useOf(grant, options), token),
    vendor: options.vendor,
    hint: options.hint,
  }, platform);
  const expiresAt = options.expiresAt?.(headers);
  return {
    ...grant,
    settings: { ...settings, validation: result },
    ...(expiresAt !== undefined && { expiresAt }),
  };
}

/** Looks at a token's form, which tells another vendor's, or another purpose. */
function kindOf(
  token: Secret,
  isVendor: boolean,
  { kinds, otherKind, vendor, hint }: TokenProviderOptions,
): string {
  const kind = kinds.find(({ pattern }) => pattern.test(token.reveal()));
  if (kind && !kind.refusal) return kind.name;
  const fallback = isVendor ? otherKind : otherKind ?? "token";
  if (!kind && fallback !== undefined) return fallback;
  throw new MoatError(
    "bad-token",
    `Cannot use this token for ${vendor}: it ${
      kind?.refusal?.why ?? "has not the form of one"
    }`,
    { hint: kind?.refusal?.hint ?? hint },
  );
}

function useOf(grant: Grant, options: TokenProviderOptions): TokenUse {
  const { host, kind } = readSettings(grant);
  return {
    host,
    isVendor: host === options.host,
    kind,
    placeholder: placeholderFor(grant.name, options.shape(kind)),
  };
}

function containerEnv(
  grant: Grant,
  options: TokenProviderOptions,
): Record<string, string> {
  const use = useOf(grant, options);
  const variables = options.placeholderVariables(use);
  return {
    ...placeholderVariables(grant.name, variables, use.placeholder),
    ...options.settingVariables?.(use),
  };
}

function describe(settings: TokenSettings): [string, string][] {
  const { host, kind, tokenSource, tokenVariable, validation } = settings;
  return [
    ["host", host],
    ["kind", kind],
    ["token-source", tokenVariable ?? tokenSource],
    ["validation", validation],
  ];
}

function adviceOf(
  { tokenSource, validation }: TokenSettings,
  { vendor, programName }: TokenProviderOptions,
): string[] {
  const advice: string[] = [];
  if (validation === "rate-limited") {
    advice.push(
      `${vendor} knows the token, but asks to slow down (429): requests may fail for a while`,
    );
  }
  if (validation === "restricted") {
    advice.push(
      `${vendor} knows the token, but it may not do what moat tried (403): what it may do was not tested`,
    );
  }
  if (tokenSource === "cli") {
    advice.push(
      `the token is the one of ${programName}, with all its permissions`,
    );
  }
  return advice;
}

function expiriesOf({ name, expiresAt }: Grant): Expiry[] {
  if (expiresAt === undefined) return [];
  return [{
    what: "token",
    expiresAt,
    warnAhead: [7 * DAY_MS, DAY_MS],
    hint: grantCommand(name),
  }];
}

/**
 * Only a program's token is asked for again. What was in the environment stays
 * as it was granted: a proxy's own environment is older than the grant.
 */
async function refreshToken(
  grant: Grant,
  options: TokenProviderOptions,
): Promise<Grant> {
  const { host, tokenSource } = readSettings(grant);
  const program = options.program?.(host);
  if (tokenSource !== "cli" || !program) return grant;
  const text = await program.run();
  if (text === undefined) {
    throw new MoatError(
      "no-token",
      `Cannot refresh grant "${grant.name}": ${program.command} has no token`,
      { hint: `sign in again, then ${grantCommand(grant.name)}` },
    );
  }
  const credential = parseToken(text, program.command);
  if (credential.reveal() === grant.credential?.reveal()) return grant;
  const { expiresAt: _, ...rest } = grant;
  return { ...rest, credential };
}
