import assert from "node:assert/strict";
import fc from "fast-check";
import { MoatError } from "$core/errors.ts";
import { assertNoCanary, CANARY } from "../../tests/support/canary.ts";
import {
  clientSentence,
  failure,
  type FailureCode,
  type FailureContext,
  findRule,
  hideSecrets,
  isHardFailure,
  look,
  mapAwsError,
  RefusedAnswer,
  SELF_SOURCE_MARK,
  sourceTimeout,
  stsTimeout,
} from "./errors.ts";
import { FAILURES, RULES, type Service } from "./failures.ts";
import type { AwsSettings } from "./settings.ts";

const ROLE = "arn:aws:iam::123456789012:role/Deploy";

const SETTINGS: AwsSettings = {
  roles: [ROLE],
  region: "eu-central-1",
  source: {
    order: ["profile"],
    profile: "dev",
    configFile: "/home/ana/.aws/config",
    credentialsFile: "/home/ana/.aws/credentials",
  },
};

const MFA: AwsSettings = {
  ...SETTINGS,
  mfa: { serial: "arn:aws:iam::123456789012:mfa/ana" },
};

const ANYWHERE: AwsSettings = {
  ...SETTINGS,
  anywhere: {
    trustAnchorArn: "arn:aws:rolesanywhere:eu-west-1:123456789012:ta/1",
    profileArn: "arn:aws:rolesanywhere:eu-west-1:123456789012:profile/1",
    certificates: ["/home/ana/cert.pem"],
    region: "eu-west-1",
  },
};

const INSTANCE: AwsSettings = {
  ...SETTINGS,
  source: { ...SETTINGS.source, order: ["instance"] },
};

/** An answer of a service, as the SDK throws it. */
function answer(name: string, message: string, httpStatusCode = 400): Error {
  const members = { name, $fault: "client", $metadata: { httpStatusCode } };
  return Object.assign(new Error(message), members);
}

/** An answer that the SDK could not read. */
function garbage(httpStatusCode: number): Error {
  const message = `@aws-sdk XML parse error: missing closing tag ${CANARY}.
  Deserialization error: to see the raw response, inspect the hidden field {error}.$response on this object.`;
  return Object.assign(new Error(message), { $metadata: { httpStatusCode } });
}

function named(name: string, message = CANARY): Error {
  return Object.assign(new Error(message), { name });
}

/** What a credential provider of the SDK throws. */
function provider(message: string, members = {}): Error {
  return Object.assign(named("CredentialsProviderError", message), members);
}

function coded(code: string): Error {
  return Object.assign(new Error(`${code}: ${CANARY}`), { code });
}

/** A failure, and what a person is to be told. */
interface Case {
  /** What went wrong. */
  readonly what: string;
  readonly error: unknown;
  /** Default: none, a source. */
  readonly service?: Service;
  readonly settings?: AwsSettings;
  readonly code: FailureCode | "internal";
  /** Matches the hint. */
  readonly hint: RegExp;
  /** Matches what was found. */
  readonly found?: RegExp;
}

/** Cases of one service. */
function during(service: Service, cases: readonly Case[]): Case[] {
  const settings = service === "Roles Anywhere" ? ANYWHERE : SETTINGS;
  return cases.map((one) => ({ settings, service, ...one }));
}

const SIGNATURE = "The request signature we calculated does not match.";

/** Messages as STS really answers them. */
const STS_CASES: readonly Case[] = during("STS", [
  {
    what: "a role that may not be assumed",
    error: answer(
      "AccessDenied",
      `User: arn:aws:iam::123456789012:user/ana is not authorized to perform: sts:AssumeRole on resource: ${ROLE}`,
      403,
    ),
    code: "access-denied",
    found: /STS answered AccessDenied: User: .*:user\/ana is not authorized/,
    hint: /role exists.*trust policy.*--external-id.*sts:AssumeRole/,
  },
  {
    what: "another word for denied",
    error: answer("AccessDeniedException", "no", 403),
    code: "access-denied",
    hint: /trust policy/,
  },
  ...["TagSession", "SetSourceIdentity"].map((action): Case => ({
    what: `a role that does not allow sts:${action}`,
    error: answer(
      "AccessDenied",
      `User: arn:aws:iam::123456789012:user/ana is not authorized to perform: sts:${action} on resource: ${ROLE}`,
      403,
    ),
    code: "access-denied",
    hint: /allow sts:TagSession .*sts:SetSourceIdentity .*trust policy/,
  })),
  {
    what: "a role that a token may not assume",
    error: answer(
      "AccessDenied",
      "Not authorized to perform sts:AssumeRoleWithWebIdentity",
      403,
    ),
    code: "access-denied",
    hint: /issuer, audience and subject against the role's trust policy/,
  },
  ...[
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "IncompleteSignature",
    "MissingAuthenticationToken",
    "OptInRequired",
  ].map((name): Case => ({
    what: `source keys that are refused with ${name}`,
    error: answer(name, SIGNATURE, 403),
    code: "source-rejected",
    hint: /active and complete; aws sso login --profile dev/,
  })),
  ...["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"].map(
    (name): Case => ({
      what: `a source that ended with ${name}`,
      error: answer(
        name,
        "The security token included in the request is expired",
        403,
      ),
      code: "source-expired",
      hint: /^aws sso login --profile dev/,
    }),
  ),
  {
    what: "a region that is off",
    error: answer(
      "RegionDisabledException",
      "STS is not activated in this region for account:123456789012. Your account administrator can activate STS in this region using the IAM Console.",
      403,
    ),
    code: "region-disabled",
    hint: /enable STS in that region, or .*--region us-east-1/,
  },
  // The words of the SDK's own table of throttling errors.
  ...[
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
  ].map((name): Case => ({
    what: `too many calls with ${name}`,
    error: answer(name, "Rate exceeded", 503),
    code: "sts-throttled",
    found: /Rate exceeded/,
    hint: /wait a moment/,
  })),
  {
    what: "too many calls, whatever the name",
    error: answer("Surprise", "Rate exceeded", 429),
    code: "sts-throttled",
    hint: /wait a moment/,
  },
  {
    what: "too many calls, without XML",
    error: garbage(429),
    code: "sts-throttled",
    found: /STS in eu-central-1 answered 429$/,
    hint: /wait a moment/,
  },
  {
    what: "a session that is too long for the role",
    error: answer(
      "ValidationError",
      "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
    ),
    code: "duration-too-long",
    hint: /shorter --session-duration/,
  },
  {
    what: "a session that is too long for any role",
    error: answer(
      "ValidationError",
      "1 validation error detected: Value '43201' at 'durationSeconds' failed to satisfy constraint: Member must have value less than or equal to 43200",
    ),
    code: "duration-too-long",
    found: /less than or equal to 43200/,
    hint: /shorter --session-duration/,
  },
  {
    what: "a session that is too long for a role assumed by a role",
    error: answer(
      "ValidationError",
      "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
    ),
    code: "duration-too-long",
    hint: /shorter --session-duration.* 1h at most/,
  },
  {
    what: "another request that STS refuses",
    error: answer("ValidationError", "RoleSessionName is wrong"),
    code: "sts-refused",
    hint: /STS's message/,
  },
  {
    what: "an endpoint of another region",
    error: answer(
      "SignatureDoesNotMatch",
      "Credential should be scoped to a valid region.",
      403,
    ),
    code: "sts-refused",
    hint: /--region that the endpoint serves/,
  },
  ...["RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"].map(
    (name): Case => ({
      what: `a wrong clock with ${name}`,
      error: answer(name, "x", 403),
      code: "clock-skew",
      hint: /set this machine's clock/,
    }),
  ),
  ...[
    "Signature expired: 20260301T100000Z is now earlier than 20260301T101500Z",
    "Signature not yet current: 20260301T110000Z is still later than 20260301T101500Z",
  ].map((message): Case => ({
    what: `a wrong clock with "${message.slice(0, 25)}"`,
    error: answer("SignatureDoesNotMatch", message, 403),
    code: "clock-skew",
    hint: /set this machine's clock/,
  })),
  {
    what: "policies and tags that are too large once packed",
    error: answer(
      "PackedPolicyTooLargeException",
      "Packed policy consumes 112% of allotted space, please use smaller policy.",
    ),
    code: "policy-too-large",
    found: /112% of allotted space/,
    hint: /shorter --policy, or fewer or shorter tags/,
  },
  {
    what: "a policy with too many characters",
    error: answer(
      "ValidationError",
      "1 validation error detected: Value '{}' at 'policy' failed to satisfy constraint: Member must have length less than or equal to 2048",
    ),
    code: "policy-too-large",
    hint: /--policy of at most 2048 characters/,
  },
  {
    what: "a policy that is none",
    error: answer(
      "MalformedPolicyDocumentException",
      "This policy contains invalid Json",
    ),
    code: "policy-malformed",
    found: /invalid Json/,
    hint: /aws accessanalyzer validate-policy/,
  },
  {
    what: "a wrong MFA code",
    error: answer(
      "AccessDenied",
      "MultiFactorAuthentication failed with invalid MFA one time pass code. ",
      403,
    ),
    settings: MFA,
    code: "mfa-rejected",
    hint: /^moat mfa NAME CODE; a code works once/,
  },
  {
    what: "an MFA code of a wrong length",
    error: answer(
      "ValidationError",
      "1 validation error detected: Value '12' at 'tokenCode' failed to satisfy constraint: Member must have length greater than or equal to 6",
    ),
    settings: { ...MFA, mfa: { serial: "x", command: "/opt/code" } },
    code: "mfa-rejected",
    found: /Value at 'tokenCode' failed/,
    hint: /program of --mfa-command by hand/,
  },
  {
    what: "an MFA device of somebody else",
    error: answer(
      "AccessDenied",
      "MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is valid and associated with this user.",
      403,
    ),
    settings: MFA,
    code: "mfa-rejected",
    hint: /--mfa-serial.*aws iam list-mfa-devices --profile dev/,
  },
  {
    what: "a missing MFA code",
    error: answer(
      "AccessDenied",
      "MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code.",
      403,
    ),
    code: "mfa-required",
    hint: /grant again with --mfa-serial ARN/,
  },
  {
    what: "an MFA session that is asked for with a session",
    error: answer(
      "AccessDenied",
      "Cannot call GetSessionToken with session credentials",
      403,
    ),
    settings: MFA,
    code: "source-rejected",
    hint: /--aws-profile PROFILE that has the long-lived keys/,
  },
  {
    what: "an identity provider that STS cannot ask",
    error: answer(
      "IDPCommunicationErrorException",
      "Error communicating with the identity provider",
    ),
    code: "idp-unavailable",
    hint: /try again; STS must reach the identity provider/,
  },
  {
    what: "an identity provider whose keys STS cannot get",
    error: answer(
      "InvalidIdentityTokenException",
      "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements",
    ),
    code: "idp-unavailable",
    hint: /\/\.well-known\/openid-configuration/,
  },
  {
    what: "a token of no known issuer",
    error: answer(
      "InvalidIdentityTokenException",
      "No OpenIDConnect provider found in your account for https://issuer.example",
    ),
    code: "token-rejected",
    found: /No OpenIDConnect provider found .* https:\/\/issuer\.example/,
    hint: /issuer, audience and subject/,
  },
  {
    what: "a token that its issuer takes back",
    error: answer(
      "IDPRejectedClaimException",
      "graph.facebook.com: graph.facebook.com responded with HTTP/1.1 400 Bad Request",
      403,
    ),
    code: "token-rejected",
    hint: /issuer, audience and subject/,
  },
  {
    what: "a token that has expired",
    error: answer(
      "ExpiredTokenException",
      "Token expired: current date/time 1740387458 must be before the expiration date/time 1740319004",
    ),
    code: "token-rejected",
    found: /before the expiration date\/time 1740319004/,
    hint: /write a new one/,
  },
  {
    what: "a token that is too long",
    error: answer(
      "ValidationError",
      `1 validation error detected: Value '${CANARY}' at 'webIdentityToken' failed to satisfy constraint: Member must have length less than or equal to 20000`,
    ),
    code: "token-rejected",
    found: /Value at 'webIdentityToken' failed to satisfy/,
    hint: /holds one token, and nothing else/,
  },
  {
    what: "an STS that is down",
    error: answer("ServiceUnavailable", "x", 503),
    code: "sts-unavailable",
    found: /STS in eu-central-1 answered 503$/,
    hint: /try again; see https:\/\/health\.aws/,
  },
  {
    what: "a gateway's error page",
    error: garbage(502),
    code: "sts-unavailable",
    found: /answered 502$/,
    hint: /try again/,
  },
  {
    what: "a login page",
    error: garbage(200),
    code: "sts-garbage",
    found: /answered 200 with something that is not STS's XML$/,
    hint: /AWS_ENDPOINT_URL_STS names an STS, .*login page/,
  },
  {
    what: "an answer without XML",
    error: answer("Unknown", "Unknown", 403),
    code: "sts-garbage",
    hint: /AWS_ENDPOINT_URL_STS/,
  },
  {
    what: "an answer that is no XML",
    error: new SyntaxError(CANARY),
    code: "sts-garbage",
    hint: /AWS_ENDPOINT_URL_STS/,
  },
  {
    what: "an answer that is not read",
    error: new RefusedAnswer("answered more than 64 KiB"),
    code: "sts-garbage",
    found: /STS in eu-central-1 answered more than 64 KiB$/,
    hint: /login page/,
  },
  {
    what: "a network that is down",
    error: new TypeError(`error sending request for url (${CANARY})`),
    code: "sts-unreachable",
    found: /STS in eu-central-1 cannot be reached$/,
    hint: /network, HTTPS_PROXY, AWS_CA_BUNDLE, and AWS_ENDPOINT_URL_STS/,
  },
  ...["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN"].map((code): Case => ({
    what: `a connection that fails with ${code}`,
    error: coded(code),
    code: "sts-unreachable",
    hint: /check the network/,
  })),
  {
    what: "an answer that breaks off",
    error: Object.assign(
      new TypeError(`error reading a body from connection: ${CANARY}`),
      { $metadata: { httpStatusCode: 200 } },
    ),
    code: "sts-unreachable",
    found: /broke off in the middle of its answer$/,
    hint: /try again/,
  },
  {
    what: "a certificate of somebody else",
    error: new TypeError(
      `error sending request for url (${CANARY}): invalid peer certificate: UnknownIssuer`,
    ),
    code: "sts-unreachable",
    found: /TLS certificate of STS .*is not one that this host trusts$/,
    hint: /AWS_CA_BUNDLE naming a PEM file/,
  },
  ...["TimeoutError", "AbortError"].map((name): Case => ({
    what: `a slow STS with ${name}`,
    error: named(name),
    code: "sts-timeout",
    found: /did not answer in time$/,
    hint: /HTTPS_PROXY and the region/,
  })),
  {
    what: "a mistake of ours",
    error: new RangeError(CANARY),
    code: "internal",
    hint: /MOAT_DEBUG=1/,
  },
  {
    what: "an unknown error",
    error: named("Surprise"),
    code: "internal",
    hint: /MOAT_DEBUG=1/,
  },
  {
    what: "a thrown text",
    error: CANARY,
    code: "internal",
    hint: /MOAT_DEBUG=1/,
  },
  {
    what: "a thrown nothing",
    error: undefined,
    code: "internal",
    hint: /MOAT_DEBUG=1/,
  },
]);

/** Messages as IAM really answers them. */
const IAM_CASES: readonly Case[] = during("IAM", [
  {
    what: "a role that is not there",
    error: answer(
      "NoSuchEntityException",
      "The role with name app cannot be found.",
      404,
    ),
    code: "role-unknown",
    found: /IAM answered NoSuchEntityException: The role with name app/,
    hint: /NAME@ACCOUNT/,
  },
  {
    what: "an identity that may not look roles up",
    error: answer(
      "AccessDenied",
      `User: arn:aws:iam::123456789012:user/ana is not authorized to perform: iam:GetRole on resource: role app`,
      403,
    ),
    code: "access-denied",
    found: /iam:GetRole/,
    hint: /allow iam:GetRole .*default_account/,
  },
  {
    what: "no answer",
    error: named("TimeoutError"),
    code: "sts-timeout",
    found: /: IAM did not answer in time/,
    hint: /network/,
  },
  {
    what: "another program at its address",
    error: garbage(200),
    code: "sts-garbage",
    found: /not IAM's XML/,
    hint: /AWS_ENDPOINT_URL_IAM names IAM/,
  },
]);

/** Messages as users of Roles Anywhere report them. */
const ANYWHERE_CASES: readonly Case[] = during("Roles Anywhere", [
  {
    what: "a role that the certificate may not assume",
    error: answer(
      "AccessDeniedException",
      `Unable to assume role for ${ROLE}.`,
      403,
    ),
    code: "access-denied",
    found: /Roles Anywhere answered AccessDeniedException: Unable to assume/,
    hint:
      /sts:TagSession and sts:SetSourceIdentity to rolesanywhere\.amazonaws\.com/,
  },
  {
    what: "a session name that the profile does not take",
    error: answer(
      "AccessDeniedException",
      "Not authorized to set roleSessionName.",
      403,
    ),
    code: "access-denied",
    hint: /acceptRoleSessionName/,
  },
  {
    what: "a certificate whose names make no tags",
    error: answer(
      "AccessDeniedException",
      `Unable to assume role for ${ROLE}. Some attributes failed to be mapped into session tags. Issuer: [  ]; Subject: [  ]; SAN: [ DNS/2 ]`,
      403,
    ),
    code: "anywhere-rejected",
    hint: /attribute mappings/,
  },
  {
    what: "a session that is too long for the role",
    error: answer(
      "AccessDeniedException",
      `Unable to assume role for ${ROLE}. The requested DurationSeconds exceeds the MaxSessionDuration set for this role.`,
      403,
    ),
    code: "duration-too-long",
    hint: /maximum of the role and of its Roles Anywhere profile/,
  },
  {
    what: "a session that is too long for the service",
    error: answer(
      "ValidationException",
      "1 validation error detected: Value '43201' at 'durationSeconds' failed to satisfy constraint: Member must have value less than or equal to 43200",
    ),
    code: "duration-too-long",
    hint: /shorter --session-duration/,
  },
  {
    what: "a certificate of another CA",
    error: answer(
      "AccessDeniedException",
      "Untrusted signing certificate",
      403,
    ),
    code: "anywhere-rejected",
    found: /Untrusted signing certificate$/,
    hint: /--trust-anchor-arn names the CA.*--intermediates FILE/,
  },
  {
    what: "a certificate for other uses",
    error: answer(
      "AccessDeniedException",
      "Untrusted certificate. Insufficient certificate",
      403,
    ),
    code: "anywhere-rejected",
    hint: /CA:FALSE, key usage digitalSignature/,
  },
  {
    what: "a certificate that was revoked",
    error: answer("AccessDeniedException", "Certificate revoked", 403),
    code: "anywhere-rejected",
    hint: /new certificate/,
  },
  {
    what: "a signature that does not fit",
    error: answer("AccessDeniedException", "Invalid signature", 403),
    code: "anywhere-rejected",
    hint: /certificate and private key/,
  },
  {
    what: "a wrong clock",
    error: answer("AccessDeniedException", "Signature expired", 403),
    code: "clock-skew",
    hint: /set this machine's clock/,
  },
  {
    what: "a trust anchor that does not exist",
    error: answer("ResourceNotFoundException", "Trust anchor not found", 404),
    code: "anywhere-not-found",
    hint: /--trust-anchor-arn and --profile-arn/,
  },
  ...["ValidationException", "TooManyTagsException"].map((name): Case => ({
    what: `a request that is refused with ${name}`,
    error: answer(name, "x"),
    code: "anywhere-rejected",
    hint: /trust anchor and profile are enabled/,
  })),
  ...["Client", "Service"].map((who): Case => ({
    what: `a role that is locked by the ${who.toLowerCase()}`,
    error: answer(`ServiceLinkedRoleLock${who}Exception`, "x", 409),
    code: "sts-unavailable",
    hint: /wait a moment/,
  })),
  {
    what: "too many calls",
    error: answer("ThrottlingException", "Rate exceeded", 429),
    code: "sts-throttled",
    found: /Roles Anywhere answered ThrottlingException: Rate exceeded$/,
    hint: /wait a moment/,
  },
  {
    what: "a service that is down",
    error: answer("InternalServerException", "x", 500),
    code: "sts-unavailable",
    found: /Roles Anywhere in eu-west-1 answered 500$/,
    hint: /try again/,
  },
  {
    what: "a login page",
    error: garbage(200),
    code: "sts-garbage",
    found: /is not Roles Anywhere's JSON$/,
    hint: /--endpoint names Roles Anywhere, .*login page/,
  },
  {
    what: "an address where nobody listens",
    error: new TypeError("error sending request for url (x)"),
    settings: {
      ...ANYWHERE,
      anywhere: { ...ANYWHERE.anywhere!, endpoint: "http://127.0.0.1:1" },
    },
    code: "sts-unreachable",
    found: /: http:\/\/127\.0\.0\.1:1 cannot be reached$/,
    hint: /and --endpoint if it is set/,
  },
]);

const RENEW = "To refresh this SSO session run aws sso login";

/** What the SDK's providers throw; `errors_sdk_test.ts` sees to it that they do. */
const SOURCE_CASES: readonly Case[] = [
  ...[
    `The SSO session associated with this profile has expired. ${RENEW}`,
    `The SSO session associated with this profile is invalid. ${RENEW}`,
    `The SSO session token associated with profile=dev was not found or is invalid. ${RENEW}`,
    `Token is expired. ${RENEW}`,
    `Value not present for 'accessToken' in SSO Token. ${RENEW}`,
    "UnauthorizedException: Session token not found or invalid",
    `Command failed: aws configure export-credentials\n\nError when retrieving token from sso: Token has expired and refresh failed ${CANARY}`,
  ].map((message): Case => ({
    what: `an SSO login with "${message.slice(0, 40).replace("\n", " ")}"`,
    error: provider(message),
    code: "source-expired",
    found: /SSO login has ended$/,
    hint: /^aws sso login --profile dev$/,
  })),
  {
    what: "an SSO token that ended",
    error: named("TokenProviderError", "Token is expired"),
    code: "source-expired",
    hint: /^aws sso login --profile dev$/,
  },
  ...[
    "Your session has expired. Please reauthenticate.",
    "Unable to refresh credentials because of a change in your password. Please reauthenticate with your new password.",
    `Failed to load token from /home/ana/.aws/login/cache/${CANARY}.json: Error: ENOENT`,
    `Failed to refresh token: AccessDeniedException: ${CANARY}. Please re-authenticate using aws login`,
  ].map((message): Case => ({
    what: `a console login with "${message.slice(0, 24)}"`,
    error: provider(message),
    code: "source-expired",
    hint: /^aws login --profile dev$/,
  })),
  {
    what: "a console login that cannot be renewed now",
    error: provider(
      `Failed to refresh token: TypeError: error sending request for url (${CANARY}). Please re-authenticate using aws login`,
    ),
    code: "source-unavailable",
    hint: /check the network/,
  },
  {
    what: "a console login that may not be renewed",
    error: provider(
      "Unable to refresh credentials due to insufficient permissions. You may be missing permission for the 'CreateOAuth2Token' action.",
    ),
    code: "source-rejected",
    hint: /signin:CreateOAuth2Token.* aws login --profile dev/,
  },
  ...[
    "ForbiddenException: No access",
    "ResourceNotFoundException: x",
    "InvalidRequestException: x",
  ].map((message): Case => ({
    what: `an SSO portal with "${message}"`,
    error: provider(message),
    code: "source-rejected",
    found: /SSO portal refuses/,
    hint: /sso_account_id and sso_role_name/,
  })),
  {
    what: "an SSO portal that is asked too often",
    error: provider("TooManyRequestsException: HTTP 429 Unknown Code"),
    code: "source-unavailable",
    hint: /wait a moment/,
  },
  ...["InternalServerException: x", "Unknown: UnknownError"].map((
    message,
  ): Case => ({
    what: `an SSO portal with "${message}"`,
    error: provider(message),
    code: "source-unavailable",
    found: /SSO portal cannot answer right now$/,
    hint: /try again/,
  })),
  ...[
    `SyntaxError: Unexpected token '<', "<html>${CANARY}" is not valid JSON`,
    "SSO returns an invalid temporary credential.",
    "RefusedAnswer: answered 302, a redirect, which moat does not follow",
  ].map((message): Case => ({
    what: `an SSO portal with "${message.slice(0, 20)}"`,
    error: provider(message),
    code: "source-unavailable",
    found: /SSO portal answered something that is no credentials$/,
    hint: /login page/,
  })),
  {
    what: "an SSO portal that cannot be reached",
    error: provider(`TypeError: error sending request for url (${CANARY})`),
    code: "source-unavailable",
    found: /cannot be reached$/,
    hint: /check the network/,
  },
  ...[
    `Profile is configured with invalid SSO credentials. Required parameters "sso_account_id", "sso_region", "sso_role_name", "sso_start_url". Got ${CANARY}`,
    `Sso session '${CANARY}' could not be found in shared credentials file.`,
    "Profile dev is not configured with SSO credentials.",
  ].map((message): Case => ({
    what: `an SSO profile with "${message.slice(0, 30)}"`,
    error: provider(message),
    code: "no-source",
    found: /SSO settings are incomplete/,
    hint: /^aws configure sso --profile dev$/,
  })),
  {
    what: "an sso_session that is nowhere",
    error: new TypeError(
      "Cannot read properties of undefined (reading 'sso_region')",
    ),
    code: "no-source",
    found: /names a section that is not there/,
    hint: /^aws configure sso --profile dev$/,
  },
  ...[
    `Command failed: /opt/get-keys\n${CANARY}`,
    `Command failed: /opt/get-keys --secret ${CANARY}`,
    "Profile dev credential_process returned invalid JSON.",
    "Profile dev credential_process returned invalid credentials.",
    "Profile dev credential_process did not return Version 1.",
    "Cannot read properties of null (reading 'Version')",
    "stdout maxBuffer length exceeded",
  ].map((message): Case => ({
    what: `a program with "${message.slice(0, 48).replace("\n", " ")}"`,
    error: provider(message),
    code: "no-source",
    found: /its credential_process failed/,
    hint: /run the profile's credential_process by hand/,
  })),
  {
    what: "a program whose credentials have expired",
    error: provider(
      "Profile dev credential_process returned expired credentials.",
    ),
    code: "source-expired",
    hint: /credential_process by hand, and renew the login/,
  },
  {
    what: "a program that may no longer be started",
    error: provider(
      'Requires run access to "/bin/sh", run again with the --allow-run flag',
    ),
    code: "no-source",
    found: /the proxy has given up starting any/,
    hint: /restart moat proxy/,
  },
  {
    what: "a source that is moat",
    error: provider(`Command failed: x\n${SELF_SOURCE_MARK}\n`),
    code: "source-is-moat",
    hint:
      /--aws-profile or AWS_PROFILE\) of credentials that moat did not hand out/,
  },
  {
    what: "a profile that asks for an MFA code",
    error: provider(
      "Profile dev requires multi-factor authentication, but no MFA code callback was provided.",
    ),
    code: "mfa-required",
    hint: /--mfa-command PROGRAM .*--mfa-serial ARN/,
  },
  {
    what: "profiles in a circle",
    error: provider(
      `Detected a cycle attempting to resolve credentials for profile dev. Profiles visited: q, ${CANARY}`,
    ),
    code: "no-source",
    found: /leads back to itself/,
    hint: /source_profile name a profile with credentials/,
  },
  {
    what: "an unknown credential_source",
    error: provider(
      `Unsupported credential source in profile dev. Got ${CANARY}, expected EcsContainer or Ec2InstanceMetadata or Environment.`,
    ),
    code: "no-source",
    hint: /Environment, EcsContainer or Ec2InstanceMetadata/,
  },
  {
    what: "an environment without keys",
    error: provider("Unable to find environment variable credentials."),
    code: "no-source",
    hint: /AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY/,
  },
  {
    what: "a container endpoint at a foreign host",
    error: provider(
      "URL not accepted. It must either be HTTPS or match one of the following:\n  - loopback CIDR 127.0.0.0/8 or [::1/128]",
    ),
    code: "no-source",
    hint: /https, loopback, 169\.254\.170\.2 or/,
  },
  {
    what: "no container endpoint",
    error: provider(
      "No HTTP credential provider host provided.\nSet AWS_CONTAINER_CREDENTIALS_FULL_URI or AWS_CONTAINER_CREDENTIALS_RELATIVE_URI.",
    ),
    code: "no-source",
    hint: /AWS_CONTAINER_CREDENTIALS_FULL_URI set/,
  },
  {
    what: "a container token that ends in a line break",
    error: provider(
      "Authorization token contains invalid \\r\\n sequence.",
    ),
    code: "no-source",
    hint: /without a line break/,
  },
  ...[400, 401, 403, 404, 302].map((status): Case => ({
    what: `a container endpoint that answers ${status}`,
    error: provider(`Server responded with status: ${status}`, {
      Code: CANARY,
      Message: CANARY,
    }),
    code: "no-source",
    found: /container endpoint refused/,
    hint: /AWS_CONTAINER_CREDENTIALS_FULL_URI and the file of its token/,
  })),
  ...[429, 500, 502].map((status): Case => ({
    what: `a container endpoint that answers ${status}`,
    error: provider(`Server responded with status: ${status}`),
    code: "source-unavailable",
    hint: /AWS_CONTAINER_CREDENTIALS_FULL_URI/,
  })),
  {
    what: "a container endpoint that gives half of it",
    error: provider(
      "HTTP credential provider response not of the required format, an object matching: { AccessKeyId: string }",
    ),
    code: "source-unavailable",
    hint: /AWS_CONTAINER_CREDENTIALS_FULL_URI/,
  },
  {
    what: "a container endpoint where nobody listens",
    error: provider("Error: connect ECONNREFUSED 127.0.0.1:1"),
    code: "source-unavailable",
    hint: /check the network/,
  },
  ...[
    new SyntaxError(`Unexpected token '<', "${CANARY}" is not valid JSON`),
    new TypeError("Cannot read properties of null (reading 'AccessKeyId')"),
    new TypeError("Invalid RFC-3339 date-time value"),
  ].map((error): Case => ({
    what: `a source with "${error.message.slice(0, 30)}"`,
    error,
    code: "source-unavailable",
    found: /a source answered something that is no credentials/,
    hint: /login page/,
  })),
  {
    what: "an address that is none",
    error: new TypeError(`Invalid URL: '${CANARY}'`),
    code: "no-source",
    hint:
      /AWS_CONTAINER_CREDENTIALS_FULL_URI and AWS_EC2_METADATA_SERVICE_ENDPOINT/,
  },
  ...[
    "Unable to connect to instance metadata service",
    "TimeoutError from instance metadata service",
  ].flatMap((message): Case[] => [
    {
      what: `a host that is no instance with "${message.slice(0, 20)}"`,
      error: named("ProviderError", message),
      code: "no-source",
      hint: /^aws sso login --profile dev/,
    },
    {
      what: `an instance with "${message.slice(0, 20)}"`,
      error: named("ProviderError", message),
      settings: INSTANCE,
      code: "source-unavailable",
      hint: /EC2 instance with a role/,
    },
  ]),
  ...[400, 401, 403, 404].map((statusCode): Case => ({
    what: `instance metadata that answers ${statusCode}`,
    error: Object.assign(
      named(
        "ProviderError",
        statusCode === 400
          ? "EC2 Metadata token request returned error"
          : "Error response received from instance metadata service",
      ),
      { statusCode },
    ),
    code: "no-source",
    found: /instance metadata has no role, or refused/,
    hint: /EC2 instance with a role/,
  })),
  {
    what: "instance metadata that is down",
    error: Object.assign(
      named(
        "ProviderError",
        "Error response received from instance metadata service",
      ),
      { statusCode: 503 },
    ),
    code: "source-unavailable",
    hint: /try again/,
  },
  {
    what: "an instance whose role it cannot assume",
    error: provider(
      "Invalid response received from instance metadata service.",
    ),
    code: "no-source",
    hint: /must name ec2\.amazonaws\.com/,
  },
  {
    what: "an instance whose metadata has version 1 only",
    error: named(
      "InstanceMetadataV1FallbackError",
      "AWS EC2 Metadata v1 fallback has been blocked by AWS SDK configuration in the following: [x].",
    ),
    code: "no-source",
    hint: /hop limit/,
  },
  {
    what: "instance metadata that is turned off",
    error: provider("EC2 Instance Metadata Service access disabled"),
    code: "no-source",
    hint: /AWS_EC2_METADATA_DISABLED/,
  },
  {
    what: "a profile without credentials",
    error: provider(
      "Could not resolve credentials using profile: [dev] in configuration/credentials file(s).",
    ),
    code: "no-source",
    found: /profile "dev" in .*credentials and .*config/,
    hint: /^aws sso login --profile dev, or aws configure --profile dev$/,
  },
  {
    what: "a chain without credentials",
    error: named("ProviderError"),
    code: "no-source",
    hint: /^aws sso login --profile dev/,
  },
  ...["ENOENT", "EACCES", "EISDIR"].map((code): Case => ({
    what: `a token file with ${code}`,
    error: coded(code),
    code: "token-unreadable",
    hint: /what writes the token/,
  })),
  {
    what: "a profile's role that may not be assumed",
    error: answer("AccessDenied", "no", 403),
    code: "access-denied",
    found: /STS answered AccessDenied: no$/,
    hint: /trust policy/,
  },
  {
    what: "a profile's role when STS cannot be reached",
    error: new TypeError(`error sending request for url (${CANARY})`),
    code: "sts-unreachable",
    hint: /check the network/,
  },
  {
    what: "a mistake of ours while it is asked",
    error: new TypeError(`x.${CANARY} is not a function`),
    code: "internal",
    hint: /MOAT_DEBUG=1/,
  },
];

const CASES: readonly Case[] = [
  ...STS_CASES,
  ...ANYWHERE_CASES,
  ...IAM_CASES,
  ...SOURCE_CASES,
];

function contextOf({ service, settings = SETTINGS }: Case): FailureContext {
  return { settings, ...(service && { service }) };
}

/** All that a person sees of an error. */
function shown(error: MoatError): string {
  return `${error.message} ${error.hint}`;
}

/** What must not leave the host. */
const PRIVATE =
  /arn:|Deploy|1234|\bana\b|\bdev\b|central|\.aws|\/home|amazonaws/;

for (const one of CASES) {
  const { service = "source", what, code, found = /./, hint } = one;
  const where = `${what} (${service})`;
  const mapped = mapAwsError(one.error, contextOf(one));

  Deno.test(`mapAwsError() says ${code} for ${where}`, () => {
    assert.equal(mapped.code, code, mapped.message);
  });

  Deno.test(`mapAwsError() gives one sentence for ${where}`, () => {
    assert.match(mapped.message, /^(Cannot|Unexpected) .*[^.\s]$/);
    assert.match(mapped.message, found);
  });

  Deno.test(`mapAwsError() names the next step for ${where}`, () => {
    assert.match(mapped.hint ?? "", hint);
    assert.doesNotMatch(mapped.hint ?? "", /\.$|undefined/);
  });

  Deno.test(`mapAwsError() quotes nothing unknown for ${where}`, () => {
    assertNoCanary(shown(mapped));
  });

  Deno.test(`clientSentence() keeps the host to itself for ${where}`, () => {
    assert.doesNotMatch(clientSentence(mapped), PRIVATE);
  });
}

for (const [index, rule] of RULES.entries()) {
  const { kind = "anything", code } = rule;
  const what = rule.message ?? rule.name ?? rule.status ?? "anything";
  Deno.test(`rule ${index} (${kind}, ${what}: ${code}) is the first for a case`, () => {
    const isUsed = CASES.some((one) =>
      findRule(look(one.error), contextOf(one)) === rule
    );
    assert(isUsed);
  });

  Deno.test(`rule ${index} quotes nobody but a service of AWS`, () => {
    const quotes = `${rule.found} ${rule.hint}`.includes("{said}");
    assert(!quotes || rule.kind === "answer");
  });

  Deno.test(`rule ${index} has known words only`, () => {
    const words = `${rule.found} ${rule.hint}`.match(/\{\w*\}?/g) ?? [];
    for (const word of words) {
      assert.match(
        word,
        /^\{(said|service|aService|place|format|endpoint|status|fault|tried|profile|login|mfa)\}$/,
      );
    }
  });
}

for (const [code, { isHard, client }] of Object.entries(FAILURES)) {
  Deno.test(`${code} has one sentence of its own for clients`, () => {
    const all = Object.values(FAILURES).map((one) => one.client);
    assert.match(client, /^[A-Z][A-Za-z ,']*[a-z]$/);
    assert.equal(all.filter((other) => other === client).length, 1);
    assert.equal(clientSentence(new MoatError(code, CANARY)), client);
  });

  Deno.test(`isHardFailure() is ${isHard} for ${code}`, () => {
    assert.equal(isHardFailure(new MoatError(code, "x")), isHard);
  });
}

Deno.test("what the same call may get over by itself is soft", () => {
  const soft = Object.entries(FAILURES).filter(([_, { isHard }]) => !isHard);
  assert.deepEqual(soft.map(([code]) => code), [
    "clock-skew",
    "grant-changed",
    "idp-unavailable",
    "source-timeout",
    "source-unavailable",
    "sts-garbage",
    "sts-throttled",
    "sts-timeout",
    "sts-unavailable",
    "sts-unreachable",
  ]);
});

for (const code of ["nonsense", "toString", "__proto__", "constructor"]) {
  Deno.test(`clientSentence() has a sentence for the code ${code}`, () => {
    const sentence = clientSentence(new MoatError(code, CANARY));
    assert.equal(sentence, "moat failed to obtain a session");
  });

  Deno.test(`isHardFailure() is false for the code ${code}`, () => {
    assert.equal(isHardFailure(new MoatError(code, "x")), false);
  });
}

Deno.test("mapAwsError() leaves an error of moat's own as it is", () => {
  const error = new MoatError("own", "x");
  assert.equal(mapAwsError(error, { settings: SETTINGS }), error);
});

Deno.test("mapAwsError() quotes STS", () => {
  const error = answer("AccessDenied", "User: arn:x is not authorized.", 403);
  assert.equal(
    mapAwsError(error, { settings: SETTINGS, service: "STS" }).message,
    `Cannot assume ${ROLE}: STS answered AccessDenied: User: arn:x is not authorized`,
  );
});

Deno.test("mapAwsError() names another action on wish", () => {
  const error = answer("AccessDenied", "no", 403);
  const action = "ask who this is";
  const { message } = mapAwsError(error, { settings: SETTINGS, action });
  assert.match(message, /^Cannot ask who this is: STS answered AccessDenied/);
});

Deno.test("mapAwsError() names the grant in commands", () => {
  const error = answer("AccessDenied", "MultiFactorAuthentication failed");
  const context = { settings: MFA, service: "STS", grant: "aws:prod" } as const;
  assert.match(mapAwsError(error, context).hint ?? "", /^moat mfa aws:prod /);
});

Deno.test("mapAwsError() names all sources that were tried", () => {
  const { profile: _, ...source } = SETTINGS.source;
  const order = [
    "environment",
    "profile",
    "web-identity",
    "container",
    "instance",
  ] as const;
  const settings = { ...SETTINGS, source: { ...source, order } };
  const error = mapAwsError(named("ProviderError"), { settings });
  assert.match(
    shown(error),
    /tried the environment, profile "default" in .*, a web identity token, the container endpoint, instance metadata\) aws sso login, aws configure, or name a profile \(--aws-profile or AWS_PROFILE\)$/,
  );
});

Deno.test("mapAwsError() speaks of the source where there is no role", () => {
  const settings: AwsSettings = { ...SETTINGS, roles: [], direct: true };
  const { message } = mapAwsError(named("ProviderError"), { settings });
  assert.match(
    message,
    /^Cannot use the source's own session: found no usable/,
  );
});

Deno.test("mapAwsError() names the endpoint that cannot be reached", () => {
  const settings = { ...SETTINGS, stsEndpoint: "http://127.0.0.1:1" };
  const error = mapAwsError(coded("ECONNREFUSED"), { settings });
  assert.match(error.message, /: http:\/\/127\.0\.0\.1:1 cannot be reached$/);
});

Deno.test("mapAwsError() quotes a profile's name for the shell", () => {
  const source = { ...SETTINGS.source, profile: "it's me; rm" };
  const settings = { ...SETTINGS, source };
  const { hint } = mapAwsError(provider("Token is expired"), { settings });
  assert.equal(hint, "aws sso login --profile 'it'\\''s me; rm'");
});

const STS = { settings: SETTINGS, service: "STS" } as const;

Deno.test("mapAwsError() quotes no canonical request, which may hold a token", () => {
  const message =
    `${SIGNATURE}\n\nThe Canonical String for this request should have been\n'POST\n/\n\nx-amz-security-token:${CANARY}'`;
  const error = answer("SignatureDoesNotMatch", message, 403);
  const mapped = mapAwsError(error, STS);
  assertNoCanary(shown(mapped));
  assert.match(mapped.message, /we calculated does not match$/);
});

for (
  const message of [
    `1 validation error detected: Value '${CANARY}' at 'externalId' failed to satisfy constraint`,
    `1 validation error detected: Value '${CANARY}\n${CANARY}' at 'x' failed`,
    `2 validation errors detected: Value 'a' at 'x' failed; Value '${CANARY} at 'y' failed`,
    `Value '${CANARY}`,
  ]
) {
  Deno.test(`mapAwsError() quotes no parameter, as in "${message.replaceAll(CANARY, "…").replace("\n", " ")}"`, () => {
    assertNoCanary(shown(mapAwsError(answer("ValidationError", message), STS)));
  });
}

Deno.test("mapAwsError() keeps ARNs and names in what it quotes", () => {
  const said =
    "User: arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_AdministratorAccess_0123456789abcdef/ana@example.com is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::123456789012:role/a/path/VeryLongNameOfARoleForDeployments2026";
  const { message } = mapAwsError(answer("AccessDenied", said, 403), STS);
  assert(message.endsWith(said), message);
});

Deno.test("mapAwsError() shortens what STS says", () => {
  const error = answer("AccessDenied", "very ".repeat(10_000), 403);
  assert(mapAwsError(error, STS).message.length < 500);
});

Deno.test("mapAwsError() shortens the name of STS's error", () => {
  const error = answer("very ".repeat(10_000), "no", 400);
  assert(mapAwsError(error, STS).message.length < 200);
});

for (const part of ["name", "message", "stack"] as const) {
  Deno.test(`hideSecrets() takes secrets out of an error's ${part}`, () => {
    const error = new Error("x");
    error[part] = `a ${CANARY} b ${CANARY}`;
    hideSecrets(error, [undefined, "", CANARY]);
    assert.equal(error[part], "a [redacted] b [redacted]");
  });
}

Deno.test("hideSecrets() knows a secret as it was sent in a form", () => {
  const error = new Error("Token=a%2Fb%2Bc%3D+d&x");
  hideSecrets(error, ["a/b+c= d"]);
  assert.equal(error.message, "Token=[redacted]&x");
});

Deno.test("hideSecrets() takes secrets out of a DOMException", () => {
  const error = new DOMException(`a ${CANARY}`, "TimeoutError");
  hideSecrets(error, [CANARY]);
  assert.equal(error.message, "a [redacted]");
});

Deno.test("hideSecrets() leaves an error without secrets as it is", () => {
  const error = new DOMException("x", "TimeoutError");
  assert.equal(hideSecrets(error, [CANARY]), error);
});

Deno.test("RefusedAnswer shows through where the SDK wraps its text", () => {
  const error = provider(String(new RefusedAnswer("answered 302")));
  const { message } = mapAwsError(error, { settings: SETTINGS });
  assert.match(message, /SSO portal answered something/);
});

/** Anything that may be thrown, with a text somewhere in it. */
function thrown(text: fc.Arbitrary<string>): fc.Arbitrary<unknown> {
  const names = CASES.map(({ error }) =>
    error instanceof Error ? error.name : "Odd"
  );
  const starts = CASES.map(({ error }) =>
    error instanceof Error ? error.message.replaceAll(CANARY, "") : ""
  );
  const odd = fc.constantFrom(null, 7, {}, undefined);
  const message = fc.tuple(fc.constantFrom("", ...starts), text).map((parts) =>
    parts.join(" ")
  );
  const members = fc.record({
    name: fc.oneof(fc.constantFrom(...names), text, odd),
    message: fc.oneof(message, message, odd),
    code: fc.oneof(fc.constantFrom("ENOENT", "ECONNRESET"), text, odd),
    $fault: fc.oneof(fc.constantFrom("client", "server"), odd),
    $metadata: fc.oneof(
      fc.record({ httpStatusCode: fc.constantFrom(200, 400, 403, 429, 503) }),
      odd,
    ),
    statusCode: fc.oneof(fc.constantFrom(404, 503), text, odd),
    path: text,
  }, { requiredKeys: ["message"] });
  const classes = fc.constantFrom(Error, TypeError, SyntaxError);
  return fc.oneof(
    text,
    fc.tuple(classes, members).map(([Class, all]) =>
      Object.assign(new Class(), all)
    ),
    text.map((part) => new RefusedAnswer(part)),
  );
}

const CONTEXTS: fc.Arbitrary<FailureContext> = fc.record({
  settings: fc.constantFrom(SETTINGS, MFA, ANYWHERE, INSTANCE),
  service: fc.constantFrom<Service[]>("STS", "Roles Anywhere", "IAM"),
  grant: fc.constantFrom("aws", "aws:prod"),
}, { requiredKeys: ["settings"] });

const ODD_TEXT = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom("a\nb", "\x1b[2J", "\x9b", "\u2028", "\u202e", "scoped to"),
);

Deno.test("mapAwsError() says on one printable line what anybody throws", () => {
  fc.assert(
    fc.property(thrown(ODD_TEXT), CONTEXTS, (error, context) => {
      const { code, message, hint = "" } = mapAwsError(error, context);
      // deno-lint-ignore no-control-regex
      const line = /^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+$/;
      assert.match(message, line);
      assert.match(hint, line);
      assert.match(code, /^[a-z-]+$/);
      assert(message.length < 700, message);
    }),
    { numRuns: 2000 },
  );
});

/** A text around the planted secret. */
const AROUND = fc.tuple(ODD_TEXT, fc.constantFrom("", " ", "\n", "'", ":"))
  .map(([before, edge]) => `${before}${edge}${CANARY}${edge} ${before}`);

/** All that leaves moat of an error, besides its code. */
function everything(error: unknown, context: FailureContext): string {
  const mapped = mapAwsError(error, context);
  return `${shown(mapped)} ${clientSentence(mapped)}`;
}

Deno.test("no error shows a secret of the call, wherever the thrown one has it", () => {
  fc.assert(
    fc.property(thrown(AROUND), CONTEXTS, (error, context) => {
      if (error instanceof RefusedAnswer) return;
      assertNoCanary(everything(hideSecrets(error, [CANARY]), context));
    }),
    { numRuns: 2000 },
  );
});

Deno.test("no error shows what was not said by a service of AWS", () => {
  fc.assert(
    fc.property(thrown(AROUND), CONTEXTS, (error, context) => {
      if (look(error).kind === "answer" || error instanceof RefusedAnswer) {
        return;
      }
      const { code, message, hint } = mapAwsError(error, context);
      if (code !== "internal") assertNoCanary(message);
      assertNoCanary(hint ?? "", clientSentence(new MoatError(code, "x")));
    }),
    { numRuns: 2000 },
  );
});

/** Secrets that only the service knows, as AWS makes them. */
const FOREIGN_SECRETS = {
  "a secret access key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKE1",
  "a JSON web token": `eyJhbGciOiJSUzI1NiJ9.${"eyJz".repeat(20)}.c2lnbmF0dXJl`,
  "a session token": `IQoJb3JpZ2luX2VjE${"Ab1/+".repeat(60)}==`,
};

for (const [what, secret] of Object.entries(FOREIGN_SECRETS)) {
  Deno.test(`mapAwsError() takes ${what} out of what it quotes`, () => {
    const edge = fc.constantFrom(" ", "'", '"', ":", "(", "\n", ", ");
    fc.assert(fc.property(edge, edge, CONTEXTS, (before, after, context) => {
      const said = `bad thing${before}${secret}${after}`;
      for (const error of [answer("Odd", said), answer(said, "x")]) {
        const text = everything(error, context);
        assert(!text.includes(secret.slice(0, 30)), text);
      }
    }));
  });
}

for (
  const error of [
    stsTimeout(),
    stsTimeout("Roles Anywhere"),
    sourceTimeout(SETTINGS),
  ]
) {
  Deno.test(`"${error.message}" is soft and has a hint`, () => {
    assert.deepEqual([isHardFailure(error), !!error.hint], [false, true]);
  });
}

Deno.test("sourceTimeout() keeps an odd profile name on its line", () => {
  const source = { ...SETTINGS.source, profile: "a\nerror: b\x1b[2J" };
  const settings = { ...SETTINGS, source };
  for (
    const error of [
      mapAwsError(named("ProviderError"), { settings }),
      sourceTimeout(settings),
    ]
  ) {
    // deno-lint-ignore no-control-regex
    assert.doesNotMatch(shown(error), /[\x00-\x1f]/);
  }
});

Deno.test("failure() takes codes of the closed list only", () => {
  // @ts-expect-error -- the compiler refuses it
  assert.equal(failure("nonsense", "x").code, "nonsense");
});

/** The rows of the table in the section of AWS, without its head. */
function tableRows(markdown: string): string[][] {
  const [, text = ""] = markdown.split("\n## Sessions of AWS\n");
  const [own = ""] = text.split("\n## ");
  return own.split("\n").filter((line) => line.startsWith("| `"))
    .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
}

Deno.test("docs/errors.md lists exactly the codes, and what they mean", async () => {
  const path = new URL("../../docs/errors.md", import.meta.url);
  const rows = tableRows(await Deno.readTextFile(path));
  const wanted = Object.entries(FAILURES).map((
    [code, { isHard, client }],
  ) => [`\`${code}\``, client, isHard ? "hard" : "soft"]);
  assert.deepEqual(rows.map((row) => row.slice(0, 3)), wanted);
});

Deno.test("docs/errors.md says what to do about each code", async () => {
  const path = new URL("../../docs/errors.md", import.meta.url);
  for (const [code, , , todo] of tableRows(await Deno.readTextFile(path))) {
    assert(todo && todo.length > 10, code);
  }
});

const NOT_LOGINS: [string, Partial<AwsSettings>, RegExp][] = [
  [
    "a certificate",
    {
      anywhere: {
        trustAnchorArn: "t",
        profileArn: "p",
        certificates: ["/c"],
        region: "eu-central-1",
      },
    },
    /check the certificate and its key$/,
  ],
  [
    "an identity token",
    { webIdentityTokenFile: "/t" },
    /check what writes the identity token$/,
  ],
];

for (const [what, more, hint] of NOT_LOGINS) {
  Deno.test(`mapAwsError() sends nobody to a login who has ${what}`, () => {
    const refused = Object.assign(new Error("no such key"), {
      name: "InvalidClientTokenId",
      $fault: "client",
      $metadata: { httpStatusCode: 403 },
    });
    const settings = { ...SETTINGS, ...more };
    const error = mapAwsError(refused, { settings, service: "STS" });
    assert.deepEqual([error.code, hint.test(error.hint ?? "")], [
      "source-rejected",
      true,
    ]);
  });
}
