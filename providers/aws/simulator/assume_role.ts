/**
 * The simulated AssumeRole: its parameters' rules and the trust policy.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html | AssumeRole}
 */

import { createHash } from "node:crypto";
import { parseRoleArn, type RoleArn } from "../arn.ts";
import { MAX_DURATION_SECONDS, MIN_DURATION_SECONDS } from "../duration.ts";
import {
  type AccessKey,
  awsId,
  type KeyRing,
  mintSessionKey,
  type SessionKey,
} from "./keys.ts";
import { Refusal, validationError } from "./refusal.ts";
import type { XmlContent } from "./xml.ts";

/** How the simulated account is set up. */
export interface TrustSettings {
  /** ARNs of the roles that exist; empty if every role does. */
  readonly roles: readonly string[];
  /** What every trust policy wants as `sts:ExternalId`. */
  readonly externalId?: string;
  /** Of every role, in seconds. */
  readonly maxSessionSeconds: number;
}

/** An authenticated call of an action. */
export interface Call {
  /** The access key that signed it. */
  readonly caller: AccessKey;
  /** As the client sent them; the first of a name counts. */
  readonly parameters: URLSearchParams;
  /** In ms since the Unix epoch. */
  readonly now: number;
}

/** AWS's default for `DurationSeconds`. */
const DEFAULT_SECONDS = 3600;

/** AWS's bound when a session assumes a further role. */
const MAX_CHAINED_SECONDS = 3600;

/** The rules of AWS's model; an ARN is read apart from them. */
const TEXT_RULES = {
  RoleArn: { min: 20, max: 2048, pattern: undefined },
  RoleSessionName: { min: 2, max: 64, pattern: String.raw`[\w+=,.@-]*` },
  ExternalId: { min: 2, max: 1224, pattern: String.raw`[\w+=,.@:\/-]*` },
  SourceIdentity: { min: 2, max: 64, pattern: String.raw`[\w+=,.@-]*` },
} as const;

/**
 * Answers AssumeRole.
 *
 * Session policies, tags and MFA are taken and have no effect.
 *
 * @param call The call.
 * @param settings The account's set-up.
 * @param keys Where the new session's key is added.
 * @returns The content of `AssumeRoleResult`.
 * @throws {Refusal} `ValidationError`, `MalformedPolicyDocument` or `AccessDenied`.
 */
export function assumeRole(
  call: Call,
  settings: TrustSettings,
  keys: KeyRing,
): XmlContent {
  const seconds = checkParameters(call.parameters);
  const role = readRole(call.parameters.get("RoleArn") ?? "");
  checkPolicy(call.parameters.get("Policy"));
  checkTrust(call, settings, role);
  checkMaximum(seconds, call.caller, settings);
  const name = call.parameters.get("RoleSessionName") ?? "";
  const key = mintSessionKey({
    account: role.account,
    arn:
      `arn:${role.partition}:sts::${role.account}:assumed-role/${role.roleName}/${name}`,
    userId: `${roleId(role)}:${name}`,
  }, Math.floor(call.now / 1000 + seconds) * 1000);
  keys.add(key);
  return describe(key, call.parameters.get("SourceIdentity"));
}

function describe(key: SessionKey, sourceIdentity: string | null): XmlContent {
  const { token, expiresAt } = key.session;
  return {
    AssumedRoleUser: {
      AssumedRoleId: key.identity.userId,
      Arn: key.identity.arn,
    },
    Credentials: {
      AccessKeyId: key.accessKeyId,
      SecretAccessKey: key.secretAccessKey,
      SessionToken: token,
      Expiration: new Date(expiresAt).toISOString().replace(".000Z", "Z"),
    },
    SourceIdentity: sourceIdentity ?? undefined,
  };
}

/** The same role has the same ID in every run. */
function roleId(role: RoleArn): string {
  const digest = createHash("sha256").update(role.arn).digest();
  return awsId("AROA", digest.subarray(0, 17));
}

/** Checks all parameters, as AWS does, before it refuses any. */
function checkParameters(parameters: URLSearchParams): number {
  const seconds = readSeconds(parameters.get("DurationSeconds"));
  const broken = [
    ...brokenText(parameters, "RoleArn", true),
    ...brokenText(parameters, "RoleSessionName", true),
    ...brokenText(parameters, "ExternalId", false),
    ...brokenText(parameters, "SourceIdentity", false),
    ...brokenSeconds(seconds),
  ];
  if (broken.length === 0) return seconds;
  const errors = broken.length === 1 ? "error" : "errors";
  throw validationError(
    `${broken.length} validation ${errors} detected: ${broken.join("; ")}`,
  );
}

function brokenText(
  parameters: URLSearchParams,
  name: keyof typeof TEXT_RULES,
  required: boolean,
): string[] {
  const value = parameters.get(name);
  if (value === null) {
    return required ? [broken(name, null, "Member must not be null")] : [];
  }
  const { min, max, pattern } = TEXT_RULES[name];
  const found: string[] = [];
  if (pattern && !new RegExp(`^${pattern}$`).test(value)) {
    found.push(
      `Member must satisfy regular expression pattern: ${pattern}`,
    );
  }
  if (value.length < min) {
    found.push(`Member must have length greater than or equal to ${min}`);
  }
  if (value.length > max) {
    found.push(`Member must have length less than or equal to ${max}`);
  }
  return found.map((rule) => broken(name, value, rule));
}

function readSeconds(text: string | null): number {
  if (text === null) return DEFAULT_SECONDS;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new Refusal(
    400,
    "MalformedInput",
    "DurationSeconds is not an integer",
  );
}

function brokenSeconds(seconds: number): string[] {
  const rules: [boolean, string][] = [
    [
      seconds < MIN_DURATION_SECONDS,
      `Member must have value greater than or equal to ${MIN_DURATION_SECONDS}`,
    ],
    [
      seconds > MAX_DURATION_SECONDS,
      `Member must have value less than or equal to ${MAX_DURATION_SECONDS}`,
    ],
  ];
  return rules.filter(([isBroken]) => isBroken)
    .map(([, rule]) => broken("DurationSeconds", String(seconds), rule));
}

/** One of AWS's sentences about a parameter. */
function broken(name: string, value: string | null, rule: string): string {
  const member = name.charAt(0).toLowerCase() + name.slice(1);
  const shown = value === null ? "null" : `'${value}'`;
  return `Value ${shown} at '${member}' failed to satisfy constraint: ${rule}`;
}

function readRole(arn: string): RoleArn {
  try {
    return parseRoleArn(arn);
  } catch {
    throw validationError(`${arn} is invalid`);
  }
}

function checkPolicy(policy: string | null): void {
  if (policy === null) return;
  try {
    JSON.parse(policy);
  } catch {
    throw new Refusal(
      400,
      "MalformedPolicyDocument",
      "The policy is not in the valid JSON format.",
    );
  }
}

/** AWS does not say which of these it was. */
function checkTrust(
  { caller, parameters }: Call,
  { roles, externalId }: TrustSettings,
  role: RoleArn,
): void {
  const exists = roles.length === 0 || roles.includes(role.arn);
  const trusts = externalId === undefined ||
    parameters.get("ExternalId") === externalId;
  if (exists && trusts) return;
  throw new Refusal(
    403,
    "AccessDenied",
    `User: ${caller.identity.arn} is not authorized to perform: sts:AssumeRole on resource: ${role.arn}`,
  );
}

function checkMaximum(
  seconds: number,
  caller: AccessKey,
  { maxSessionSeconds }: TrustSettings,
): void {
  if (caller.session && seconds > MAX_CHAINED_SECONDS) {
    throw validationError(
      "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
    );
  }
  if (seconds > maxSessionSeconds) {
    throw validationError(
      "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
    );
  }
}
