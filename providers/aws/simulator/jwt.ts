/**
 * Web identity tokens: the form and the times of a JWT.
 *
 * The signature is not verified: the simulator knows no identity provider and
 * fetches no keys.
 *
 * @module
 * @see {@link https://www.rfc-editor.org/rfc/rfc7519.html#section-7.2 | RFC 7519 section 7.2}
 */

import * as v from "valibot";
import { Refusal } from "./refusal.ts";

/** What a token says. */
export interface TokenClaims {
  /** Who made it: the claim `iss`. */
  readonly issuer: string;
  /** Whom it is about: the claim `sub`. */
  readonly subject: string;
  /** Whom it is for: the claim `azp`, or the first of `aud`. */
  readonly audience: string;
}

const Seconds = v.pipe(v.number(), v.finite());
const Text = v.pipe(v.string(), v.minLength(1));

const HeaderSchema = v.object({
  alg: v.pipe(v.string(), v.regex(/^(?:[RE]S|PS)(?:256|384|512)$/)),
});

const ClaimsSchema = v.object({
  iss: Text,
  sub: Text,
  aud: v.union([Text, v.pipe(v.array(Text), v.minLength(1))]),
  azp: v.exactOptional(Text),
  exp: Seconds,
  iat: v.exactOptional(Seconds),
  nbf: v.exactOptional(Seconds),
});

/**
 * Reads a token as STS does.
 *
 * @param token Three parts in base64url, between periods.
 * @param now The instant, in ms since the Unix epoch.
 * @returns Its claims.
 * @throws {Refusal} `ExpiredTokenException` if it has ended, `InvalidIdentityToken` for anything else that is wrong.
 */
export function readToken(token: string, now: number): TokenClaims {
  const [header, payload] = splitToken(token);
  if (!v.is(HeaderSchema, header)) {
    throw invalid("The token's header names no algorithm that STS takes");
  }
  const claims = v.safeParse(ClaimsSchema, payload);
  if (!claims.success) {
    const claim = v.getDotPath(claims.issues[0]) ?? "";
    throw invalid(`Missing a required claim: ${claim}`);
  }
  const { iss, sub, aud, azp, exp, iat = 0, nbf = 0 } = claims.output;
  const seconds = Math.floor(now / 1000);
  if (exp <= seconds) {
    throw new Refusal(
      400,
      "ExpiredTokenException",
      `Token expired: current date/time ${seconds} must be before the expiration date/time ${exp}`,
    );
  }
  if (Math.max(iat, nbf) > seconds) {
    throw invalid("The ID Token provided is not valid yet");
  }
  return {
    issuer: iss,
    subject: sub,
    audience: azp ?? [aud].flat()[0] ?? "",
  };
}

function splitToken(token: string): [unknown, unknown] {
  const [, header = "", payload = ""] =
    /^([\w-]+)\.([\w-]+)\.[\w-]+$/.exec(token) ?? [];
  try {
    return [decodePart(header), decodePart(payload)];
  } catch {
    throw invalid(
      "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)",
    );
  }
}

function decodePart(text: string): unknown {
  const bytes = Uint8Array.fromBase64(text, { alphabet: "base64url" });
  return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
}

function invalid(message: string): Refusal {
  return new Refusal(400, "InvalidIdentityToken", message);
}
