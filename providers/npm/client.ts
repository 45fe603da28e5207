/**
 * What a client of npm registries gets: a file for npm with placeholders, and
 * the variables that name it.
 *
 * yarn 1 and pnpm read the same file. The proxy puts the credential on requests
 * that have none, too, so any other program needs the registry's URL alone.
 *
 * @module
 */

import type { Grant } from "$core/grant.ts";
import type { Container, MountedFile } from "$core/provider.ts";
import { placeholderFor } from "../tokens/placeholder.ts";
import { placeholderVariables } from "../tokens/variables.ts";
import { TOKEN_VARIABLE } from "./grant.ts";
import { keyOf, registryUrl } from "./place.ts";
import { readSettings } from "./settings.ts";

/** npm takes both spellings, and other programs one of them. */
const FILE_VARIABLES = ["NPM_CONFIG_USERCONFIG", "npm_config_userconfig"];

/** What would lead npm elsewhere, or holds a token on many a machine. */
export const CONFLICTING_ENV: readonly string[] = [
  ...FILE_VARIABLES,
  "NPM_CONFIG_REGISTRY",
  "npm_config_registry",
  TOKEN_VARIABLE,
  "NODE_AUTH_TOKEN",
];

/**
 * Makes the placeholder of a grant: a prefix and 36 characters, as npm's own
 * tokens have.
 *
 * @param name The grant's full name.
 */
export function npmPlaceholder(name: string): string {
  return placeholderFor(name, { prefix: "npm_", length: 36 });
}

/** Each grant has a file of its own; the first of a binding is npm's. */
function filePath(name: string): string {
  const [, suffix] = name.split(":");
  return suffix === undefined ? "npm/npmrc" : `npm/npmrc-${suffix}`;
}

/**
 * Makes the variables of a client.
 *
 * @param grant A grant of npm registries.
 * @param container Where the files are.
 */
export function containerEnv(
  grant: Grant,
  { directory }: Pick<Container, "directory">,
): Record<string, string> {
  const file = directory && `${directory}/${filePath(grant.name)}`;
  return {
    // Files of projects name this variable.
    ...placeholderVariables(
      grant.name,
      [TOKEN_VARIABLE],
      npmPlaceholder(grant.name),
    ),
    ...Object.fromEntries(
      file ? FILE_VARIABLES.map((variable) => [variable, file]) : [],
    ),
  };
}

/**
 * Makes the files of a client.
 *
 * @param grant A grant of npm registries.
 */
export function containerMounts(grant: Grant): MountedFile[] {
  const { registries, credentials } = readSettings(grant);
  const placeholder = npmPlaceholder(grant.name);
  const lines = [
    ...registries.flatMap((registry) => [
      ...registry.isDefault ? [`registry=${registryUrl(registry)}`] : [],
      ...registry.scopes.map((scope) =>
        `${scope}:registry=${registryUrl(registry)}`
      ),
    ]),
    ...credentials.map((place) => `${keyOf(place)}:_authToken=${placeholder}`),
  ];
  return [{
    path: filePath(grant.name),
    mode: 0o444,
    content: lines.map((line) => line + "\n").join(""),
  }];
}
