/**
 * Reads the flags of `moat grant aws` that say where its own credentials are,
 * and in which region.
 *
 * @module
 */

import { type MoatError, usageError } from "$core/errors.ts";
import type { FlagValues } from "$core/provider.ts";
import type { RoleArn } from "../arn.ts";
import { DIRECT, valuesOf } from "./values.ts";
import { partitionOf, pickRegion } from "../region.ts";
import {
  type Anywhere,
  type Source,
  SOURCE_KINDS,
  type SourceKind,
} from "../settings.ts";
import {
  checkProfile,
  type Environment,
  readProfile,
  recordSource,
  refuseOwnSource,
} from "../source.ts";

/**
 * Records the source that flags and environment name.
 *
 * @param flags What was given.
 * @param env The environment of `moat grant`.
 * @param isUsed Whether its credentials will be used; then it is checked.
 * @returns The source, with absolute paths.
 * @throws {MoatError} `usage`, or `source-is-moat`.
 */
export async function findSource(
  flags: FlagValues,
  env: Environment,
  isUsed: boolean,
): Promise<Source> {
  const order = readOrder(flags);
  const [profile] = valuesOf(flags, "aws-profile");
  if (profile !== undefined && order && !order.includes("profile")) {
    throw usageError(
      `Cannot combine --aws-profile with --source ${order.join(" --source ")}`,
      "add --source profile, or leave --aws-profile out",
    );
  }
  const source = recordSource(env, {
    ...(profile !== undefined && { profile }),
    ...(order && { order }),
  });
  if (!isUsed) return source;
  await checkProfile(source);
  await refuseOwnSource(source, env);
  return source;
}

function readOrder(flags: FlagValues): SourceKind[] | undefined {
  const given = valuesOf(flags, "source");
  for (const [i, kind] of given.entries()) {
    if (given.indexOf(kind) < i) {
      throw usageError(
        `Cannot use --source ${kind} twice`,
        "give each kind once, in the order in which to try them",
      );
    }
    if (kind !== DIRECT && !isSourceKind(kind)) throw unknownSource(kind);
  }
  const order = given.filter(isSourceKind);
  return order.length > 0 ? order : undefined;
}

function isSourceKind(kind: string): kind is SourceKind {
  return SOURCE_KINDS.some((known) => known === kind);
}

/**
 * Finds the region of STS and of the workload.
 *
 * @param flags What was given.
 * @param env The environment of `moat grant`.
 * @param source Its profile may name the region.
 * @param role Decides the partition; absent with `--source direct`.
 * @param anywhere Its region is taken when nothing else names one.
 * @returns The region.
 * @throws {MoatError} `usage` if it is no region of the role's partition.
 */
export async function findRegion(
  flags: FlagValues,
  env: Environment,
  source: Source,
  role: RoleArn | undefined,
  anywhere: Anywhere | undefined,
): Promise<string> {
  const choices = [
    { region: valuesOf(flags, "region")[0], from: "--region" },
    { region: env["AWS_REGION"], from: "AWS_REGION" },
    { region: env["AWS_DEFAULT_REGION"], from: "AWS_DEFAULT_REGION" },
    { region: (await readProfile(source)).region, from: source.configFile },
    { region: anywhere?.region, from: "--trust-anchor-arn" },
  ];
  const { region = "" } = choices.find((choice) => choice.region) ?? {};
  // Without a role any partition will do.
  return pickRegion(role?.partition ?? partitionOf(region), choices);
}

function unknownSource(kind: string): MoatError {
  return usageError(
    `Cannot use --source ${JSON.stringify(kind)}: wanted one of ${
      SOURCE_KINDS.join(", ")
    }, ${DIRECT}`,
    "leave --source out to try them all",
  );
}
