/**
 * Bindings of one container: what a person writes, and what cannot be.
 *
 * @module
 */

import type { ContainerMatch } from "$core/container.ts";
import { MoatError, usageError } from "$core/errors.ts";
import type { Grant } from "$core/grant.ts";
import { OTHER_ADDRESS } from "$core/metadata.ts";
import type { FlagValues, Mode, ProviderRegistry } from "$core/provider.ts";
import type { Reach } from "$core/reach.ts";
import { UNPRINTABLE } from "$core/text.ts";
import { isIntercepted } from "../intercept/client_env.ts";
import { POLICY_FLAGS } from "./policy_flags.ts";

/**
 * Says how to serve instance metadata. Each user has a proxy, with grants, of
 * its own: root's is of no use to another one.
 */
export function metadataCommand(): string {
  return Deno.uid() === 0
    ? "moat network-rules --apply, then moat proxy --imds"
    : `sudo moat network-rules --to ${OTHER_ADDRESS} --apply, then moat proxy --imds ${OTHER_ADDRESS}`;
}

/**
 * Reads the value of `--container`.
 *
 * @param text `NAME` or `label:KEY=VALUE`.
 * @returns Which container is meant.
 * @throws {MoatError} `usage` for anything else.
 */
export function parseContainer(text: string): ContainerMatch {
  const [, key, value = ""] = /^label:([^=]+)=(.*)$/s.exec(text) ?? [];
  if (key !== undefined && text.search(UNPRINTABLE) < 0) {
    return { label: { key, value } };
  }
  if (/^[A-Za-z0-9][\w.-]*$/.test(text)) return { name: text };
  throw usageError(
    `Cannot use ${
      JSON.stringify(text.slice(0, 80))
    } as --container: wanted a container's name or a label`,
    "write --container web or --container label:app=web",
  );
}

/**
 * Writes which container is meant, as {@link parseContainer} reads it.
 *
 * @param match Which one.
 * @returns `NAME`, `label:KEY=VALUE`, or both with `and` between them.
 */
export function formatContainer({ name, label }: ContainerMatch): string {
  return [name ?? [], label ? `label:${label.key}=${label.value}` : []].flat()
    .join(" and ");
}

/**
 * Warns of what is wider than it looks.
 *
 * @param match Whose binding it is.
 * @param isTokenless Whether that alone is what its client shows.
 * @returns Sentences; none for a name, which only who starts containers gives.
 */
export function matchWarnings(
  { name, label }: ContainerMatch,
  isTokenless: boolean,
): readonly string[] {
  if (!isTokenless || name !== undefined || !label) return [];
  return [
    `any image can carry the label ${label.key}=${label.value}, ` +
    "and its containers then have this binding: --container NAME prevents that",
  ];
}

/**
 * Refuses what a client without a token cannot have: the intercepting proxy
 * asks for one.
 *
 * @param registry All providers.
 * @param grants Its grants.
 * @throws {MoatError} `usage`.
 */
export function refuseIntercepted(
  registry: ProviderRegistry,
  grants: readonly Grant[],
): void {
  const found = grants.find((grant) =>
    isIntercepted(registry, [grant], undefined)
  );
  if (!found) return;
  throw usageError(
    `Cannot use ${found.name} without a token: the intercepting proxy asks for one`,
    `bind ${found.name} by itself, in a mode with a token`,
  );
}

/**
 * Refuses flags that mean nothing to a client without a token.
 *
 * @param mode Its mode.
 * @param flags The command's flags.
 * @throws {MoatError} `usage`.
 */
export function refuseTokenFlags({ name }: Mode, flags: FlagValues): void {
  const own = POLICY_FLAGS.filter((flag) => flag.repeatable);
  const given = ["token-file", ...own.map((flag) => flag.name)]
    .find((flag) => flags[flag] !== undefined);
  if (given === undefined) return;
  throw usageError(
    `Cannot use --${given} in mode ${name}: its clients have no token`,
    `leave --${given} out, or use another mode`,
  );
}

/**
 * Refuses a way on which a client's own address does not come along.
 *
 * @param reach The way; undefined for one that a person arranges.
 * @throws {MoatError} `usage`.
 */
export function refuseHiddenAddress(reach: Reach | undefined): void {
  const reasons: Partial<Record<Reach["by"], string>> = {
    loopback: "on loopback every client has the host's address",
    name: "the engine's machine forwards it under the host's address",
    socket: "a relay's clients have no address, and nobody else has its socket",
  };
  const reason = reach && reasons[reach.by];
  if (reason === undefined) return;
  throw usageError(
    `Cannot use --container here: ${reason}`,
    reach?.by === "loopback"
      ? "add --engine docker or --engine podman, and --network for one of its own"
      : "leave --container out",
  );
}

/**
 * The error for a client that would ask where nothing is served.
 *
 * @param action What was tried, such as `bind a client`.
 * @param isRunning Whether a proxy runs.
 * @returns A `not-reachable`, to be thrown by the caller.
 */
export function noMetadata(action: string, isRunning: boolean): MoatError {
  return new MoatError(
    "not-reachable",
    `Cannot ${action} in mode imds: ${
      isRunning
        ? "the running proxy serves no instance metadata"
        : "no proxy of this user is running that serves instance metadata"
    }`,
    { hint: `${isRunning ? "stop it; " : ""}${metadataCommand()}` },
  );
}
