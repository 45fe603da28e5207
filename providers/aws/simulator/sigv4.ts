/**
 * The verifying side of AWS Signature Version 4, for one service and header
 * authentication (presigned URLs are not taken).
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html | Create a signed AWS API request}
 */

import { createHmac, timingSafeEqual } from "node:crypto";
import { Refusal } from "./refusal.ts";
import {
  bodyHashMatches,
  checkDate,
  doesNotMatch,
  headerValue,
  incomplete,
  mustBeSigned,
  type RawRequest,
  readFields,
  readSignedHeaders,
  readTimestamp,
  stringToSign,
} from "./wire.ts";

/** AWS's tolerance for a client's clock. */
const MAX_SKEW_MINUTES = 15;

/** What an `Authorization` header and the date header say. */
export interface Signature {
  /** Of the credential scope. */
  readonly accessKeyId: string;
  /** Of the credential scope. */
  readonly region: string;
  /** Of the credential scope. */
  readonly service: string;
  /** Of the request, such as `20260101T000000Z`. */
  readonly timestamp: string;
  /** Lower case and sorted. */
  readonly signedHeaders: readonly string[];
  /** 64 lower-case hexadecimal digits. */
  readonly signature: string;
}

const ALGORITHM = "AWS4-HMAC-SHA256";
const CREDENTIAL =
  /^([\w]{1,128})\/(\d{8})\/([a-z0-9-]{1,64})\/([a-z0-9-]{1,64})\/aws4_request$/;

/**
 * Reads the signature of a request and checks its form and scope. The secret
 * is not needed yet.
 *
 * @param request The request.
 * @param service The service that the scope must name, such as `sts`.
 * @param now The instant, in ms since the Unix epoch.
 * @returns What was found.
 * @throws {Refusal} `MissingAuthenticationToken`, `IncompleteSignature` or `SignatureDoesNotMatch`.
 */
export function readSignature(
  request: RawRequest,
  service: string,
  now: number,
): Signature {
  const header = headerValue(request, "authorization");
  if (!header?.startsWith(`${ALGORITHM} `)) {
    throw new Refusal(
      403,
      "MissingAuthenticationToken",
      "Request is missing Authentication Token",
    );
  }
  const fields = readFields(header.slice(ALGORITHM.length + 1));
  const scope = CREDENTIAL.exec(fields["Credential"] ?? "");
  if (!scope) throw incomplete("a valid 'Credential' parameter");
  const [, accessKeyId = "", date = "", region = "", scopeService = ""] = scope;
  const signedHeaders = readSignedHeaders(fields["SignedHeaders"]);
  checkSigned(signedHeaders);
  const signature = fields["Signature"] ?? "";
  if (!/^[0-9a-f]{64}$/.test(signature)) {
    throw incomplete("a valid 'Signature' parameter");
  }
  const timestamp = readTimestamp(request);
  if (scopeService !== service) {
    throw doesNotMatch(
      `Credential should be scoped to correct service: '${service}'.`,
    );
  }
  checkDate(date, timestamp, now, MAX_SKEW_MINUTES);
  return {
    accessKeyId,
    region,
    service,
    timestamp,
    signedHeaders,
    signature,
  };
}

/**
 * Checks a signature against the secret that its access key belongs to.
 *
 * @param request The request that it is said to sign.
 * @param signature What {@link readSignature} gave for it.
 * @param secret The secret access key.
 * @throws {Refusal} `SignatureDoesNotMatch`, which does not say how it differs.
 */
export function verifySignature(
  request: RawRequest,
  signature: Signature,
  secret: string,
): void {
  const wanted = bytes(signRequest(request, signature, secret));
  const found = bytes(signature.signature);
  if (timingSafeEqual(wanted, found) && bodyHashMatches(request)) return;
  throw doesNotMatch();
}

function checkSigned(names: readonly string[]): void {
  if (!names.includes("host")) throw mustBeSigned("Host");
  if (!names.includes("x-amz-date") && !names.includes("date")) {
    throw mustBeSigned("X-Amz-Date");
  }
}

function signRequest(
  request: RawRequest,
  { region, service, timestamp, signedHeaders }: Signature,
  secret: string,
): string {
  const scope = [timestamp.slice(0, 8), region, service];
  const text = stringToSign(ALGORITHM, request, {
    scope,
    timestamp,
    signedHeaders,
  });
  const key = [...scope, "aws4_request"].reduce(hmac, bytes(`AWS4${secret}`));
  return createHmac("sha256", key).update(text).digest("hex");
}

function hmac(key: Uint8Array, text: string): Uint8Array {
  return createHmac("sha256", key).update(text, "utf8").digest();
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
