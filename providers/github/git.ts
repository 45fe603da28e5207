/**
 * Settings of git, in its environment: a file of ours in the place of the
 * user's own would hide that one.
 *
 * @module
 * @see {@link https://git-scm.com/docs/git-config#Documentation/git-config.txt-GITCONFIGCOUNT | GIT_CONFIG_COUNT}
 */

import { PORT } from "./hosts.ts";

/**
 * Makes git use https, and show its proxy the password at once.
 *
 * The proxy puts the token on every request, so git is never asked for one and
 * needs no credential helper.
 *
 * @param hosts Git servers, as an `Injection` has them.
 * @returns Variables for git 2.31 and later.
 */
export function gitVariables(hosts: readonly string[]): Record<string, string> {
  const settings = [
    // Otherwise libcurl connects without it first, to be told what is wanted.
    ["http.proxyAuthMethod", "basic"],
    ...hosts.flatMap((host) => {
      const key = `url.https://${host}/.insteadOf`;
      const name = host.replace(PORT, "");
      return [[key, `git@${name}:`], [key, `ssh://git@${name}/`]];
    }),
  ];
  return Object.fromEntries([
    ["GIT_TERMINAL_PROMPT", "0"],
    ["GIT_CONFIG_COUNT", String(settings.length)],
    ...settings.flatMap(([key, value], index) => [
      [`GIT_CONFIG_KEY_${index}`, key],
      [`GIT_CONFIG_VALUE_${index}`, value],
    ]),
  ]);
}
