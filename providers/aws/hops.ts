/**
 * From a grant and a binding to the calls that make a session: one hop after
 * another, each signed with what the one before gave. Pure, so that a hop
 * itself is the cache's key: every input of its call is in it.
 *
 * @module
 */

import type { Binding } from "$core/binding.ts";
import { usageError } from "$core/errors.ts";
import { formatDuration } from "./duration.ts";
import { checkLabelValue } from "./options/values.ts";
import { DEFAULT_SESSION_NAME, fillSessionName } from "./session_name.ts";
import {
  type Anywhere,
  type AwsSettings,
  type BindingSettings,
  type Mfa,
  readBindingSettings,
  type Source,
  type StsAddress,
} from "./settings.ts";

/** What every hop has. */
export interface AnyHop {
  /** Where STS is. */
  readonly at: StsAddress;
}

/** Looks for source credentials. */
export interface SourceHop extends AnyHop {
  /** The kind of hop. */
  readonly kind: "source";
  /** Where to look. */
  readonly source: Source;
  /** A program that prints MFA codes, for a profile that asks for one. */
  readonly mfaCommand: string | undefined;
}

/** Opens an MFA session with a code, by GetSessionToken. */
export interface MfaHop extends AnyHop {
  /** The kind of hop. */
  readonly kind: "mfa";
  /** The device. */
  readonly mfa: Mfa;
}

/** What every call for a role's session has. */
export interface RoleHop extends AnyHop {
  /** ARN of the role. */
  readonly role: string;
  /** 2 to 64 characters. */
  readonly sessionName: string;
  /** In s; undefined for STS's own default. */
  readonly durationSeconds: number | undefined;
  /** Inline session policy. */
  readonly policy: string | undefined;
  /** ARNs of managed session policies. */
  readonly policyArns: readonly string[];
}

/** Assumes a role with the credentials of the hop before. */
export interface AssumeRoleHop extends RoleHop {
  /** The kind of hop. */
  readonly kind: "assume-role";
  /** What the role's trust policy asks for. */
  readonly externalId: string | undefined;
  /** Session tags, sorted by key. */
  readonly tags: readonly (readonly [key: string, value: string])[];
  /** Keys of the tags that pass on. */
  readonly transitiveTags: readonly string[];
  /** STS's source identity. */
  readonly sourceIdentity: string | undefined;
}

/** Assumes a role with a token from a file. */
export interface WebIdentityHop extends RoleHop {
  /** The kind of hop. */
  readonly kind: "web-identity";
  /** Absolute path of the token. */
  readonly tokenFile: string;
}

/** Obtains a role's session with a certificate. */
export interface AnywhereHop extends AnyHop {
  /** The kind of hop. */
  readonly kind: "roles-anywhere";
  /** ARN of the role. */
  readonly role: string;
  /**
   * 2 to 64 characters; undefined for the service's own, the certificate's
   * serial number, because most profiles accept no other.
   */
  readonly sessionName: string | undefined;
  /** In s. */
  readonly durationSeconds: number | undefined;
  /** Certificate, key and service. */
  readonly anywhere: Anywhere;
}

/** One call. */
export type Hop =
  | SourceHop
  | MfaHop
  | AssumeRoleHop
  | WebIdentityHop
  | AnywhereHop;

/** A role that is assumed with the grant's session, beyond what the grant names. */
export interface FurtherRole {
  /** Its ARN. */
  readonly role: string;
  /** What its trust policy asks for. */
  readonly externalId?: string;
  /** Inline session policy: JSON, at most 2,048 characters. */
  readonly policy?: string;
  /** Template, see `session_name.ts`. Default: the grant's. */
  readonly sessionName?: string;
  /** Life of the session in s. Absent: STS's own default. */
  readonly durationSeconds?: number;
}

/** A session that never leaves moat; one hour is allowed by every role. */
const INNER_SECONDS = 3600;

/** STS's own default, which a grant without a duration leaves it to. */
const STS_SECONDS = 3600;

/** AWS's bound when a session assumes a further role. */
export const MAX_CHAINED_SECONDS = 3600;

/**
 * Plans the calls for a binding's session.
 *
 * @param settings The grant's settings.
 * @param binding Who asks.
 * @param further Assumed with what the grant gives, which keeps its own
 * options, tags and policy, but for its life: it never leaves moat. Default: none.
 * @returns One hop at least.
 * @throws {MoatError} `usage` if the binding would widen the grant.
 */
export function planHops(
  settings: AwsSettings,
  binding: Binding,
  further?: FurtherRole,
): Hop[] {
  const narrowed = narrow(
    settings,
    readBindingSettings(binding.settings?.["aws"]),
  );
  const { roles, source, mfa, anywhere, webIdentityTokenFile } = narrowed;
  const at = addressOf(narrowed);
  const hops: Hop[] = [];
  if (!anywhere && !webIdentityTokenFile) {
    hops.push({ kind: "source", at, source, mfaCommand: mfa?.command });
    if (mfa) hops.push({ kind: "mfa", at, mfa });
  }
  roles.forEach((role, i) =>
    hops.push(roleHop(narrowed, binding, role, {
      isFirst: i === 0,
      isLast: i === roles.length - 1,
      isInner: further !== undefined || i < roles.length - 1,
    }))
  );
  if (further) hops.push(furtherHop(narrowed, binding, further));
  return hops;
}

function addressOf({ region, stsEndpoint, caBundle }: StsAddress): StsAddress {
  return { region, stsEndpoint, caBundle };
}

function narrow(settings: AwsSettings, by: BindingSettings): AwsSettings {
  refuseWidening(settings, by);
  const { durationSeconds, sessionName, policy } = by;
  return {
    ...settings,
    ...(durationSeconds && { durationSeconds }),
    ...(sessionName && { sessionName }),
    ...(policy && { policy }),
  };
}

/** Session policies join as a union, so a second one would widen the first. */
function refuseWidening(
  settings: AwsSettings,
  { durationSeconds = 0, policy }: BindingSettings,
): void {
  const { durationSeconds: granted = STS_SECONDS, policyArns } = settings;
  if (settings.direct && (durationSeconds || policy)) {
    throw usageError(
      "Cannot narrow the session of this run: its grant hands out the source's own",
      "grant a role instead of --source direct",
    );
  }
  if (durationSeconds > granted) {
    throw usageError(
      `Cannot make sessions of ${
        formatDuration(durationSeconds)
      }: the grant allows ${formatDuration(granted)}`,
      "a run or binding may only shorten its sessions; grant again with a longer --session-duration",
    );
  }
  if (policy && (settings.policy || policyArns?.length)) {
    throw usageError(
      "Cannot give the run a session policy: its grant has one, and two would allow what either allows",
      "grant again without a policy, under another name, and run with that",
    );
  }
  if (policy && settings.anywhere && settings.roles.length === 1) {
    throw usageError(
      "Cannot give the run a session policy: Roles Anywhere takes none",
      "grant again with a second --role, which is assumed from the first and takes it",
    );
  }
}

/** Where a role is in its grant's chain. */
interface Place {
  readonly isFirst: boolean;
  readonly isLast: boolean;
  /** Whether its session assumes a further role. */
  readonly isInner: boolean;
}

function roleHop(
  settings: AwsSettings,
  binding: Binding,
  role: string,
  { isFirst, isLast, isInner }: Place,
): Hop {
  const { anywhere, webIdentityTokenFile, policy, policyArns } = settings;
  const { sessionName } = settings;
  const common = {
    at: addressOf(settings),
    role,
    sessionName: fillSessionName(sessionName ?? DEFAULT_SESSION_NAME, binding),
    durationSeconds: isInner ? INNER_SECONDS : settings.durationSeconds,
  };
  if (isFirst && anywhere) {
    const name = sessionName === undefined ? undefined : common.sessionName;
    return { kind: "roles-anywhere", ...common, sessionName: name, anywhere };
  }
  const policies = {
    policy: isLast ? policy : undefined,
    policyArns: isLast ? policyArns ?? [] : [],
  };
  if (isFirst && webIdentityTokenFile) {
    return {
      kind: "web-identity",
      ...common,
      ...policies,
      tokenFile: webIdentityTokenFile,
    };
  }
  return {
    kind: "assume-role",
    ...common,
    ...policies,
    externalId: isLast ? settings.externalId : undefined,
    ...hopTags(settings, binding, { isFirst, isLast }),
    // The value lasts for the whole chain and must not be given twice.
    sourceIdentity: isFirst ? settings.sourceIdentity : undefined,
  };
}

/**
 * It has the tags of the labels that the grant allows; the grant's own tags are
 * those of the grant's session, as the source identity is, which lasts on.
 */
function furtherHop(
  settings: AwsSettings,
  binding: Binding,
  { role, externalId, policy, sessionName, durationSeconds }: FurtherRole,
): AssumeRoleHop {
  const { roles, tags = {}, labelTags = [], transitiveTags = [] } = settings;
  const isFirst = roles.length === 0;
  const allowed = labelTags.filter((key) => !Object.hasOwn(tags, key));
  const ofLabels = {
    ...settings,
    tags: {},
    labelTags: allowed,
    transitiveTags: transitiveTags.filter((key) => labelTags.includes(key)),
  };
  const template = sessionName ?? settings.sessionName ?? DEFAULT_SESSION_NAME;
  return {
    kind: "assume-role",
    at: addressOf(settings),
    role,
    sessionName: fillSessionName(template, binding),
    durationSeconds,
    policy,
    policyArns: [],
    externalId,
    ...hopTags(ofLabels, binding, { isFirst, isLast: true }),
    sourceIdentity: isFirst ? settings.sourceIdentity : undefined,
  };
}

/** A transitive tag is given at the first role and inherited from there on. */
function hopTags(
  settings: AwsSettings,
  binding: Binding,
  { isFirst, isLast }: Pick<Place, "isFirst" | "isLast">,
): Pick<AssumeRoleHop, "tags" | "transitiveTags"> {
  const { tags = {}, transitiveTags = [], labelTags = [] } = settings;
  const labels = binding.subject?.labels ?? {};
  const fromLabels = labelTags.filter((key) => Object.hasOwn(labels, key))
    .map((key) => [key, checkLabelValue(key, labels[key] ?? "")] as const);
  // A grant's own tag is never overridden.
  const all = Object.entries({ ...Object.fromEntries(fromLabels), ...tags });
  const isSent = (key: string) =>
    transitiveTags.includes(key) ? isFirst : isLast;
  return {
    tags: all.filter(([key]) => isSent(key)).sort(([a], [b]) => a < b ? -1 : 1),
    transitiveTags: isFirst ? [...transitiveTags].sort() : [],
  };
}
