/**
 * `moat grant aws`: checks what was asked, makes one real AssumeRole, and
 * returns a grant that holds the role and where the source is, but no secret.
 *
 * @module
 */

import { usageError } from "$core/errors.ts";
import type { Grant } from "$core/grant.ts";
import type { Flag, GrantRequest } from "$core/provider.ts";
import { parseRoleArn } from "./arn.ts";
import { MIN_DURATION_SECONDS, parseDuration } from "./duration.ts";
import { pickRegion } from "./region.ts";
import { type AwsSettings, type Source, writeSettings } from "./settings.ts";
import {
  checkProfile,
  readProfile,
  recordProfileEndpoint,
  recordSource,
  refuseOwnSource,
} from "./source.ts";
import { assumeRole, type StsContext } from "./sts.ts";

/** Command lines for the help of `moat grant`. */
export const GRANT_EXAMPLES: readonly string[] = [
  "moat grant aws --role arn:aws:iam::123456789012:role/Deploy",
  "moat grant aws --name prod --role arn:aws:iam::123456789012:role/Prod --session-duration 1h",
];

/** The flags of `moat grant aws`. */
export const GRANT_FLAGS: readonly Flag[] = [
  { name: "role", value: "ARN", summary: "Role to assume (required)" },
  {
    name: "region",
    value: "REGION",
    summary:
      "Region of STS and of the workload (default: environment, profile, then the partition's)",
  },
  {
    name: "session-duration",
    value: "DURATION",
    summary: "Life of a session, 15m to 12h (default: 15m)",
  },
  {
    name: "external-id",
    value: "ID",
    summary: "External ID that the role's trust policy asks for",
  },
  {
    name: "session-name",
    value: "NAME",
    summary: "Session name in CloudTrail (default: moat- and the binding)",
  },
  {
    name: "aws-profile",
    value: "PROFILE",
    summary: "Shared-config profile with the source credentials",
  },
];

/**
 * Makes a grant.
 *
 * @param request What was asked on the command line.
 * @param context Clock and environment.
 * @returns The grant, to be stored by the caller.
 * @throws {MoatError} `usage` for a bad flag, else a code of `errors.ts`.
 */
export async function grantAws(
  request: GrantRequest,
  context: StsContext,
): Promise<Grant> {
  const settings = await readFlags(request, context.env);
  if (request.validate) {
    await assumeRole(
      settings,
      settings.sessionName ?? "moat-grant",
      context,
    );
  }
  return {
    provider: "aws",
    name: request.name,
    createdAt: context.clock.now(),
    settings: writeSettings(settings),
  };
}

async function readFlags(
  request: GrantRequest,
  env: StsContext["env"],
): Promise<AwsSettings> {
  const flag = (name: string) => {
    const value = request.flags[name];
    return typeof value === "string" ? value : undefined;
  };
  const role = parseRoleArn(flag("role") ?? missingRole());
  const durationText = flag("session-duration");
  const externalId = checkExternalId(flag("external-id"));
  const sessionName = checkSessionName(flag("session-name"));
  const source = await findSource(env, flag("aws-profile"));
  const region = pickRegion(role.partition, [
    { region: flag("region"), from: "--region" },
    { region: env["AWS_REGION"], from: "AWS_REGION" },
    { region: env["AWS_DEFAULT_REGION"], from: "AWS_DEFAULT_REGION" },
    { region: (await readProfile(source)).region, from: source.configFile },
  ]);
  return {
    role: role.arn,
    region,
    durationSeconds: durationText === undefined
      ? MIN_DURATION_SECONDS
      : parseDuration(durationText),
    ...(externalId !== undefined && { externalId }),
    ...(sessionName !== undefined && { sessionName }),
    source,
  };
}

async function findSource(
  env: StsContext["env"],
  profile: string | undefined,
): Promise<Source> {
  const source = recordSource(env, profile);
  await checkProfile(source);
  await refuseOwnSource(source, env);
  return await recordProfileEndpoint(source, env);
}

function missingRole(): never {
  throw usageError(
    "Cannot grant aws: --role is missing",
    "moat grant aws --role arn:aws:iam::123456789012:role/Deploy",
  );
}

/** STS: 2 to 1,224 of letters, digits and `_+=,.@:/-`. */
function checkExternalId(text: string | undefined): string | undefined {
  if (text === undefined || /^[\w+=,.@:\/-]{2,1224}$/.test(text)) return text;
  throw usageError(
    "Cannot use this --external-id: wanted 2 to 1224 letters, digits or _+=,.@:/-",
    "copy the external ID from the role's trust policy",
  );
}

/** STS: 2 to 64 of letters, digits and `_+=,.@-`. */
function checkSessionName(text: string | undefined): string | undefined {
  if (text === undefined || /^[\w+=,.@-]{2,64}$/.test(text)) return text;
  throw usageError(
    `Cannot use ${
      JSON.stringify(text)
    } as session name: wanted 2 to 64 letters, digits or _+=,.@-`,
    "leave --session-name out for moat's own",
  );
}
