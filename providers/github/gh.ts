/**
 * The token that the program `gh` has.
 *
 * @module
 * @see {@link https://cli.github.com/manual/gh_auth_token | gh auth token}
 */

import type { Platform } from "$core/platform.ts";
import type { TokenProgram } from "../tokens/obtain.ts";
import { runProgram } from "../tokens/program.ts";

/** Unlocking a keyring may ask the person at the desktop. */
const TIMEOUT_MS = 30_000;

/**
 * Variables that `gh` prefers to what it has stored. They count before `gh` is
 * asked; a proxy's own are older than the grant that it refreshes.
 *
 * @see {@link https://cli.github.com/manual/gh_help_environment | gh help environment}
 */
export const GH_VARIABLES: readonly string[] = [
  "GH_TOKEN",
  "GITHUB_TOKEN",
  "GH_ENTERPRISE_TOKEN",
  "GITHUB_ENTERPRISE_TOKEN",
];

/**
 * Makes what asks `gh`.
 *
 * @param host Whose token.
 * @param platform Clock, and the environment that finds `gh` and its files.
 * @returns The program; nothing is run yet.
 */
export function ghProgram(host: string, platform: Platform): TokenProgram {
  return {
    command: `gh auth token --hostname ${host}`,
    run: () =>
      runProgram({
        command: "gh",
        args: ["auth", "token", "--hostname", host],
        env: withoutTokens(platform.env),
        timeoutMs: TIMEOUT_MS,
        clock: platform.clock,
      }),
  };
}

function withoutTokens(env: Platform["env"]): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => !GH_VARIABLES.includes(name)),
  );
}
