/**
 * `moat grant aws`: reads what was asked, obtains a session once to see that
 * it works, and returns a grant.
 *
 * @module
 */

import { formatDuration } from "./duration.ts";
import { failure } from "./errors.ts";
import { formatTime } from "$core/clock.ts";
import { MoatError } from "$core/errors.ts";
import { shellWord } from "$core/text.ts";
import type { Grant } from "$core/grant.ts";
import type { Platform } from "$core/platform.ts";
import type { GrantRequest } from "$core/provider.ts";
import { readSecrets, withSecrets } from "./credential.ts";
import type { SessionEngine } from "./engine.ts";
import { readGrantFlags } from "./options/grant.ts";
import { type AwsSettings, readSettings, writeSettings } from "./settings.ts";

/** Command lines for the help of `moat grant`. */
export const GRANT_EXAMPLES: readonly string[] = [
  "moat grant aws --role arn:aws:iam::123456789012:role/Deploy",
  "moat grant aws --name prod --role arn:aws:iam::123456789012:role/Prod --session-duration 1h",
];

/**
 * Makes a grant.
 *
 * @param request What was asked on the command line.
 * @param platform Clock and environment.
 * @param engine Makes the call that validates it.
 * @returns The grant, to be stored by the caller.
 * @throws {MoatError} `usage` for a bad flag, else a code of `errors.ts`.
 */
export async function grantAws(
  request: GrantRequest,
  { clock, env }: Platform,
  engine: SessionEngine,
): Promise<Grant> {
  const { settings, passphrase, mfaCode } = await readGrantFlags(request, env);
  const secrets = passphrase ? { passphrase } : {};
  let grant = withSecrets({
    provider: "aws",
    name: request.name,
    createdAt: clock.now(),
    settings: writeSettings(settings),
  }, secrets);
  if (!request.validate) return grant;
  if (mfaCode !== undefined) {
    const mfaSession = await engine.openMfa(grant, mfaCode)
      .catch(grantAgain);
    grant = withSecrets(grant, { ...secrets, mfaSession });
  }
  await engine.obtain(grant);
  return grant;
}

/** There is no grant yet that `moat mfa` could open. */
function grantAgain(error: unknown): never {
  if (!(error instanceof MoatError) || error.code !== "mfa-rejected") {
    throw error;
  }
  throw failure("mfa-rejected", error.message, {
    hint: "wait for the device's next code, then grant again",
    cause: error,
  });
}

/** Below this, botocore asks for new credentials on every call. */
const RECOMMENDED_SECONDS = 3600;

/**
 * Sentences for the person who just granted it.
 *
 * @param grant The grant.
 * @returns Better settings, and what is still to be done; none for most grants.
 */
export async function advise(grant: Grant): Promise<string[]> {
  const settings = readSettings(grant);
  const { durationSeconds = RECOMMENDED_SECONDS, mfa, anywhere } = settings;
  const advice = await Promise.all([
    readableByOthers(anywhere?.privateKey),
    readableByOthers(anywhere?.passphraseFile),
  ]).then((found) => found.flat());
  if (durationSeconds < RECOMMENDED_SECONDS) {
    advice.push(
      "for long-lived SDK clients --session-duration 1h is better: botocore asks for new credentials on every call once less than 15m are left",
    );
  }
  if (mfa && !mfa.command && !readSecrets(grant).mfaSession) {
    advice.push(`it needs an MFA session first: moat mfa ${grant.name} CODE`);
  }
  return advice;
}

/** Not refused: some hosts give a group the right to read it. */
async function readableByOthers(path: string | undefined): Promise<string[]> {
  if (path === undefined) return [];
  const info = await Deno.stat(path).catch(() => undefined);
  if (((info?.mode ?? 0) & 0o077) === 0) return [];
  return [`others may read ${path}: chmod 600 ${shellWord(path)}`];
}

/**
 * Lines for `moat grant show`.
 *
 * @param grant The grant.
 * @returns Label and value of each setting that was given; what it opens first.
 */
export function describe(grant: Grant): [string, string][] {
  const settings = readSettings(grant);
  const { anywhere, mfa, source, roles } = settings;
  const lines: [string, string | undefined][] = [
    ["role", roles.at(-1)],
    ...roles.slice(0, -1).map((role): [string, string] => ["by-role", role]),
    ["source", sourceText(settings)],
    ["region", settings.region],
    ["session-duration", durationText(settings)],
    ["session-name", settings.sessionName],
    ["external-id", settings.externalId],
    ["policy", settings.policy],
    ["policy-arn", settings.policyArns?.join(" ")],
    ["tag", pairs(settings.tags)],
    ["transitive-tag", settings.transitiveTags?.join(" ")],
    ["label-tag", settings.labelTags?.join(" ")],
    ["source-identity", settings.sourceIdentity],
    ["mfa-serial", mfa?.serial],
    ["mfa-command", mfa?.command],
    ["mfa-session", mfa && mfaSessionText(grant)],
    ["web-identity-token-file", settings.webIdentityTokenFile],
    ["trust-anchor-arn", anywhere?.trustAnchorArn],
    ["profile-arn", anywhere?.profileArn],
    ["certificate", anywhere?.certificates.join(" ")],
    ["intermediates", anywhere?.intermediates?.join(" ")],
    ["private-key", anywhere?.privateKey],
    ["endpoint", anywhere?.endpoint],
    ["aws-profile", source.profile],
    ["sts-endpoint", settings.stsEndpoint],
    ["ca-bundle", settings.caBundle],
  ];
  return lines.filter((line): line is [string, string] => !!line[1]);
}

function mfaSessionText(grant: Grant): string {
  const { mfaSession } = readSecrets(grant);
  return mfaSession ? `until ${formatTime(mfaSession.expiresAt)}` : "none";
}

function durationText({ durationSeconds, direct }: AwsSettings) {
  if (direct) return undefined;
  return durationSeconds === undefined
    ? "left to STS"
    : formatDuration(durationSeconds);
}

function pairs(tags: AwsSettings["tags"] = {}): string {
  return Object.entries(tags).map(([k, value]) => `${k}=${value}`).join(" ");
}

function sourceText(
  { source, direct, anywhere, webIdentityTokenFile }: AwsSettings,
): string | undefined {
  if (anywhere) return "roles anywhere";
  if (webIdentityTokenFile) return "web identity token";
  const kinds = source.order.join(", ");
  return direct ? `${kinds} (its own session is handed out)` : kinds;
}
