/**
 * What can go wrong between a grant and a session, as two tables: the closed
 * list of codes, and the rules that map what the SDK, AWS and the network
 * throw to one of them. `errors.ts` applies them.
 *
 * The rules are data, so that tests can walk over them; the file is as long as
 * there are failures. They quote an error only where a service of AWS itself
 * wrote it, as `{said}`: what a source's program or a foreign server says is
 * never shown.
 *
 * @module
 */

import { MoatError, type MoatErrorOptions } from "$core/errors.ts";
import type { AwsSettings } from "./settings.ts";

/** What a code means. */
export interface Failure {
  /** Whether an early retry is useless, so that moat backs off longer. */
  readonly isHard: boolean;
  /** For clients, which must not learn about the host: no name, path or ID. */
  readonly client: string;
}

const hard = (client: string): Failure => ({ isHard: true, client });
const soft = (client: string): Failure => ({ isHard: false, client });

/**
 * The closed list of codes. CLI, clients, log, metrics and audit log show the
 * same code for the same failure; `docs/errors.md` explains each.
 */
export const FAILURES = {
  "access-denied": hard("STS denied the role to this grant"),
  "anywhere-not-found": hard(
    "Roles Anywhere does not know what the grant names",
  ),
  "anywhere-rejected": hard(
    "Roles Anywhere does not accept the host's certificate",
  ),
  "binding-damaged": hard("The binding's settings cannot be read"),
  "ca-bundle-unreadable": hard("The host's CA certificates cannot be read"),
  "certificate-expired": hard("The host's certificate has expired"),
  "certificate-not-yet-valid": hard("The host's certificate is not valid yet"),
  "certificate-unreadable": hard("The host's certificate cannot be read"),
  "chain-incomplete": hard("The host's certificate lacks an intermediate one"),
  "clock-skew": soft("The host's clock differs too much from AWS's"),
  "duration-too-long": hard("The role does not allow sessions of this length"),
  "grant-changed": soft("The grant was revoked or replaced meanwhile"),
  "idp-unavailable": soft("AWS cannot reach the host's identity provider"),
  "key-encrypted": hard("The host's private key cannot be decrypted"),
  "key-mismatch": hard("The host's private key is not its certificate's"),
  "key-unreadable": hard("The host's private key cannot be read"),
  "mfa-rejected": hard("STS did not accept the MFA code"),
  "mfa-required": hard("The grant needs an MFA code"),
  "no-source": hard("The host has no source credentials for this grant"),
  "policy-malformed": hard("STS cannot read the session policy"),
  "policy-too-large": hard("The session's policies and tags are too large"),
  "region-disabled": hard("STS is not enabled in the grant's region"),
  "role-unknown": hard("AWS does not know the role"),
  "source-expired": hard("The host's source credentials have expired"),
  "source-is-moat": hard("The grant's source is moat itself"),
  "source-not-temporary": hard(
    "The host's source credentials are not temporary",
  ),
  "source-rejected": hard("AWS does not accept the host's source credentials"),
  "source-timeout": soft("The host's source credentials did not come in time"),
  "source-unavailable": soft(
    "The host's source credentials cannot be had right now",
  ),
  "sts-garbage": soft("AWS answered something that is no session"),
  "sts-refused": hard("AWS refused the request"),
  "sts-throttled": soft("AWS asks to slow down"),
  "sts-timeout": soft("AWS did not answer in time"),
  "sts-unavailable": soft("AWS cannot answer right now"),
  "sts-unreachable": soft("AWS cannot be reached from the host"),
  "token-rejected": hard("STS does not accept the host's identity token"),
  "token-unreadable": hard("The host's identity token cannot be read"),
} as const satisfies Readonly<Record<string, Failure>>;

/** A code of the closed list; another one does not compile. */
export type FailureCode = keyof typeof FAILURES;

/**
 * Makes an error with a code of the closed list.
 *
 * @param code One of {@link FAILURES}.
 * @param message One sentence, sentence case, without a final period.
 * @param options Hint and cause.
 * @returns The error, to be thrown by the caller.
 */
export function failure(
  code: FailureCode,
  message: string,
  options: MoatErrorOptions = {},
): MoatError {
  return new MoatError(code, message, options);
}

/** Who is asked when something fails. */
export type Service = "STS" | "Roles Anywhere" | "IAM";

/** What was going on when something was thrown. */
export interface FailureContext {
  /** The grant's settings, for names and hints. */
  readonly settings: AwsSettings;
  /** Absent while source credentials are looked for, which may ask anybody. */
  readonly service?: Service;
  /** What failed; follows "Cannot". Default: `describeAction(settings)`. */
  readonly action?: string;
  /** The grant's name, for commands. Default: `NAME`, a placeholder. */
  readonly grant?: string;
}

/**
 * How something that was thrown came about:
 *
 * - `answer`: a service of AWS wrote an error that the SDK could read
 * - `unreadable`: something answered, in no format of AWS's
 * - `refused`: something answered that moat does not read
 * - `broken`: an answer that ended too early
 * - `timeout`: no answer in time
 * - `network`: no connection
 * - `file`: a file that cannot be read
 * - `provider`: one of the SDK's credential providers gave up
 * - `parse`: a text of no known format, or a member that is not there
 * - `other`: everything else, such as a mistake of ours
 */
export type Kind =
  | "answer"
  | "unreadable"
  | "refused"
  | "broken"
  | "timeout"
  | "network"
  | "file"
  | "provider"
  | "parse"
  | "other";

/** What a rule looks at. */
export interface Seen {
  /** How it came about. */
  readonly kind: Kind;
  /** Name of the error. */
  readonly name: string;
  /** All of its text. */
  readonly message: string;
  /** Of HTTP, 0 if there was no answer. */
  readonly status: number;
}

/**
 * One rule: all that it names must hold. The words in braces are filled in:
 *
 * | word         | becomes                                                  |
 * | ------------ | -------------------------------------------------------- |
 * | `{said}`     | what the service said; for kind `answer` only            |
 * | `{service}`  | `STS`, `Roles Anywhere` or `IAM`                         |
 * | `{aService}` | `an STS`, `Roles Anywhere` or `IAM`                      |
 * | `{place}`    | its address, or its name and region                      |
 * | `{format}`   | the format in which it answers                           |
 * | `{endpoint}` | what sets its address                                    |
 * | `{status}`   | the status of HTTP                                       |
 * | `{fault}`    | what was refused, in moat's own words                    |
 * | `{tried}`    | the sources that were tried                              |
 * | `{login}`    | the commands that bring new source credentials           |
 * | `{profile}`  | ` --profile NAME`, or nothing                            |
 * | `{mfa}`      | how to give another MFA code                             |
 */
export interface Rule {
  /** How it came about. */
  readonly kind?: Kind;
  /** While this service was asked; `source`: while source credentials were looked for. */
  readonly during?: Service | "source";
  /** Matches the name, without an `Exception` at its end. */
  readonly name?: RegExp;
  /** Matches the message. */
  readonly message?: RegExp;
  /** Matches the status, as text. */
  readonly status?: RegExp;
  /** Holds for the grant's settings. */
  readonly settings?: (settings: AwsSettings) => boolean;
  /** The code that it means. */
  readonly code: FailureCode;
  /** What was found; follows a colon. */
  readonly found: string;
  /** The next command or step. */
  readonly hint: string;
}

const NO_SOURCE = "found no usable source credentials ({tried}; ";
const TRY_AGAIN = "check the network and HTTPS_PROXY, then try again";
const SLOW_DOWN = "wait a moment, then try again";
const CHECK_ADDRESS =
  "check that {endpoint} names {aService}, and that no login page is in the way";
/** Of hints to credentials that there are. */
export const NAME_PROFILE = "name a profile (--aws-profile or AWS_PROFILE)";
const CHECK_CLOCK = "set this machine's clock, such as by NTP";
const SSO_LOGIN = "aws sso login{profile}";
const AWS_LOGIN = "aws login{profile}";
const BY_HAND = "run the profile's credential_process by hand to see why";
const CHECK_PORTAL =
  "check sso_account_id and sso_role_name in the profile, and that the permission set is assigned to you";
const CHECK_CONTAINER =
  "check AWS_CONTAINER_CREDENTIALS_FULL_URI and the file of its token, or grant again with another --source";
const CHECK_INSTANCE =
  "check that this host is an EC2 instance with a role, or grant again with another --source";
const CHECK_TOKEN =
  "check the token's issuer, audience and subject against the role's trust policy and the account's identity provider";

/** What the helper script prints when a source of ours would be moat itself. */
export const SELF_SOURCE_MARK = "moat would be its own source";

/** The words by which AWS asks for fewer calls; the SDK knows the same ones. */
const THROTTLED =
  /^(Throttl\w+|(EC2|Request)Throttled|TooManyRequests|RequestLimitExceeded|LimitExceeded|ProvisionedThroughputExceeded|BandwidthLimitExceeded|SlowDown|PriorRequestNotComplete|TransactionInProgress)$/;

/** The rules; the first that holds counts. */
export const RULES: readonly Rule[] = [
  {
    message: new RegExp(SELF_SOURCE_MARK),
    code: "source-is-moat",
    found: "the source of this grant is moat itself",
    hint: `${NAME_PROFILE} of credentials that moat did not hand out`,
  },

  // What may happen on the way to any service.
  {
    kind: "refused",
    code: "sts-garbage",
    found: "{place} {fault}",
    hint: CHECK_ADDRESS,
  },
  {
    kind: "timeout",
    code: "sts-timeout",
    found: "{place} did not answer in time",
    hint: "check the network, HTTPS_PROXY and the region, then try again",
  },
  {
    kind: "broken",
    code: "sts-unreachable",
    found: "{place} broke off in the middle of its answer",
    hint: TRY_AGAIN,
  },
  {
    kind: "unreadable",
    status: /^429$/,
    code: "sts-throttled",
    found: "{place} answered {status}",
    hint: SLOW_DOWN,
  },
  {
    kind: "unreadable",
    status: /^5/,
    code: "sts-unavailable",
    found: "{place} answered {status}",
    hint: "try again; see https://health.aws.amazon.com",
  },
  {
    kind: "unreadable",
    code: "sts-garbage",
    found: "{place} answered {status} with something that is not {format}",
    hint: CHECK_ADDRESS,
  },
  {
    kind: "network",
    message: /certificate/i,
    code: "sts-unreachable",
    found: "the TLS certificate of {place} is not one that this host trusts",
    hint:
      "grant again with AWS_CA_BUNDLE naming a PEM file with the CA's certificate",
  },
  {
    kind: "network",
    code: "sts-unreachable",
    found: "{place} cannot be reached",
    hint:
      "check the network, HTTPS_PROXY, AWS_CA_BUNDLE, and {endpoint} if it is set",
  },

  // What every service may answer.
  {
    kind: "answer",
    name: /^(RequestTimeTooSkewed|RequestExpired|RequestInTheFuture)$/,
    code: "clock-skew",
    found: "{said}",
    hint: CHECK_CLOCK,
  },
  {
    kind: "answer",
    name: /^(SignatureDoesNotMatch|InvalidSignature|AccessDenied)$/,
    message: /Signature (has )?expired|Signature not yet current/i,
    code: "clock-skew",
    found: "{said}",
    hint: CHECK_CLOCK,
  },
  {
    kind: "answer",
    name: THROTTLED,
    code: "sts-throttled",
    found: "{said}",
    hint: SLOW_DOWN,
  },
  {
    kind: "answer",
    status: /^429$/,
    code: "sts-throttled",
    found: "{said}",
    hint: SLOW_DOWN,
  },
  {
    kind: "answer",
    status: /^5/,
    code: "sts-unavailable",
    found: "{place} answered {status}",
    hint: "try again; see https://health.aws.amazon.com",
  },
  {
    kind: "answer",
    name: /^ServiceLinkedRoleLock/,
    code: "sts-unavailable",
    found: "{said}",
    hint: SLOW_DOWN,
  },

  // How long a session may be.
  {
    kind: "answer",
    message: /role chaining/,
    code: "duration-too-long",
    found: "{said}",
    hint:
      "grant again with a shorter --session-duration: a role assumed by a role lasts 1h at most",
  },
  {
    kind: "answer",
    message: /DurationSeconds exceeds|at 'durationSeconds'/,
    code: "duration-too-long",
    found: "{said}",
    hint:
      "grant again with a shorter --session-duration, or raise the maximum of the role and of its Roles Anywhere profile (if any)",
  },

  // Roles Anywhere.
  {
    kind: "answer",
    during: "Roles Anywhere",
    message: /roleSessionName/,
    code: "access-denied",
    found: "{said}",
    hint:
      "leave the session name out, or turn acceptRoleSessionName on in the Roles Anywhere profile",
  },
  {
    kind: "answer",
    during: "Roles Anywhere",
    name: /^AccessDenied$/,
    message: /^Unable to assume role.*mapped into session tags/s,
    code: "anywhere-rejected",
    found: "{said}",
    hint:
      "have a certificate issued whose subject and alternative names make valid session tags, or change the profile's attribute mappings",
  },
  {
    kind: "answer",
    during: "Roles Anywhere",
    name: /^AccessDenied$/,
    message: /^Unable to assume role/,
    code: "access-denied",
    found: "{said}",
    hint:
      "check that the role exists, that its trust policy allows sts:AssumeRole, sts:TagSession and sts:SetSourceIdentity to rolesanywhere.amazonaws.com for this certificate, and that the Roles Anywhere profile lists the role",
  },
  {
    kind: "answer",
    during: "Roles Anywhere",
    message: /untrusted signing certificate/i,
    code: "anywhere-rejected",
    found: "{said}",
    hint:
      "check that --trust-anchor-arn names the CA of the certificate, and give the CAs in between with --intermediates FILE",
  },
  {
    kind: "answer",
    during: "Roles Anywhere",
    message: /insufficient certificate/i,
    code: "anywhere-rejected",
    found: "{said}",
    hint:
      "have a certificate issued with CA:FALSE, key usage digitalSignature and a signature of SHA-256 or better",
  },
  {
    kind: "answer",
    during: "Roles Anywhere",
    message: /certificate (is )?revoked/i,
    code: "anywhere-rejected",
    found: "{said}",
    hint: "have a new certificate issued, and put it in place of the old one",
  },
  {
    kind: "answer",
    during: "Roles Anywhere",
    name: /^ResourceNotFound$/,
    code: "anywhere-not-found",
    found: "{said}",
    hint:
      "check --trust-anchor-arn and --profile-arn, and that both are enabled in their region",
  },
  {
    kind: "answer",
    during: "Roles Anywhere",
    name: /^(AccessDenied|Validation|TooManyTags|InvalidSignature)$/,
    code: "anywhere-rejected",
    found: "{said}",
    hint:
      "check certificate and private key, and that trust anchor and profile are enabled",
  },

  // IAM, which is asked where a role is that was named without an account.
  {
    kind: "answer",
    during: "IAM",
    name: /^NoSuchEntity$/,
    code: "role-unknown",
    found: "{said}",
    hint:
      "check the role's name; a role of another account is named as NAME@ACCOUNT or by its ARN",
  },
  {
    kind: "answer",
    during: "IAM",
    name: /^AccessDenied$/,
    code: "access-denied",
    found: "{said}",
    hint:
      "allow iam:GetRole on the role to the grant's identity, or set default_account in [metadata] of moat.toml, or name the role by its ARN",
  },

  // MFA.
  {
    kind: "answer",
    message: /MultiFactorAuthentication failed, must provide/,
    code: "mfa-required",
    found: "{said}",
    hint: "{mfa}",
  },
  {
    kind: "answer",
    message: /MultiFactorAuthentication failed, unable to validate/,
    code: "mfa-rejected",
    found: "{said}",
    hint:
      "check that --mfa-serial is a device of the user that the source's keys belong to: aws iam list-mfa-devices{profile}",
  },
  {
    kind: "answer",
    message: /MultiFactorAuthentication failed|at 'tokenCode'/,
    code: "mfa-rejected",
    found: "{said}",
    hint: "{mfa}; a code works once, and for about half a minute",
  },
  {
    kind: "answer",
    message: /Cannot call GetSessionToken with session credentials/,
    code: "source-rejected",
    found: "{said}",
    hint:
      "grant again with --aws-profile PROFILE that has the long-lived keys of the MFA device's user",
  },

  // Web identity.
  {
    kind: "answer",
    name: /^IDPCommunicationError$/,
    code: "idp-unavailable",
    found: "{said}",
    hint: "try again; STS must reach the identity provider of the token",
  },
  {
    kind: "answer",
    name: /^InvalidIdentityToken$/,
    message: /retrieve verification key/,
    code: "idp-unavailable",
    found: "{said}",
    hint:
      "try again; STS must reach the identity provider's /.well-known/openid-configuration",
  },
  {
    kind: "answer",
    name: /^ExpiredToken$/,
    message: /^Token expired: current date/,
    code: "token-rejected",
    found: "{said}",
    hint: "have what writes the token write a new one, then try again",
  },
  {
    kind: "answer",
    name: /^(InvalidIdentityToken|IDPRejectedClaim)$/,
    code: "token-rejected",
    found: "{said}",
    hint: CHECK_TOKEN,
  },
  {
    kind: "answer",
    message: /at 'webIdentityToken'/,
    code: "token-rejected",
    found: "{said}",
    hint: "check that the file holds one token, and nothing else",
  },
  {
    kind: "answer",
    name: /^AccessDenied$/,
    message: /sts:AssumeRoleWithWebIdentity/,
    code: "access-denied",
    found: "{said}",
    hint: CHECK_TOKEN,
  },

  // STS.
  {
    kind: "answer",
    name: /^(ExpiredToken|TokenRefreshRequired)$/,
    code: "source-expired",
    found: "the source credentials have expired",
    hint: "{login}",
  },
  {
    kind: "answer",
    name: /^AccessDenied$/,
    message: /sts:(TagSession|SetSourceIdentity)/,
    code: "access-denied",
    found: "{said}",
    hint:
      "allow sts:TagSession (for tags) and sts:SetSourceIdentity (for a source identity) in the role's trust policy and in the identity's own policy",
  },
  {
    kind: "answer",
    name: /^AccessDenied$/,
    code: "access-denied",
    found: "{said}",
    hint:
      "check that the role exists, that its trust policy names this identity and this external ID, if any (--external-id; of a container, IAM_EXTERNAL_ID), and that the identity's own policy allows sts:AssumeRole on the role",
  },
  {
    kind: "answer",
    message: /scoped to/,
    code: "sts-refused",
    found: "{said}",
    hint: "grant again with the --region that the endpoint serves",
  },
  {
    kind: "answer",
    name:
      /^(InvalidClientTokenId|UnrecognizedClient|InvalidAccessKeyId|InvalidToken|SignatureDoesNotMatch|InvalidSignature|IncompleteSignature|MissingAuthenticationToken|OptInRequired)$/,
    code: "source-rejected",
    found: "{said}",
    hint: "check that the source's access key is active and complete; {login}",
  },
  {
    kind: "answer",
    name: /^RegionDisabled$/,
    code: "region-disabled",
    found: "{said}",
    hint: "enable STS in that region, or grant again with --region us-east-1",
  },
  {
    kind: "answer",
    name: /^PackedPolicyTooLarge$/,
    code: "policy-too-large",
    found: "{said}",
    hint:
      "grant again with a shorter --policy, or fewer or shorter tags: they share one limit",
  },
  {
    kind: "answer",
    name: /^ValidationError$/,
    message: /at 'policy' .*length/,
    code: "policy-too-large",
    found: "{said}",
    hint: "grant again with a --policy of at most 2048 characters",
  },
  {
    kind: "answer",
    name: /^MalformedPolicyDocument$/,
    code: "policy-malformed",
    found: "{said}",
    hint:
      "check the policy: aws accessanalyzer validate-policy --policy-type IDENTITY_POLICY --policy-document file://FILE",
  },
  {
    kind: "answer",
    code: "sts-refused",
    found: "{said}",
    hint: "see {service}'s message above",
  },

  // Logins that ended: also what a credential_process printed about its own.
  {
    kind: "provider",
    message:
      /SSO session .*(expired|invalid|not found)|Token is expired|Token has expired|in SSO Token|^Unauthorized(Exception)?:/,
    code: "source-expired",
    found: "the source's SSO login has ended",
    hint: SSO_LOGIN,
  },
  {
    kind: "provider",
    message: /returned expired/,
    code: "source-expired",
    found:
      "the source credentials have expired: so its credential_process says",
    hint:
      "run the profile's credential_process by hand, and renew the login that it uses",
  },
  {
    kind: "provider",
    message:
      /^Failed to refresh token: (TypeError|SyntaxError|TimeoutError|RefusedAnswer|Internal|ServiceUnavailable|Unknown|TooManyRequests)/,
    code: "source-unavailable",
    found:
      "AWS's sign-in service cannot be reached, to renew the source's login",
    hint: TRY_AGAIN,
  },
  {
    kind: "provider",
    message: /insufficient permissions.*CreateOAuth2Token/,
    code: "source-rejected",
    found: "the source's login may not be renewed",
    hint: `allow signin:CreateOAuth2Token to its user, then ${AWS_LOGIN}`,
  },
  {
    kind: "provider",
    message:
      /^Your session has expired|^Unable to refresh credentials|^Failed to (refresh|load|generate) /,
    code: "source-expired",
    found: "the source's console login has ended, or never was",
    hint: AWS_LOGIN,
  },

  // The SSO portal.
  {
    kind: "provider",
    message: /^(Forbidden|ResourceNotFound|InvalidRequest)(Exception)?:/,
    code: "source-rejected",
    found: "the SSO portal refuses this login the account or the role",
    hint: CHECK_PORTAL,
  },
  {
    kind: "provider",
    message: /^TooManyRequests(Exception)?:/,
    code: "source-unavailable",
    found: "the SSO portal asks to slow down",
    hint: SLOW_DOWN,
  },
  {
    kind: "provider",
    message: /^(Internal\w+|ServiceUnavailable|Unknown)(Exception)?:/,
    code: "source-unavailable",
    found: "the SSO portal cannot answer right now",
    hint: "try again; see https://health.aws.amazon.com",
  },
  {
    kind: "provider",
    message: /^(SyntaxError|RefusedAnswer|SSO returns an invalid)/,
    code: "source-unavailable",
    found: "the SSO portal answered something that is no credentials",
    hint: "check that no login page is in the way, then try again",
  },

  // Programs.
  {
    kind: "provider",
    message: /^Requires run access/,
    code: "no-source",
    found:
      `${NO_SOURCE}it needs a program, and the proxy has given up starting any)`,
    hint: "restart moat proxy: it keeps the permission when a grant needs it",
  },
  {
    kind: "provider",
    message:
      /^Command failed|^stdout maxBuffer|^Cannot read properties of null|credential_process (returned|did not)/,
    code: "no-source",
    found: `${NO_SOURCE}its credential_process failed)`,
    hint: BY_HAND,
  },

  // Profiles.
  {
    kind: "provider",
    message: /multi-factor authentication/,
    code: "mfa-required",
    found: "the source's profile asks for an MFA code",
    hint:
      "grant again with --mfa-command PROGRAM that prints one, or with --mfa-serial ARN and the --aws-profile that has the user's keys",
  },
  {
    kind: "provider",
    message: /^Detected a cycle/,
    code: "no-source",
    found: `${NO_SOURCE}its source_profile leads back to itself)`,
    hint: "have source_profile name a profile with credentials of its own",
  },
  {
    kind: "provider",
    message: /^Unsupported credential source/,
    code: "no-source",
    found: `${NO_SOURCE}its credential_source is unknown)`,
    hint:
      "have credential_source say Environment, EcsContainer or Ec2InstanceMetadata",
  },
  {
    kind: "provider",
    message: /^Unable to find environment variable/,
    code: "no-source",
    found: `${NO_SOURCE}this process has no keys in its environment)`,
    hint:
      `start moat with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY set, or ${NAME_PROFILE}`,
  },
  {
    kind: "provider",
    message:
      /invalid SSO credentials|^Conflicting SSO|^Incomplete configuration|^Sso session '|missing required property|not configured with SSO/,
    code: "no-source",
    found: `${NO_SOURCE}its SSO settings are incomplete)`,
    hint: "aws configure sso{profile}",
  },
  {
    kind: "parse",
    during: "source",
    message: /reading 'sso_/,
    code: "no-source",
    found: `${NO_SOURCE}its sso_session names a section that is not there)`,
    hint: "aws configure sso{profile}",
  },

  // The container endpoint.
  {
    kind: "provider",
    message: /^URL not accepted|not a valid container metadata service/,
    code: "no-source",
    found:
      `${NO_SOURCE}the container endpoint's URL is not one that SDKs accept)`,
    hint:
      "have AWS_CONTAINER_CREDENTIALS_FULL_URI name https, loopback, 169.254.170.2 or 169.254.170.23",
  },
  {
    kind: "provider",
    message:
      /^No HTTP credential provider host|^The container metadata credential provider cannot/,
    code: "no-source",
    found: `${NO_SOURCE}no container endpoint is set)`,
    hint:
      `start moat with AWS_CONTAINER_CREDENTIALS_FULL_URI set, or ${NAME_PROFILE}`,
  },
  {
    kind: "provider",
    message: /^Authorization token contains/,
    code: "no-source",
    found: `${NO_SOURCE}the container endpoint's token ends in a line break)`,
    hint: "write the token's file without a line break",
  },
  {
    kind: "provider",
    message: /^Server responded with status: (429|5)/,
    code: "source-unavailable",
    found: "the container endpoint cannot answer right now",
    hint: CHECK_CONTAINER,
  },
  {
    kind: "provider",
    message: /^Server responded with status/,
    code: "no-source",
    found: `${NO_SOURCE}the container endpoint refused)`,
    hint: CHECK_CONTAINER,
  },
  {
    kind: "provider",
    message: /^HTTP credential provider response/,
    code: "source-unavailable",
    found: "the container endpoint answered something that is no credentials",
    hint: CHECK_CONTAINER,
  },

  // Instance metadata.
  {
    kind: "provider",
    message: /instance metadata service$/,
    status: /^5/,
    code: "source-unavailable",
    found: "instance metadata cannot answer right now",
    hint: "try again",
  },
  {
    kind: "provider",
    message: /^(Error response received from|EC2 Metadata token)/,
    code: "no-source",
    found: `${NO_SOURCE}instance metadata has no role, or refused)`,
    hint: CHECK_INSTANCE,
  },
  {
    kind: "provider",
    message: /^(Unable to connect to|TimeoutError from) instance/,
    settings: ({ source: { order } }) => order[0] === "instance",
    code: "source-unavailable",
    found: "instance metadata cannot be reached",
    hint: CHECK_INSTANCE,
  },
  {
    kind: "provider",
    message: /^(Unable to connect to|TimeoutError from) instance/,
    code: "no-source",
    found: `${NO_SOURCE}instance metadata cannot be reached)`,
    hint: "{login}",
  },
  {
    kind: "provider",
    message: /^Invalid response received from instance/,
    code: "no-source",
    found:
      `${NO_SOURCE}instance metadata gave no credentials for the instance's role)`,
    hint:
      "check the trust policy of the instance's role: it must name ec2.amazonaws.com",
  },
  {
    kind: "provider",
    name: /V1Fallback/,
    code: "no-source",
    found:
      `${NO_SOURCE}instance metadata gave no token, and version 1 is turned off)`,
    hint: "raise the instance's hop limit, or allow version 1 of its metadata",
  },
  {
    kind: "provider",
    message: /Metadata Service access disabled/,
    code: "no-source",
    found: `${NO_SOURCE}instance metadata is turned off)`,
    hint: `unset AWS_EC2_METADATA_DISABLED, or ${NAME_PROFILE}`,
  },

  // Every other provider.
  {
    kind: "provider",
    message:
      /^(\w*Error: )?(error (sending|reading)|connect |timeout|socket|read |getaddrinfo|Request did not)|^TimeoutError/i,
    code: "source-unavailable",
    found: "what gives the source credentials cannot be reached",
    hint: TRY_AGAIN,
  },
  {
    kind: "provider",
    code: "no-source",
    found: "found no usable source credentials ({tried})",
    hint: "{login}",
  },

  // What else a source may throw.
  {
    kind: "file",
    code: "token-unreadable",
    found: "a token file of the source cannot be read ({tried})",
    hint: "check what writes the token, and that this user may read it",
  },
  {
    kind: "parse",
    during: "source",
    message: /JSON|RFC-3339|'(AccessKeyId|SecretAccessKey|Expiration)'/,
    code: "source-unavailable",
    found: "a source answered something that is no credentials ({tried})",
    hint:
      "check that the container endpoint or instance metadata is what it should be, and no login page is in the way",
  },
  {
    kind: "parse",
    during: "source",
    message: /^Invalid URL/,
    code: "no-source",
    found: `${NO_SOURCE}an address is no URL)`,
    hint:
      "check AWS_CONTAINER_CREDENTIALS_FULL_URI and AWS_EC2_METADATA_SERVICE_ENDPOINT",
  },
  {
    kind: "parse",
    name: /^SyntaxError$/,
    code: "sts-garbage",
    found: "{place} answered something that is not {format}",
    hint: CHECK_ADDRESS,
  },
];
