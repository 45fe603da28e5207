/**
 * `moat grant npm`.
 *
 * @module
 */

import { MoatError, usageError } from "$core/errors.ts";
import type { Grant, JsonObject } from "$core/grant.ts";
import type { Platform } from "$core/platform.ts";
import type { Flag, FlagValues, GrantRequest } from "$core/provider.ts";
import { Secret } from "$core/secret.ts";
import { obtainToken, TOKEN_FILE_FLAG } from "../tokens/obtain.ts";
import { type Credential, findCredentials } from "./credentials.ts";
import { type Npm, type NpmConfig, readNpmConfig } from "./npm_config.ts";
import {
  covers,
  keyOf,
  parseRegistry,
  type Place,
  registryUrl,
} from "./place.ts";
import {
  type CredentialSettings,
  type NpmSettings,
  packCredentials,
  type RegistrySettings,
} from "./settings.ts";
import { tryCredential } from "./validate.ts";

/** Where npm's users and their CI have a token. */
export const TOKEN_VARIABLE = "NPM_TOKEN";

/** A scope of packages, such as `@acme`. */
const SCOPE = /^@[a-z0-9~_-][a-z0-9._~-]{0,213}$/i;

/** Flags of `moat grant npm`. */
export const GRANT_FLAGS: readonly Flag[] = [
  {
    name: "registry",
    value: "URL",
    summary:
      "Grant this registry alone (default: all that npm has credentials for)",
  },
  {
    name: "scope",
    value: "@SCOPE",
    summary: "Use --registry for the packages of this scope, not for all",
    repeatable: true,
  },
  TOKEN_FILE_FLAG,
];

/** What a grant is made of. */
interface Obtained {
  readonly credentials: readonly Credential[];
  readonly origin: Pick<NpmSettings, "tokenSource" | "tokenVariable">;
  readonly skipped: readonly string[];
}

/**
 * Obtains and validates the credentials of npm registries: those that npm is
 * configured with, unless a token was given; else a token for one registry.
 *
 * @param request What was asked.
 * @param platform Clock and environment.
 * @param npm How npm is asked.
 * @returns The grant.
 * @throws {MoatError} `usage`, `bad-npmrc`, `no-registry`, or those of tokens.
 */
export async function grantNpm(
  request: GrantRequest,
  platform: Platform,
  npm: Npm,
): Promise<Grant> {
  const config = await readNpmConfig(platform, npm);
  const asked = readFlags(request.flags);
  const registries = asked ?? configured(config);
  const { credentials, origin, skipped } = await obtain(
    request,
    platform,
    config,
    registries,
  );
  const tried: CredentialSettings[] = [];
  for (const credential of credentials) {
    const { place, kind } = credential;
    const validation = request.validate || place.scheme === "http"
      ? await tryCredential(credential, registries, platform)
      : "skipped";
    tried.push({ ...place, kind, validation });
  }
  return {
    provider: "npm",
    name: request.name,
    createdAt: platform.clock.now(),
    settings: {
      registries: registries.map((registry) => ({ ...registry })),
      credentials: tried.map((place) => ({ ...place })),
      ...origin,
      skipped,
    } satisfies JsonObject,
    credential: packCredentials(
      Object.fromEntries(
        credentials.map(({ place, authorization }) => [
          keyOf(place),
          authorization,
        ]),
      ),
    ),
  };
}

/** The registry that was asked for, if one was. */
function readFlags(flags: FlagValues): RegistrySettings[] | undefined {
  const { registry: text, scope = [] } = flags;
  const scopes = Array.isArray(scope) ? scope : [scope];
  for (const each of scopes) {
    if (SCOPE.test(each)) continue;
    throw usageError(
      `Cannot use ${JSON.stringify(each.slice(0, 80))} as --scope`,
      "write --scope @acme",
    );
  }
  if (typeof text !== "string") {
    if (scopes.length === 0) return undefined;
    throw usageError(
      "Cannot use --scope without --registry",
      "add --registry URL",
    );
  }
  const place = parseRegistry(text);
  // The text is not repeated: it may have a password.
  if (!place) {
    throw usageError(
      "Cannot use --registry: wanted an https:// URL without user and query",
      "write --registry https://registry.example.com/npm/",
    );
  }
  return [{ ...place, scopes, isDefault: scopes.length === 0 }];
}

/** The registries that npm uses, each once. */
function configured({ registry, scopes }: NpmConfig): RegistrySettings[] {
  const found = new Map<string, RegistrySettings>();
  const add = (url: string, setting: string) => {
    const place = parseRegistry(url);
    if (!place) throw badUrl(setting);
    const entry = found.get(registryUrl(place)) ??
      { ...place, scopes: [], isDefault: false };
    found.set(registryUrl(place), entry);
    return entry;
  };
  if (registry !== undefined) add(registry, "registry").isDefault = true;
  for (const [scope, url] of Object.entries(scopes)) {
    if (SCOPE.test(scope)) add(url, `${scope}:registry`).scopes.push(scope);
  }
  return [...found.values()];
}

function badUrl(setting: string): MoatError {
  return new MoatError(
    "bad-npmrc",
    `Cannot use npm's setting ${setting}: wanted an https:// URL without user and query`,
    { hint: `npm config set ${setting} URL` },
  );
}

async function obtain(
  request: GrantRequest,
  platform: Platform,
  config: NpmConfig,
  registries: readonly RegistrySettings[],
): Promise<Obtained> {
  const isAsked = request.flags["registry"] !== undefined;
  const configured = request.flags[TOKEN_FILE_FLAG.name] === undefined
    ? fromNpm(config, registries, isAsked)
    : undefined;
  if (configured) return configured;
  // A scope's registry gets no token that was not meant for it.
  const place = registries.find(({ isDefault }) => isAsked || isDefault);
  if (!place) throw noRegistry();
  if (!isAsked && !isOwn(place, config)) throw registryOfProject(place);
  return await fromToken(request, platform, place);
}

/** What npm is configured with; undefined if that is nothing. */
function fromNpm(
  { settings }: NpmConfig,
  registries: readonly RegistrySettings[],
  isAsked: boolean,
): Obtained | undefined {
  const found = findCredentials(settings, registries);
  const { skipped } = found;
  const credentials = isAsked
    ? nearest(found.credentials, registries)
    : found.credentials;
  if (credentials.length > 0) {
    return { credentials, origin: { tokenSource: "npmrc" }, skipped };
  }
  // Their token is not the default registry's.
  const [sentence] = skipped;
  if (!isAsked && sentence !== undefined) throw nothingUsable(sentence);
  return undefined;
}

async function fromToken(
  request: GrantRequest,
  { env }: Platform,
  { scheme, host, path }: Place,
): Promise<Obtained> {
  const place = { scheme, host, path };
  const url = registryUrl(place);
  const { token, origin } = await obtainToken(request, {
    what: `token for ${url}`,
    env,
    variables: [TOKEN_VARIABLE],
    hint: `npm login --registry ${url}`,
  });
  const authorization = new Secret(`Bearer ${token.reveal()}`);
  return {
    credentials: [{ place, kind: "bearer", authorization }],
    origin,
    skipped: [],
  };
}

/** As npm does: the one at the registry, else the next one above it. */
function nearest(
  credentials: readonly Credential[],
  registries: readonly Place[],
): readonly Credential[] {
  return credentials
    .filter(({ place }) => registries.some((one) => covers(place, one)))
    .toSorted((a, b) => b.place.path.length - a.place.path.length)
    .slice(0, 1);
}

function nothingUsable(sentence: string): MoatError {
  return new MoatError(
    "no-credential",
    `Cannot use npm's credentials: ${sentence}`,
    { hint: "moat grant npm --registry URL grants one registry" },
  );
}

/** Any other is from the project, whose author may have chosen it. */
function isOwn(place: Place, { ownRegistry = "" }: NpmConfig): boolean {
  const own = parseRegistry(ownRegistry);
  return own !== undefined && registryUrl(own) === registryUrl(place);
}

function registryOfProject(place: Place): MoatError {
  const url = registryUrl(place);
  return new MoatError(
    "registry-of-project",
    `Cannot give a token to ${url}: the project's own .npmrc chose that registry`,
    { hint: `if it is meant: moat grant npm --registry ${url}` },
  );
}

function noRegistry(): MoatError {
  return new MoatError(
    "no-registry",
    "Cannot tell which registry to grant: neither npm nor your own .npmrc has a default one",
    { hint: "name it with --registry URL" },
  );
}
