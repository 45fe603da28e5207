/**
 * The flags of `moat grant aws`: one table drives help, completions, the
 * checks and the reading into settings. Which flags go together follows from
 * the calls that will be made: each row names those that take it. Half of this
 * file is the table; what concerns sources, MFA and Roles Anywhere is read in
 * files of their own.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html | AssumeRole}
 * @see {@link https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html | AssumeRoleWithWebIdentity}
 */

import { resolve } from "node:path";
import { type MoatError, usageError } from "$core/errors.ts";
import type { Flag, FlagValues, GrantRequest } from "$core/provider.ts";
import type { Secret } from "$core/secret.ts";
import { ANYWHERE_FLAGS } from "./anywhere_flags.ts";
import {
  askPassphrase,
  readAnywhere,
  requireAnywhereFlags,
} from "./anywhere.ts";
import { parseRoleArn, type RoleArn } from "../arn.ts";
import {
  formatDuration,
  MIN_DURATION_SECONDS,
  parseDuration,
} from "../duration.ts";
import { MAX_CHAINED_SECONDS } from "../hops.ts";
import { readMfa } from "./mfa.ts";
import {
  checkExternalId,
  checkPolicyArns,
  checkSourceIdentity,
  checkTagKey,
  checkTagSet,
  checkTransitiveTags,
  DIRECT,
  isDirect,
  readPolicy,
  readTags,
  valuesOf,
} from "./values.ts";
import { checkSessionName } from "../session_name.ts";
import { type AwsSettings, SOURCE_KINDS } from "../settings.ts";
import type { Environment } from "../source.ts";

/** What the flags of `moat grant aws` say. */
export interface GrantInput {
  /** The grant's settings. */
  readonly settings: AwsSettings;
  /** Of the private key for Roles Anywhere, as a person typed it. */
  readonly passphrase?: Secret;
  /** Six digits of the MFA device, to be used at once. */
  readonly mfaCode?: string;
}

/** What gives credentials, and so decides which calls there are. */
type Call =
  | "AssumeRole"
  | "AssumeRoleWithWebIdentity"
  | "CreateSession"
  | "direct";

/** One row of the table. */
interface Option extends Flag {
  /** Calls for the first role that take it. Absent, with `last`: all. */
  readonly first?: readonly Call[];
  /** Calls for the last role that take it. */
  readonly last?: readonly Call[];
  /** What its values set; absent for what is read with other flags. */
  readonly read?: (
    values: readonly string[],
    role: RoleArn | undefined,
  ) => Partial<AwsSettings> | Promise<Partial<AwsSettings>>;
}

const ASSUME: readonly Call[] = ["AssumeRole"];
const STS: readonly Call[] = ["AssumeRole", "AssumeRoleWithWebIdentity"];
const ANY_ROLE: readonly Call[] = [...STS, "CreateSession"];
const FROM_SOURCE: readonly Call[] = ["AssumeRole", "direct"];

const OPTIONS: readonly Option[] = [
  {
    name: "role",
    value: "ARN",
    summary: "Role to assume; several are assumed one from another",
    repeatable: true,
  },
  {
    name: "region",
    value: "REGION",
    summary:
      "Region of STS and of the workload (default: environment, profile, then the partition's)",
  },
  {
    name: "session-duration",
    value: "DURATION",
    summary:
      "Life of a session, 15m to 12h, with several roles at most 1h (default: 15m; by web identity alone, STS's own)",
    last: ANY_ROLE,
    read: ([text = ""]) => ({ durationSeconds: parseDuration(text) }),
  },
  {
    name: "external-id",
    value: "ID",
    summary: "External ID that the last role's trust policy asks for",
    last: ASSUME,
    read: ([text = ""]) => ({ externalId: checkExternalId(text) }),
  },
  {
    name: "session-name",
    value: "TEMPLATE",
    summary:
      "Session name in CloudTrail; {binding}, {run}, {container}, {user} are filled in (default: moat-{binding})",
    last: ANY_ROLE,
    read: ([text = ""]) => ({ sessionName: checkSessionName(text) }),
  },
  {
    name: "policy",
    value: "FILE|JSON",
    summary: "Inline session policy, at most 2048 characters",
    last: STS,
    read: async ([text = ""]) => ({ policy: await readPolicy(text) }),
  },
  {
    name: "policy-arn",
    value: "ARN",
    summary: "Managed session policy, at most 10",
    repeatable: true,
    last: STS,
    read: (arns, role) =>
      role ? { policyArns: checkPolicyArns(arns, role) } : {},
  },
  {
    name: "tag",
    value: "KEY=VALUE",
    summary: "Session tag, at most 50",
    repeatable: true,
    last: ASSUME,
    read: (texts) => ({ tags: readTags(texts) }),
  },
  {
    name: "label-tag",
    value: "KEY",
    summary: "Container label that becomes a session tag",
    repeatable: true,
    // Of a direct grant, for the roles that containers name.
    last: FROM_SOURCE,
    read: (keys) => ({
      labelTags: keys.map((key) => checkTagKey("--label-tag", key)),
    }),
  },
  {
    name: "transitive-tag",
    value: "KEY",
    summary: "Key of a tag that passes on to further roles",
    repeatable: true,
    first: ASSUME,
    read: (keys) => ({ transitiveTags: keys }),
  },
  {
    name: "source-identity",
    value: "NAME",
    summary: "STS's source identity, for CloudTrail and trust policies",
    first: ASSUME,
    read: ([text = ""]) => ({ sourceIdentity: checkSourceIdentity(text) }),
  },
  {
    name: "mfa-serial",
    value: "ARN",
    summary: "Serial number or ARN of the MFA device for the first role",
    first: FROM_SOURCE,
  },
  {
    name: "mfa-code",
    value: "CODE",
    summary: "Six digits of the device (default: asks at the terminal)",
    first: FROM_SOURCE,
  },
  {
    name: "mfa-command",
    value: "PROGRAM",
    summary: "Command line that prints a code, whenever one is wanted",
    first: FROM_SOURCE,
  },
  {
    name: "source",
    value: "KIND",
    summary: `Where the source credentials are, in the order given: ${
      SOURCE_KINDS.join(", ")
    } (default: all); ${DIRECT} hands them out without a role`,
    repeatable: true,
    first: FROM_SOURCE,
  },
  {
    name: "aws-profile",
    value: "PROFILE",
    summary: "Shared-config profile with the source credentials",
    first: FROM_SOURCE,
  },
  {
    name: "web-identity-token-file",
    value: "FILE",
    summary: "Token that opens the first role (AssumeRoleWithWebIdentity)",
    read: ([path = ""]) => ({ webIdentityTokenFile: resolve(path) }),
  },
  ...ANYWHERE_FLAGS,
];

/** The flags of `moat grant aws`. */
export const GRANT_FLAGS: readonly Flag[] = OPTIONS.map(
  ({ first: _, last: __, read: ___, ...flag }) => flag,
);

/**
 * Reads and checks the flags of `moat grant aws`. Makes no call.
 *
 * @param request What was asked on the command line; with `validate` it may
 * ask for a passphrase and an MFA code.
 * @param env The environment of `moat grant`.
 * @returns Settings, and what must not be among them.
 * @throws {MoatError} `usage`, or `source-is-moat`.
 */
export async function readGrantFlags(
  request: GrantRequest,
  env: Environment,
): Promise<GrantInput> {
  const { flags, ask } = request;
  const call = firstCall(flags);
  const roles = readRoles(flags, call);
  checkFit(flags, call, roles.length > 1 ? "AssumeRole" : call);
  const options = await readOptions(flags, roles);
  const anywhere = call === "CreateSession" && roles[0]
    ? readAnywhere(flags, roles[0].partition)
    : undefined;
  // They are for this command alone; a proxy, which lists the flags, needs none.
  const { findRegion, findSource } = await import("./source.ts");
  const { recordAddress } = await import("../source.ts");
  const source = await findSource(
    flags,
    env,
    FROM_SOURCE.includes(call),
  );
  const { mfa, mfaCode } = await readMfa(request);
  const passphrase = anywhere && await askPassphrase(anywhere, ask);
  return {
    settings: {
      roles: roles.map((role) => role.arn),
      region: await findRegion(flags, env, source, roles[0], anywhere),
      ...durationOf(call, roles.length),
      ...options,
      ...(call === "direct" && { direct: true }),
      ...(mfa && { mfa }),
      ...(anywhere && { anywhere }),
      source,
      ...await recordAddress(env, source),
    },
    ...(passphrase && { passphrase }),
    ...(mfaCode !== undefined && { mfaCode }),
  };
}

/** The four ways in exclude each other. */
function firstCall(flags: FlagValues): Call {
  const anywhereFlag = ANYWHERE_FLAGS.find(({ name }) => flags[name]);
  const ways: [Call, string | undefined][] = [
    ["direct", isDirect(flags) ? `--source ${DIRECT}` : undefined],
    [
      "AssumeRoleWithWebIdentity",
      flags["web-identity-token-file"]
        ? "--web-identity-token-file"
        : undefined,
    ],
    ["CreateSession", anywhereFlag && `--${anywhereFlag.name}`],
  ];
  const [found, second] = ways.filter(([, flag]) => flag !== undefined);
  if (!second) return found?.[0] ?? "AssumeRole";
  throw usageError(
    `Cannot combine ${found?.[1]} with ${
      second[1]
    }: each says where the first credentials come from`,
    "leave one of them out",
  );
}

function readRoles(flags: FlagValues, call: Call): RoleArn[] {
  if (call === "CreateSession") requireAnywhereFlags(flags, "role", true);
  const roles = valuesOf(flags, "role").map(parseRoleArn);
  const [first] = roles;
  if (call === "direct" && first) {
    throw usageError(
      `Cannot combine --source ${DIRECT} with --role: it hands out the source's own session`,
      "leave one of them out",
    );
  }
  if (call !== "direct" && !first) throw missingRole();
  const foreign = roles.find((role) => role.partition !== first?.partition);
  if (!foreign) return roles;
  throw usageError(
    `Cannot assume ${foreign.arn} from ${first?.arn}: they are in the partitions "${foreign.partition}" and "${first?.partition}"`,
    "roles are only assumed within one partition",
  );
}

/** Every flag must reach a call that takes it: none is dropped silently. */
function checkFit(flags: FlagValues, firstCall: Call, lastCall: Call): void {
  for (const { name, first, last } of OPTIONS) {
    if (flags[name] === undefined) continue;
    if (first && !first.includes(firstCall)) {
      throw misfit(name, firstCall, `leave --${name} out`);
    }
    if (last && !last.includes(lastCall)) {
      throw misfit(
        name,
        lastCall,
        lastCall === "direct"
          ? `grant a role instead of --source ${DIRECT}`
          : `leave --${name} out, or add a second --role, which is assumed from the first and takes it`,
      );
    }
  }
}

async function readOptions(
  flags: FlagValues,
  roles: readonly RoleArn[],
): Promise<Partial<AwsSettings>> {
  let settings: Partial<AwsSettings> = {};
  for (const { name, read } of OPTIONS) {
    const values = valuesOf(flags, name);
    if (!read || values.length === 0) continue;
    settings = { ...settings, ...await read(values, roles.at(-1)) };
  }
  const { durationSeconds, transitiveTags, labelTags = [] } = settings;
  const keys = [...tagKeys(flags), ...labelTags];
  checkTagSet(keys);
  if (transitiveTags) checkTransitiveTags(transitiveTags, keys);
  if (roles.length > 1) checkChained(durationSeconds);
  return settings;
}

/** As given: in the settings a key is there once, whatever was given. */
function tagKeys(flags: FlagValues): string[] {
  return valuesOf(flags, "tag").map((text) => text.split("=", 1)[0] ?? "");
}

function checkChained(durationSeconds = 0): void {
  if (durationSeconds <= MAX_CHAINED_SECONDS) return;
  throw usageError(
    `Cannot make sessions of ${
      formatDuration(durationSeconds)
    }: a role that is assumed from another role's session lasts ${
      formatDuration(MAX_CHAINED_SECONDS)
    } at most`,
    `give --session-duration ${formatDuration(MAX_CHAINED_SECONDS)} or less`,
  );
}

/** Go's `stscreds` has 15 minutes too, and none for web identity. */
function durationOf(
  call: Call,
  roleCount: number,
): Pick<AwsSettings, "durationSeconds"> {
  if (call === "direct") return {};
  if (call === "AssumeRoleWithWebIdentity" && roleCount === 1) return {};
  return { durationSeconds: MIN_DURATION_SECONDS };
}

function missingRole(): MoatError {
  return usageError(
    "Cannot grant aws: --role is missing",
    "moat grant aws --role arn:aws:iam::123456789012:role/Deploy",
  );
}

function misfit(name: string, call: Call, hint: string): MoatError {
  const ways: Record<Call, string> = {
    AssumeRole: "source credentials: AssumeRole",
    AssumeRoleWithWebIdentity:
      "a web identity token: AssumeRoleWithWebIdentity",
    CreateSession: "Roles Anywhere: CreateSession",
    direct: `--source ${DIRECT}: the source's own session`,
  };
  return usageError(
    `Cannot use --${name} with ${ways[call]} does not take it`,
    hint,
  );
}
