/**
 * Requests as they came over the wire, and the canonical form in which AWS
 * signs them.
 *
 * Written anew on purpose, with nothing of an SDK or of moat's own signers: a
 * verifier that shares code with the signer agrees with its mistakes.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html | Create a signed AWS API request}
 */

import { createHash } from "node:crypto";
import { Refusal } from "./refusal.ts";

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

/** Far more than any call needs: a web identity token has 20,000 characters at most. */
const MAX_BODY_BYTES = 65_536;

const HEADER_NAMES = /^[!#$%&'*+.^_`|~0-9a-z-]+(?:;[!#$%&'*+.^_`|~0-9a-z-]+)*$/;
const TIMESTAMP = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/;

/**
 * Reads a request to its end.
 *
 * @param request What `Deno.serve` gives.
 * @returns The same, with the target as the client has signed it.
 * @throws {Refusal} `RequestEntityTooLarge` for more than 65,536 bytes.
 */
export async function readRequest(request: Request): Promise<RawRequest> {
  // Not by URL, which would normalise what the client has signed.
  const target = request.url.replace(/^[a-z]+:\/\/[^/?#]*/i, "");
  const [path = "", query = ""] = target.split(/\?(.*)/s);
  return {
    method: request.method,
    path: path === "" ? "/" : path,
    query,
    headers: [...request.headers],
    body: await readBody(request),
  };
}

async function readBody({ body }: Request): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body ?? []) {
    length += chunk.length;
    if (length > MAX_BODY_BYTES) {
      throw new Refusal(
        413,
        "RequestEntityTooLarge",
        `Request exceeded the maximum of ${MAX_BODY_BYTES} bytes`,
      );
    }
    chunks.push(chunk);
  }
  return new Uint8Array(await new Blob(chunks as BlobPart[]).arrayBuffer());
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

/**
 * Whether a request says that its body is JSON.
 *
 * @param request The request.
 * @returns False for the types that pages of a browser may send anywhere.
 */
export function isJson(request: RawRequest): boolean {
  const type = headerValue(request, "content-type") ?? "";
  return /^application\/json *(;|$)/i.test(type);
}

/**
 * Reads the parameters of an `Authorization` header.
 *
 * @param text What follows the algorithm: `Name=value`, between commas.
 * @returns The values by name.
 * @throws {Refusal} `IncompleteSignature` for another form or a repeated name.
 */
export function readFields(text: string): Record<string, string> {
  const fields: Record<string, string> = Object.create(null);
  for (const part of text.split(",")) {
    const [, name, value] = /^ *([A-Za-z]+)=(\S+) *$/.exec(part) ?? [];
    if (!name || value === undefined || name in fields) {
      throw incomplete("well-formed parameters");
    }
    fields[name] = value;
  }
  return fields;
}

/**
 * Reads the `SignedHeaders` parameter.
 *
 * @param text Names between semicolons.
 * @returns The names: lower case, sorted, each once.
 * @throws {Refusal} `IncompleteSignature` if they are not so.
 */
export function readSignedHeaders(text = ""): string[] {
  if (!HEADER_NAMES.test(text)) {
    throw incomplete("a valid 'SignedHeaders' parameter");
  }
  const names = text.split(";");
  const sorted = [...new Set(names)].sort();
  if (sorted.join(";") !== text) {
    throw incomplete("a sorted 'SignedHeaders' parameter");
  }
  return names;
}

/**
 * Reads the instant at which a request was signed. `X-Amz-Date` wins over
 * `Date`, which may also have HTTP's own form.
 *
 * @param request The request.
 * @returns Such as `20260101T000000Z`.
 * @throws {Refusal} `IncompleteSignature` if there is none.
 */
export function readTimestamp(request: RawRequest): string {
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

/**
 * Compares the credential scope's date with the request's, and both clocks.
 *
 * @param date Of the scope, such as `20260101`.
 * @param timestamp Of the request.
 * @param now The instant, in ms since the Unix epoch.
 * @param skewMinutes How far the client's clock may be off.
 * @throws {Refusal} `SignatureDoesNotMatch`, in AWS's words.
 */
export function checkDate(
  date: string,
  timestamp: string,
  now: number,
  skewMinutes: number,
): void {
  const day = timestamp.slice(0, 8);
  if (date !== day) {
    throw doesNotMatch(
      `Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '${date}' != '${day}', from '${timestamp}'.`,
    );
  }
  const at = parseTimestamp(timestamp);
  const skew = skewMinutes * 60_000;
  const server = formatTimestamp(now);
  if (at < now - skew) {
    throw doesNotMatch(
      `Signature expired: ${timestamp} is now earlier than ${
        formatTimestamp(now - skew)
      } (${server} - ${skewMinutes} min.)`,
    );
  }
  if (at > now + skew) {
    throw doesNotMatch(
      `Signature not yet current: ${timestamp} is still later than ${
        formatTimestamp(now + skew)
      } (${server} + ${skewMinutes} min.)`,
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

/**
 * Writes what is signed.
 *
 * @param algorithm Such as `AWS4-HMAC-SHA256`.
 * @param request The request.
 * @param signature Its scope without the last part, its timestamp, and the names of its signed headers.
 * @returns The string to sign.
 * @throws {Refusal} `MalformedQueryString` for a query with a broken escape.
 */
export function stringToSign(
  algorithm: string,
  request: RawRequest,
  signature: {
    readonly scope: readonly string[];
    readonly timestamp: string;
    readonly signedHeaders: readonly string[];
  },
): string {
  const { scope, timestamp, signedHeaders } = signature;
  const canonical = [
    request.method,
    request.path.split("/").map(encode).join("/"),
    canonicalQuery(request.query),
    ...signedHeaders.map((name) => canonicalHeader(request, name)),
    "",
    signedHeaders.join(";"),
    sha256(request.body),
  ].join("\n");
  return [
    algorithm,
    timestamp,
    [...scope, "aws4_request"].join("/"),
    sha256(new TextEncoder().encode(canonical)),
  ].join("\n");
}

/**
 * Whether the header that names the body's hash, if there is one, is right.
 *
 * @param request The request.
 * @returns False if it names another hash.
 */
export function bodyHashMatches(request: RawRequest): boolean {
  const declared = headerValue(request, "x-amz-content-sha256");
  return declared === undefined || declared === sha256(request.body);
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

/**
 * The refusal of an `Authorization` header that lacks something.
 *
 * @param wanted What it lacks; follows "requires".
 * @returns Status 400, `IncompleteSignature`.
 */
export function incomplete(wanted: string): Refusal {
  return new Refusal(
    400,
    "IncompleteSignature",
    `Authorization header requires ${wanted}.`,
  );
}

/**
 * The refusal of a signature that leaves a header open to change.
 *
 * @param name The header's name.
 * @returns Status 403, `SignatureDoesNotMatch`.
 */
export function mustBeSigned(name: string): Refusal {
  return doesNotMatch(
    `'${name}' must be a 'SignedHeader' in the AWS Authorization.`,
  );
}

/**
 * The refusal of a signature.
 *
 * @param message AWS's sentence. Default: the one that does not say how it differs.
 * @returns Status 403, `SignatureDoesNotMatch`.
 */
export function doesNotMatch(
  message =
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
): Refusal {
  return new Refusal(403, "SignatureDoesNotMatch", message);
}

function sha256(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}
