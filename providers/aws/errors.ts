/**
 * What STS, Roles Anywhere, the SDK's providers and the network can answer, as
 * values with a code from a closed list and a hint. The tables are in
 * `failures.ts`; here is what applies them.
 *
 * **Security:** whatever was thrown, the error that comes out holds no control
 * character, no text of a source's program or of a foreign server, and of an
 * AWS service's own words only a short first line without anything that looks
 * like a secret.
 *
 * @module
 */

import { MoatError, toMoatError } from "$core/errors.ts";
import { shellWord, UNPRINTABLE } from "$core/text.ts";
import {
  failure,
  type FailureContext,
  FAILURES,
  type Kind,
  NAME_PROFILE,
  type Rule,
  RULES,
  type Seen,
  type Service,
} from "./failures.ts";
import {
  type AwsSettings,
  describeAction,
  type SourceKind,
} from "./settings.ts";

export type { FailureCode, FailureContext, Service } from "./failures.ts";
export { failure, NAME_PROFILE, SELF_SOURCE_MARK } from "./failures.ts";

/** An answer that moat does not read: a redirect, or far too long. */
export class RefusedAnswer extends Error {
  /** Shows through where the SDK wraps the text of an error. */
  override readonly name = "RefusedAnswer";

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
  const forms = secrets.flatMap((secret) =>
    secret ? [secret, formEncoded(secret)] : []
  );
  for (const form of forms) {
    for (const part of ["name", "message", "stack"] as const) {
      const text: unknown = error[part];
      if (typeof text !== "string" || !text.includes(form)) continue;
      const value = text.replaceAll(form, "[redacted]");
      // A DOMException has them on its prototype, for reading only.
      Object.defineProperty(error, part, { value, configurable: true });
    }
  }
  return error;
}

/** As STS got it in a request's body. */
function formEncoded(secret: string): string {
  return new URLSearchParams([["", secret]]).toString().slice(1);
}

/**
 * Tells hard failures (denied, role gone) from soft ones (network, throttle).
 *
 * @param error What {@link mapAwsError} made.
 * @returns Whether an early retry is useless; false for a code of others.
 */
export function isHardFailure({ code }: MoatError): boolean {
  return isFailureCode(code) && FAILURES[code].isHard;
}

/**
 * The sentence for a client: what failed, without host, path or identity.
 *
 * @param error What {@link mapAwsError} made.
 * @returns One sentence.
 */
export function clientSentence({ code }: MoatError): string {
  return isFailureCode(code)
    ? FAILURES[code].client
    : "moat failed to obtain a session";
}

function isFailureCode(code: string): code is keyof typeof FAILURES {
  return Object.hasOwn(FAILURES, code);
}

/**
 * The error of a call that nobody waits for any longer.
 *
 * @param service Who was asked. Default: STS.
 * @returns A soft failure.
 */
export function stsTimeout(service: Service = "STS"): MoatError {
  return failure(
    "sts-timeout",
    `Cannot obtain a session: ${service} did not answer in time`,
    { hint: "check the network, HTTPS_PROXY and the region, then try again" },
  );
}

/**
 * The error of a source that gave no credentials within the call's bound.
 *
 * @param settings The grant's settings.
 * @returns A soft failure.
 */
export function sourceTimeout(settings: AwsSettings): MoatError {
  return failure(
    "source-timeout",
    printable(
      `Cannot ${
        describeAction(settings)
      }: the source credentials did not come in time (${tried(settings)})`,
    ),
    {
      hint:
        "if the profile has a credential_process, run it by hand: it may wait for input",
    },
  );
}

/**
 * Maps anything thrown while a source, STS, Roles Anywhere or IAM was asked.
 *
 * @param error What was caught.
 * @param context What was going on, for the words.
 * @returns The error to show; one of moat's own as it is, and `internal` for
 * what no rule knows.
 */
export function mapAwsError(
  error: unknown,
  context: FailureContext,
): MoatError {
  if (error instanceof MoatError) return error;
  const seen = look(error);
  const rule = findRule(seen, context);
  if (!rule) return unexpected(error);
  const { settings, action = describeAction(settings) } = context;
  const words = wordsFor(seen, context);
  return failure(
    rule.code,
    printable(`Cannot ${action}: ${fill(rule.found, words)}`),
    { hint: printable(fill(rule.hint, words)), cause: error },
  );
}

/** `internal` shows the error's name, so one that is no word is left out. */
function unexpected(error: unknown): MoatError {
  const isWord = !(error instanceof Error) ||
    /^[A-Za-z]{1,40}$/.test(text(error.name));
  return toMoatError(isWord ? error : new Error("", { cause: error }));
}

/**
 * Finds the rule that {@link mapAwsError} applies.
 *
 * @param seen What {@link look} saw.
 * @param context What was going on.
 * @returns The first rule that holds; undefined if none does.
 */
export function findRule(
  { kind, name, message, status }: Seen,
  { settings, service }: FailureContext,
): Rule | undefined {
  const bareName = name.replace(/Exception$/, "");
  const during = service ?? "source";
  return RULES.find((rule) =>
    (!rule.kind || rule.kind === kind) &&
    (!rule.during || rule.during === during) &&
    (!rule.name || rule.name.test(bareName)) &&
    (!rule.message || rule.message.test(message)) &&
    (!rule.status || rule.status.test(String(status))) &&
    (!rule.settings || rule.settings(settings))
  );
}

/**
 * Looks at what was thrown; nothing in it is trusted to have its usual type.
 *
 * @param error Anything.
 * @returns What rules look at.
 */
export function look(error: unknown): Seen {
  const { name, message, statusCode, $metadata } = asErrorLike(error);
  const seen = {
    name: text(name),
    // The SDK adds advice to the message of an error that goes through it.
    message: error instanceof RefusedAnswer ? error.fault : text(message),
    status: number($metadata?.httpStatusCode) || number(statusCode),
  };
  return { ...seen, kind: kindOf(error, seen) };
}

/** The members of the SDK's and of Node's errors, none of them for sure. */
interface ErrorLike {
  name?: unknown;
  message?: unknown;
  code?: unknown;
  statusCode?: unknown;
  $fault?: unknown;
  $metadata?: { httpStatusCode?: unknown } | null;
}

function asErrorLike(error: unknown): ErrorLike {
  return error instanceof Error ? error as ErrorLike : {};
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function number(value: unknown): number {
  return typeof value === "number" ? value : 0;
}

/** Of files; all other codes that begin with E are the network's. */
const FILE_ERROR = /^(ENOENT|EACCES|EPERM|EISDIR|ENOTDIR|ELOOP|ENAMETOOLONG)$/;

/** How `fetch` begins when there is no connection. */
const FETCH_ERROR =
  /^(error sending|error reading|error decoding|NetworkError)/;

function kindOf(
  error: unknown,
  { name, message, status }: Omit<Seen, "kind">,
): Kind {
  const { code, $fault, $metadata } = asErrorLike(error);
  if (!(error instanceof Error)) return "other";
  if (error instanceof RefusedAnswer) return "refused";
  if (name === "TimeoutError" || name === "AbortError") return "timeout";
  if (/ProviderError$|V1FallbackError$/.test(name)) return "provider";
  // What STS sent without its XML gets this name from the SDK.
  if ($fault !== undefined && message !== "Unknown") return "answer";
  if (message.includes("error reading a body")) return "broken";
  if (status > 0) return "unreadable";
  if (FILE_ERROR.test(text(code))) return "file";
  const isNetwork = /^E[A-Z_]+$/.test(text(code)) ||
    FETCH_ERROR.test(message) ||
    (error instanceof TypeError && !!$metadata);
  if (isNetwork) return "network";
  const isParse = error instanceof SyntaxError || error instanceof TypeError;
  return isParse ? "parse" : "other";
}

/** What the words in braces become; each is safe once it is printable. */
type Words = Readonly<Record<string, string>>;

/** Fills in once: what comes from outside is never looked at for words. */
function fill(template: string, words: Words): string {
  return template.replace(/\{(\w+)\}/g, (_, word) => words[word] ?? "");
}

function wordsFor(
  seen: Seen,
  { settings, service = "STS", grant = "NAME" }: FailureContext,
): Words {
  const { profile } = settings.source;
  const flag = profile ? ` --profile ${shellWord(profile)}` : "";
  return {
    ...SERVICE_WORDS[service](settings),
    service,
    said: `${service} answered ${quote(seen)}`,
    status: String(seen.status),
    fault: seen.message,
    tried: tried(settings),
    profile: flag,
    login: loginHint(settings, flag),
    mfa: mfaHint(settings, grant),
  };
}

/** What brings new credentials for the first call. */
function loginHint(
  { anywhere, webIdentityTokenFile }: AwsSettings,
  flag: string,
): string {
  if (anywhere) return "check the certificate and its key";
  if (webIdentityTokenFile) return "check what writes the identity token";
  return flag
    ? `aws sso login${flag}, or aws configure${flag}`
    : `aws sso login, aws configure, or ${NAME_PROFILE}`;
}

function stsWords({ stsEndpoint, region }: AwsSettings): Words {
  return {
    place: stsEndpoint ?? `STS in ${region}`,
    aService: "an STS",
    format: "STS's XML",
    endpoint: "AWS_ENDPOINT_URL_STS",
  };
}

function anywhereWords({ anywhere }: AwsSettings): Words {
  return {
    place: anywhere?.endpoint ?? `Roles Anywhere in ${anywhere?.region}`,
    aService: "Roles Anywhere",
    format: "Roles Anywhere's JSON",
    endpoint: "--endpoint",
  };
}

/** Where IAM is comes from this process's environment, not from the grant. */
function iamWords(): Words {
  return {
    place: "IAM",
    aService: "IAM",
    format: "IAM's XML",
    endpoint: "AWS_ENDPOINT_URL_IAM",
  };
}

const SERVICE_WORDS: Readonly<
  Record<Service, (settings: AwsSettings) => Words>
> = {
  "STS": stsWords,
  "Roles Anywhere": anywhereWords,
  "IAM": iamWords,
};

function mfaHint({ mfa }: AwsSettings, grant: string): string {
  if (!mfa) return "grant again with --mfa-serial ARN of the user's device";
  return mfa.command
    ? "run the program of --mfa-command by hand, and check the clock"
    : `moat mfa ${shellWord(grant)} CODE`;
}

function tried({ source }: AwsSettings): string {
  const { order, profile = "default", configFile, credentialsFile } = source;
  const names: Readonly<Record<SourceKind, string>> = {
    "environment": "the environment",
    "profile": `profile "${profile}" in ${credentialsFile} and ${configFile}`,
    "web-identity": "a web identity token",
    "container": "the container endpoint",
    "instance": "instance metadata",
  };
  return `tried ${order.map((kind) => names[kind]).join(", ")}`;
}

/**
 * A service's own words, safe for a terminal and a log line. Only the first
 * line: below it STS may list the request as signed, the source's token
 * included.
 */
function quote({ name, message }: Seen): string {
  const [line = ""] = withoutSecrets(message).trim().split(/[\r\n]/);
  const said = shorten(printable(line).replace(/\.$/, ""), 300);
  const who = shorten(printable(withoutSecrets(name)), 64);
  return said ? `${who}: ${said}` : who;
}

/**
 * What looks like a JSON web token, a secret access key, or a session token.
 * A secret that is known is taken out before by {@link hideSecrets}; this is
 * for those that only the service knows.
 */
const SECRET_LIKE =
  /eyJ[\w+/=.-]{8,}|(?<![\w+/=])(?=[a-z0-9+/]*[A-Z])(?=[A-Z0-9+/]*[a-z])(?=[A-Za-z+/]*\d)[A-Za-z0-9+/]{40}(?![\w+/=])|[\w+/=%.-]{128,}/g;

/** AWS quotes parameters that it does not like, codes and tokens included. */
const QUOTED_VALUE = /\bValue '(?:.*' at '|.*$)/gs;

function withoutSecrets(said: string): string {
  return said
    .replace(
      QUOTED_VALUE,
      (part) => part.endsWith(" at '") ? "Value at '" : "Value",
    )
    .replace(SECRET_LIKE, "[redacted]");
}

function shorten(said: string, length: number): string {
  return said.length > length ? said.slice(0, length) + "…" : said;
}

/** Without control characters, line separators and changes of direction. */
function printable(said: string): string {
  return said.replace(UNPRINTABLE, " ").trim();
}
