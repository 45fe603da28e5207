/**
 * The verifying side of AWS Signature Version 4, for one service and header
 * authentication (presigned URLs are not taken).
 *
 * Written anew on purpose, with nothing of an SDK: a verifier that shares code
 * with the signer agrees with its mistakes.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html | Create a signed AWS API request}
 */

import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { Refusal } from "./refusal.ts";

/** AWS's tolerance for a client's clock. */
const MAX_SKEW_MINUTES = 15;

/** A request as it came over the wire. */
export interface RawRequest {
  /** In upper case. */
  readonly method: string;
  /** Before the `?`, not decoded. */
  readonly path: string;
  /** After the `?`, not decoded; empty if there is none. */
  readonly query: string;
  /** In their order; a name may come more than once. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** All of it; empty for GET. */
  readonly body: Uint8Array;
}

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
const SIGNED_HEADERS =
  /^[!#$%&'*+.^_`|~0-9a-z-]+(?:;[!#$%&'*+.^_`|~0-9a-z-]+)*$/;
const TIMESTAMP = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/;

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
  const signature = fields["Signature"] ?? "";
  if (!/^[0-9a-f]{64}$/.test(signature)) {
    throw incomplete("a valid 'Signature' parameter");
  }
  const timestamp = readTimestamp(request);
  checkScope(scopeService, service, date, timestamp);
  checkSkew(timestamp, now);
  return {
    accessKeyId,
    region,
    service: scopeService,
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
  const payloadHash = sha256(request.body);
  const declared = headerValue(request, "x-amz-content-sha256");
  const wanted = bytes(signRequest(request, signature, payloadHash, secret));
  const found = bytes(signature.signature);
  const hashMatches = declared === undefined || declared === payloadHash;
  if (timingSafeEqual(wanted, found) && hashMatches) return;
  throw doesNotMatch(
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
  );
}

/**
 * The value of a header that may come once.
 *
 * @param request The request.
 * @param name In lower case.
 * @returns Its value, or undefined if it is absent or repeated.
 */
export function headerValue(
  request: RawRequest,
  name: string,
): string | undefined {
  const values = headerValues(request, name);
  return values.length === 1 ? values[0] : undefined;
}

function headerValues(request: RawRequest, name: string): string[] {
  return request.headers.filter(([key]) => key.toLowerCase() === name)
    .map(([, value]) => value.trim());
}

function readFields(text: string): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const part of text.split(",")) {
    const [, name, value] = /^ *([A-Za-z]+)=(\S+) *$/.exec(part) ?? [];
    if (!name || value === undefined || name in fields) {
      throw incomplete("well-formed parameters");
    }
    fields[name] = value;
  }
  return fields;
}

function readSignedHeaders(text = ""): string[] {
  if (!SIGNED_HEADERS.test(text)) {
    throw incomplete("a valid 'SignedHeaders' parameter");
  }
  const names = text.split(";");
  const sorted = [...new Set(names)].sort();
  if (sorted.join(";") !== text) {
    throw incomplete("a sorted 'SignedHeaders' parameter");
  }
  if (!names.includes("host")) throw mustBeSigned("Host");
  if (!names.includes("x-amz-date") && !names.includes("date")) {
    throw mustBeSigned("X-Amz-Date");
  }
  return names;
}

/** `X-Amz-Date` wins over `Date`, which may also have HTTP's own form. */
function readTimestamp(request: RawRequest): string {
  const text = headerValue(request, "x-amz-date") ??
    headerValue(request, "date");
  if (text === undefined) {
    throw incomplete("existence of either a 'X-Amz-Date' or a 'Date' header");
  }
  const timestamp = / GMT$/.test(text)
    ? formatTimestamp(Date.parse(text))
    : text;
  if (Number.isNaN(parseTimestamp(timestamp))) {
    throw new Refusal(
      400,
      "IncompleteSignature",
      `Date must be in ISO-8601 'basic format'. Got '${text}'. See http://en.wikipedia.org/wiki/ISO_8601`,
    );
  }
  return timestamp;
}

function checkScope(
  found: string,
  wanted: string,
  date: string,
  timestamp: string,
): void {
  if (found !== wanted) {
    throw doesNotMatch(
      `Credential should be scoped to correct service: '${wanted}'.`,
    );
  }
  const day = timestamp.slice(0, 8);
  if (date !== day) {
    throw doesNotMatch(
      `Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '${date}' != '${day}', from '${timestamp}'.`,
    );
  }
}

function checkSkew(timestamp: string, now: number): void {
  const at = parseTimestamp(timestamp);
  const skew = MAX_SKEW_MINUTES * 60_000;
  const server = formatTimestamp(now);
  if (at < now - skew) {
    throw doesNotMatch(
      `Signature expired: ${timestamp} is now earlier than ${
        formatTimestamp(now - skew)
      } (${server} - ${MAX_SKEW_MINUTES} min.)`,
    );
  }
  if (at > now + skew) {
    throw doesNotMatch(
      `Signature not yet current: ${timestamp} is still later than ${
        formatTimestamp(now + skew)
      } (${server} + ${MAX_SKEW_MINUTES} min.)`,
    );
  }
}

/** NaN for anything that is no instant in the basic format. */
function parseTimestamp(text: string): number {
  const iso = text.replace(TIMESTAMP, "$1-$2-$3T$4:$5:$6Z");
  return iso === text ? NaN : Date.parse(iso);
}

function formatTimestamp(at: number): string {
  if (Number.isNaN(at)) return "";
  return new Date(at).toISOString().replace(/[-:]|\.\d+/g, "");
}

function signRequest(
  request: RawRequest,
  { region, service, timestamp, signedHeaders }: Signature,
  payloadHash: string,
  secret: string,
): string {
  const canonical = [
    request.method,
    request.path.split("/").map(encode).join("/"),
    canonicalQuery(request.query),
    ...signedHeaders.map((name) => canonicalHeader(request, name)),
    "",
    signedHeaders.join(";"),
    payloadHash,
  ].join("\n");
  const date = timestamp.slice(0, 8);
  const scope = [date, region, service, "aws4_request"];
  const stringToSign = [
    ALGORITHM,
    timestamp,
    scope.join("/"),
    sha256(bytes(canonical)),
  ].join("\n");
  const key = scope.reduce(hmac, bytes(`AWS4${secret}`));
  return createHmac("sha256", key).update(stringToSign).digest("hex");
}

function canonicalHeader(request: RawRequest, name: string): string {
  const values = headerValues(request, name)
    .map((value) => value.replace(/ +/g, " "));
  return `${name}:${values.join(",")}`;
}

/** Decodes and encodes anew, because clients differ in what they escape. */
function canonicalQuery(query: string): string {
  if (query === "") return "";
  const pairs = query.split("&").map((pair) => {
    const equals = pair.indexOf("=");
    const name = equals < 0 ? pair : pair.slice(0, equals);
    const value = equals < 0 ? "" : pair.slice(equals + 1);
    return [encode(decode(name)), encode(decode(value))] as const;
  });
  return pairs.sort(([a, x], [b, y]) => compare(a, b) || compare(x, y))
    .map((pair) => pair.join("=")).join("&");
}

/** By code unit; both sides are ASCII here. */
function compare(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Refusal(
      400,
      "MalformedQueryString",
      "The query string contains a syntax error",
    );
  }
}

/** RFC 3986's unreserved characters stay; `encodeURIComponent` spares 5 more. */
function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed()).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function hmac(key: Uint8Array, text: string): Uint8Array {
  return createHmac("sha256", key).update(text, "utf8").digest();
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** The refusal of an `Authorization` header that lacks something. */
function incomplete(wanted: string): Refusal {
  return new Refusal(
    400,
    "IncompleteSignature",
    `Authorization header requires ${wanted}.`,
  );
}

function mustBeSigned(name: string): Refusal {
  return doesNotMatch(
    `'${name}' must be a 'SignedHeader' in the AWS Authorization.`,
  );
}

function doesNotMatch(message: string): Refusal {
  return new Refusal(403, "SignatureDoesNotMatch", message);
}

function sha256(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}
