/**
 * What STS, the SDK's providers and the network can answer, as values with a
 * code from a closed list and a hint.
 *
 * @module
 */

import { MoatError, toMoatError } from "$core/errors.ts";
import type { AwsSettings } from "./settings.ts";

/** What the helper script prints when a source of ours would be moat itself. */
export const SELF_SOURCE_MARK = "moat would be its own source";

/** An answer that moat does not read: a redirect, or far too long. */
export class RefusedAnswer extends Error {
  /**
   * Names the fault.
   *
   * @param fault What the server did, as in "answered more than 64 KiB".
   */
  constructor(readonly fault: string) {
    super(fault);
  }
}

/**
 * Takes the secrets of a call out of an error, since whoever was asked may
 * have answered with what it was sent.
 *
 * @param error What was caught; changed in place.
 * @param secrets Texts that must not be shown; absent and empty ones count not.
 * @returns The same error.
 */
export function hideSecrets(
  error: unknown,
  secrets: readonly (string | undefined)[],
): unknown {
  if (!(error instanceof Error) || error instanceof MoatError) return error;
  for (const secret of secrets) {
    if (!secret) continue;
    for (const part of ["name", "message", "stack"] as const) {
      const text = error[part];
      if (!text?.includes(secret)) continue;
      error[part] = text.replaceAll(secret, "[redacted]");
    }
  }
  return error;
}

/** Failures that the same call will meet again soon: they back off longer. */
const HARD = new Set([
  "access-denied",
  "duration-too-long",
  "no-source",
  "source-expired",
  "source-is-moat",
  "source-rejected",
  "region-disabled",
  "sts-refused",
]);

/** What a client is told: it must not learn about the host behind the code. */
const CLIENT_SENTENCES = new Map(Object.entries({
  "access-denied": "STS denied the role to this grant",
  "clock-skew": "The host's clock differs too much from AWS's",
  "duration-too-long": "The role does not allow sessions of this length",
  "no-source": "The host has no source credentials for this grant",
  "region-disabled": "STS is not enabled in the grant's region",
  "source-expired": "The host's source credentials have expired",
  "source-is-moat": "The grant's source is moat itself",
  "source-rejected": "STS does not accept the host's source credentials",
  "source-timeout": "The host's source credentials did not come in time",
  "sts-garbage": "STS answered something that is no session",
  "sts-refused": "STS refused the request",
  "sts-throttled": "STS asks to slow down",
  "sts-timeout": "STS did not answer in time",
  "sts-unavailable": "STS is unavailable",
  "sts-unreachable": "STS cannot be reached from the host",
}));

/**
 * Tells hard failures (denied, role gone) from soft ones (network, throttle).
 *
 * @param error What {@link mapAwsError} made.
 * @returns Whether an early retry is useless.
 */
export function isHardFailure(error: MoatError): boolean {
  return HARD.has(error.code);
}

/**
 * The sentence for a client: what failed, without host, path or identity.
 *
 * @param error What {@link mapAwsError} made.
 * @returns One sentence.
 */
export function clientSentence(error: MoatError): string {
  return CLIENT_SENTENCES.get(error.code) ?? "moat failed to obtain a session";
}

const TIMEOUT_HINT =
  "check the network, HTTPS_PROXY and the region, then try again";

/**
 * The error of a call that nobody waits for any longer.
 *
 * @returns A soft failure.
 */
export function stsTimeout(): MoatError {
  return new MoatError(
    "sts-timeout",
    "Cannot obtain a session: STS did not answer in time",
    { hint: TIMEOUT_HINT },
  );
}

/**
 * The error of a source that gave no credentials within the call's bound.
 *
 * @param settings The grant's settings.
 * @returns A soft failure.
 */
export function sourceTimeout(settings: AwsSettings): MoatError {
  return new MoatError(
    "source-timeout",
    `Cannot assume ${settings.role}: the source credentials did not come in time (${
      printable(tried(settings))
    })`,
    {
      hint:
        "if the profile has a credential_process, run it by hand: it may wait for input",
    },
  );
}

const NO_STS =
  "check that AWS_ENDPOINT_URL_STS names an STS, and that no login page is in the way";

function stsName({ source, region }: AwsSettings): string {
  return source.stsEndpoint ?? `STS in ${region}`;
}

/**
 * Maps anything thrown by the SDK while STS was called.
 *
 * The message quotes STS's own sentence (it names ARNs, never keys), shortened
 * and with control characters removed. Errors of source providers are not
 * quoted, because they may hold the output of a program.
 *
 * @param error What was caught.
 * @param settings The grant's settings, for the hint.
 * @param action What failed. Default: `assume ROLE`.
 * @returns The error to show.
 */
export function mapAwsError(
  error: unknown,
  settings: AwsSettings,
  action = `assume ${settings.role}`,
): MoatError {
  if (error instanceof MoatError) return error;
  const { name, message } = describe(error);
  const fail: Fail = (code, found, hint) =>
    new MoatError(code, `Cannot ${action}: ${printable(found)}`, {
      hint: printable(hint),
      cause: error,
    });
  if (error instanceof RefusedAnswer) {
    return fail("sts-garbage", `${stsName(settings)} ${error.fault}`, NO_STS);
  }
  const quoted = quote(name, message);
  const login = loginHint(settings);

  if (message.includes(SELF_SOURCE_MARK)) {
    return fail(
      "source-is-moat",
      "the source of this grant is moat itself",
      "give --aws-profile PROFILE of credentials that moat did not hand out",
    );
  }
  if (isTimeout(name)) {
    const found = `${stsName(settings)} did not answer in time`;
    return fail("sts-timeout", found, TIMEOUT_HINT);
  }
  if (isClockSkew(name, message)) {
    return fail(
      "clock-skew",
      quoted,
      "set this machine's clock, such as by NTP",
    );
  }
  if (/ExpiredToken|TokenRefreshRequired/.test(name) || isExpired(message)) {
    return fail("source-expired", "the source credentials have expired", login);
  }
  if (/CredentialsProviderError|ProviderError/.test(name)) {
    return noSource(message, settings, fail);
  }
  switch (name) {
    case "AccessDenied":
    case "AccessDeniedException":
      return fail(
        "access-denied",
        quoted,
        "check that the role exists, that its trust policy names this identity and this --external-id (if any), and that the identity's own policy allows sts:AssumeRole on the role",
      );
    case "InvalidClientTokenId":
    case "UnrecognizedClientException":
    case "InvalidAccessKeyId":
    case "InvalidToken":
    case "SignatureDoesNotMatch":
    case "IncompleteSignature":
      if (message.includes("scoped to")) break;
      return fail(
        "source-rejected",
        quoted,
        `check that the source's access key is active and complete; ${login}`,
      );
    case "RegionDisabledException":
      return fail(
        "region-disabled",
        quoted,
        "enable STS in that region, or grant again with --region us-east-1",
      );
    case "Throttling":
    case "ThrottlingException":
    case "TooManyRequestsException":
      return throttled(fail, quoted);
    case "ValidationError":
      if (message.includes("DurationSeconds exceeds")) {
        return fail(
          "duration-too-long",
          quoted,
          "grant again with a shorter --session-duration; the role's maximum can be raised, the hour of a role assumed by a role cannot",
        );
      }
  }
  if (message.includes("scoped to")) {
    return fail(
      "sts-refused",
      quoted,
      "grant again with the --region that the endpoint serves",
    );
  }
  return mapTransport(error, fail, quoted, settings);
}

function mapTransport(
  error: unknown,
  fail: Fail,
  quoted: string,
  settings: AwsSettings,
): MoatError {
  const { name, message } = describe(error);
  const status = httpStatus(error);
  const where = stsName(settings);
  if (status === 429) return throttled(fail, quoted);
  if (status !== undefined && status >= 500) {
    return fail(
      "sts-unavailable",
      `${where} answered ${status}`,
      "try again; see https://health.aws.amazon.com",
    );
  }
  if (message.includes("error reading a body")) {
    return fail(
      "sts-unreachable",
      `${where} broke off in the middle of its answer`,
      "check the network and HTTPS_PROXY, then try again",
    );
  }
  if (status !== undefined && !isServiceError(error)) {
    return fail(
      "sts-garbage",
      `${where} answered ${status} with something that is not STS's XML`,
      NO_STS,
    );
  }
  if (/certificate/i.test(message)) {
    return fail(
      "sts-unreachable",
      `the TLS certificate of ${where} is not one that this host trusts`,
      "grant again with AWS_CA_BUNDLE naming a PEM file with the CA's certificate",
    );
  }
  if (isFileError(error)) return noSource(message, settings, fail);
  if (error instanceof TypeError || isNetworkError(error)) {
    return fail(
      "sts-unreachable",
      `${where} cannot be reached`,
      "check the network, HTTPS_PROXY, AWS_CA_BUNDLE, and AWS_ENDPOINT_URL_STS if it is set",
    );
  }
  if (error instanceof SyntaxError || name === "Error") {
    return fail(
      "sts-garbage",
      `${where} answered something that is not STS's XML`,
      NO_STS,
    );
  }
  if (!isServiceError(error)) return toMoatError(error);
  return fail("sts-refused", quoted, "see STS's message above");
}

/** Makes an error with a code, what was found, and a hint. */
type Fail = (code: string, found: string, hint: string) => MoatError;

function throttled(fail: Fail, quoted: string): MoatError {
  return fail("sts-throttled", quoted, "wait a moment, then try again");
}

/** An error that STS itself wrote; one without its XML is named by the SDK. */
function isServiceError(error: unknown): boolean {
  return error instanceof Error && "$fault" in error &&
    error.message !== "Unknown";
}

/** Why a profile gave nothing, in words that quote no program's output. */
const PROFILE_FAULTS: readonly [RegExp, fault: string, hint: string][] = [
  [
    /^Command failed|credential_process returned/,
    "its credential_process failed",
    "run the profile's credential_process by hand to see why",
  ],
  [
    /multi-factor authentication/,
    "it asks for an MFA code, which moat cannot give",
    "give --aws-profile PROFILE that needs no code",
  ],
];

function noSource(
  message: string,
  settings: AwsSettings,
  fail: Fail,
): MoatError {
  const [, fault, hint] = PROFILE_FAULTS.find(([p]) => p.test(message)) ?? [];
  const why = fault ? `; ${fault}` : "";
  return fail(
    "no-source",
    `found no usable source credentials (${tried(settings)}${why})`,
    hint ?? loginHint(settings),
  );
}

function tried({ source }: AwsSettings): string {
  const { kind, profile = "default", configFile, credentialsFile } = source;
  const files = `profile "${profile}" in ${credentialsFile} and ${configFile}`;
  if (kind === "profile") return `tried ${files}`;
  return `tried the environment, ${files}, a web identity token, the container endpoint, instance metadata`;
}

function loginHint(settings: AwsSettings): string {
  const { profile } = settings.source;
  return profile
    ? `aws sso login --profile ${profile}, or aws configure --profile ${profile}`
    : "aws sso login, aws configure, or give --aws-profile PROFILE";
}

function describe(error: unknown): { name: string; message: string } {
  if (!(error instanceof Error)) return { name: "Error", message: "" };
  // The SDK's wrapper around each provider of a chain keeps the last one.
  return { name: error.name, message: error.message };
}

/**
 * STS's own words, safe for a terminal and a log line. Only the first line:
 * below it STS may list the request as signed, the source's token included.
 */
function quote(name: string, message: string): string {
  const [line = ""] = message.trim().split(/[\r\n]/);
  const text = shorten(printable(line).replace(/\.$/, ""), 300);
  const who = `STS answered ${shorten(printable(name), 64)}`;
  return text ? `${who}: ${text}` : who;
}

function shorten(text: string, length: number): string {
  return text.length > length ? text.slice(0, length) + "…" : text;
}

/** Without control characters, line separators and changes of direction. */
function printable(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+/g, " ")
    .trim();
}

function isTimeout(name: string): boolean {
  return name === "TimeoutError" || name === "AbortError";
}

function isClockSkew(name: string, message: string): boolean {
  return /RequestTimeTooSkewed|RequestExpired|RequestInTheFuture/.test(name) ||
    (name === "SignatureDoesNotMatch" &&
      /expired|not yet current/i.test(message));
}

/** A login that ended, or a program that printed what had ended. */
function isExpired(message: string): boolean {
  return /SSO session .*(expired|invalid)|Token is expired|returned expired/i
    .test(message);
}

function httpStatus(error: unknown): number | undefined {
  const metadata = (error as { $metadata?: { httpStatusCode?: number } })
    ?.$metadata;
  return metadata?.httpStatusCode;
}

/** A token file, such as of a web identity, that cannot be read. */
function isFileError(error: unknown): boolean {
  return /^(ENOENT|EACCES|EPERM|EISDIR|ENOTDIR)$/.test(codeOf(error));
}

function isNetworkError(error: unknown): boolean {
  return /^E[A-Z]+$/.test(codeOf(error));
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === "string" ? code : "";
}
