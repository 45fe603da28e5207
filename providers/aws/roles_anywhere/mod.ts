/**
 * IAM Roles Anywhere: a role's session for whoever holds a certificate of a
 * known CA. There is no library for it, so that moat signs by itself.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/rolesanywhere/latest/userguide/authentication-create-session.html | CreateSession}
 */

import * as v from "valibot";
import { type Clock, sleep } from "$core/clock.ts";
import type { MoatError } from "$core/errors.ts";
import { parseJson } from "$core/json.ts";
import type { Secret } from "$core/secret.ts";
import { failure } from "../errors.ts";
import type { AnywhereHop } from "../hops.ts";
import { type Instant, readSession, type Session } from "../session.ts";
import { ClockSkew } from "../skew.ts";
import { sessionsUrl } from "./endpoint.ts";
import { type Identity, loadIdentity } from "./identity.ts";
import { type Answer, post } from "./post.ts";
import { encodeQuery, signRequest } from "./sign.ts";

export {
  checkIdentity,
  identityStamp,
  type IdentitySummary,
} from "./identity.ts";

/** What {@link createSession} needs from outside. */
export interface AnywhereContext {
  /** Tells what is valid, and bounds each request. */
  readonly clock: Clock;
  /** Of the private key, unless a file has it. */
  readonly passphrase?: Secret;
  /** Ends the call. */
  readonly signal: AbortSignal;
  /** What is known of the servers' clocks. Default: nothing. */
  readonly skew?: ClockSkew;
}

/** Before a request is sent again, in ms. */
const RETRY_DELAY_MS = 200;

/** The service takes signatures that are up to 5 minutes off. */
const MAX_SKEW_MS = 5 * 60_000;

/**
 * Obtains a role's session with a certificate.
 *
 * A request is sent again once for each of these reasons: the service is out
 * of reach, busy or broken; it refuses, and its clock differs from ours.
 *
 * @param hop Every parameter of the call.
 * @param context Clock, passphrase and bound.
 * @returns A session that is valid now.
 * @throws {MoatError} What is wrong with key, certificate or answer; or an
 * error with the name, message and status of the service's own.
 */
export async function createSession(
  hop: AnywhereHop,
  context: AnywhereContext,
): Promise<Session> {
  const { clock, passphrase, skew = new ClockSkew(), signal } = context;
  const { origin } = sessionsUrl(hop.anywhere);
  const serverNow = () => clock.now() + skew.offset(origin);
  const identity = await loadIdentity(hop.anywhere, passphrase, serverNow())
    .catch((error) => {
      // Without a request, a wrong time such as a login page's would stay.
      if (skew.offset(origin) === 0) throw error;
      return loadIdentity(hop.anywhere, passphrase, clock.now());
    });
  const tried = new Set<Remedy>();
  for (;;) {
    const before = skew.offset(origin);
    try {
      const answer = await request(hop, identity, serverNow(), context);
      if (answer.status < 500) {
        skew.learn(origin, answer.headers.get("date"), clock.now());
      }
      if (answer.status >= 300) throw serviceError(answer);
      return toSession(answer, hop, {
        local: clock.now(),
        server: serverNow(),
      });
    } catch (error) {
      const remedy = remedyFor(error, Math.abs(skew.offset(origin) - before));
      if (!remedy || tried.has(remedy) || signal.aborted) throw error;
      tried.add(remedy);
      if (remedy === "again") await sleep(clock, RETRY_DELAY_MS);
    }
  }
}

/** Why a request is sent once more: changed in this way, or not at all. */
type Remedy = "again" | "clock";

function remedyFor(error: unknown, skewMs: number): Remedy | undefined {
  if (error instanceof ServiceError) {
    const { name, $metadata: { httpStatusCode: status } } = error;
    if (status >= 500 || status === 429 || /Throttl/.test(name)) return "again";
    return skewMs > MAX_SKEW_MS ? "clock" : undefined;
  }
  const isNetwork = error instanceof TypeError ||
    (error instanceof DOMException && error.name === "TimeoutError");
  return isNetwork ? "again" : undefined;
}

/** As the service's own helper asks: ARNs in the query, the rest in the body. */
async function request(
  hop: AnywhereHop,
  identity: Identity,
  now: number,
  { clock, signal }: AnywhereContext,
): Promise<Answer> {
  const { anywhere, role, durationSeconds, sessionName, at } = hop;
  const { region, profileArn, trustAnchorArn } = anywhere;
  const url = sessionsUrl(anywhere);
  url.search = Object.entries({ profileArn, roleArn: role, trustAnchorArn })
    .map(([name, value]) => `${name}=${encodeQuery(value)}`).join("&");
  const body = JSON.stringify({
    ...(durationSeconds && { durationSeconds }),
    ...(sessionName && { roleSessionName: sessionName }),
  });
  const unsigned = {
    ...{ method: "POST", url, body },
    headers: { "content-type": "application/json" },
  };
  const scope = { now, region, service: "rolesanywhere" };
  const headers = await signRequest(unsigned, scope, identity);
  const { caBundle } = at;
  return await post({ url, headers, body }, { clock, signal, caBundle });
}

/** What the service answered instead of a session, as the SDK throws it. */
class ServiceError extends Error {
  readonly $fault: "client" | "server" | undefined;
  readonly $metadata: { readonly httpStatusCode: number };

  /** Without a name, the service itself did not write it: it has no fault. */
  constructor(name: string | undefined, message: string, status: number) {
    super(message);
    this.name = name ?? "Error";
    this.$fault = name && (status >= 500 ? "server" : "client") || undefined;
    this.$metadata = { httpStatusCode: status };
  }
}

const ErrorSchema = v.object({
  __type: v.nullish(v.string()),
  code: v.nullish(v.string()),
  message: v.nullish(v.string()),
  Message: v.nullish(v.string()),
});

function serviceError({ status, headers, text }: Answer): ServiceError {
  const parsed = v.safeParse(ErrorSchema, parseJson(text));
  if (!parsed.success) return new ServiceError(undefined, "Unknown", status);
  const { __type, code, message, Message } = parsed.output;
  const type = headers.get("x-amzn-errortype") ?? __type ?? code ?? "";
  // Such as `com.amazon.coral#AccessDeniedException:http://…`.
  const [, name] = /^(?:[^:]*#)?(\w{1,64})(?:$|:)/.exec(type) ?? [];
  return new ServiceError(name, message ?? Message ?? "", status);
}

/** RFC 3339; `packedPolicySize` and others may be missing. */
const SessionSchema = v.object({
  credentialSet: v.tupleWithRest([
    v.object({
      assumedRoleUser: v.nullish(v.object({ arn: v.nullish(v.string()) })),
      credentials: v.object({
        accessKeyId: v.string(),
        secretAccessKey: v.string(),
        sessionToken: v.string(),
        expiration: v.pipe(v.string(), v.isoTimestamp()),
      }),
      packedPolicySize: v.nullish(v.number()),
    }),
  ], v.unknown()),
});

function toSession(
  { text }: Answer,
  { role, durationSeconds }: AnywhereHop,
  now: Instant,
): Session {
  const parsed = v.safeParse(SessionSchema, parseJson(text));
  if (!parsed.success) throw noSession(role);
  const { credentialSet: [set] } = parsed.output;
  const session = readSession(
    {
      ...set.credentials,
      expiration: Date.parse(set.credentials.expiration),
      assumedRoleArn: set.assumedRoleUser?.arn ?? role,
      packedPolicySize: set.packedPolicySize ?? undefined,
    },
    durationSeconds,
    now,
  );
  if (!session) throw noSession(role);
  return session;
}

function noSession(role: string): MoatError {
  return failure(
    "sts-garbage",
    `Cannot assume ${role}: Roles Anywhere answered without a complete, unexpired session`,
    { hint: "check that --endpoint names Roles Anywhere, and the clock" },
  );
}
