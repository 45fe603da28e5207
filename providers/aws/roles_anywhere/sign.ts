/**
 * AWS4-X509: Signature Version 4 in which a certificate's private key signs
 * the string to sign, instead of a key derived from a secret.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/rolesanywhere/latest/userguide/authentication-sign-process.html | The IAM Roles Anywhere signing process}
 */

import { createHash } from "node:crypto";
import type { Identity } from "./identity.ts";

/** A request before it is signed. */
export interface UnsignedRequest {
  /** Such as `POST`. */
  readonly method: string;
  /** Signed as it is: the query must be sorted, and encoded by {@link encodeQuery}. */
  readonly url: URL;
  /** By lower-case name; `host` and `x-amz-*` are added. */
  readonly headers: Readonly<Record<string, string>>;
  /** What is sent. */
  readonly body: string;
}

/** When and for what a signature counts. */
export interface Scope {
  /** In ms since the Unix epoch, by the server's clock. */
  readonly now: number;
  /** Such as `eu-central-1`. */
  readonly region: string;
  /** Such as `rolesanywhere`. */
  readonly service: string;
}

/**
 * Signs a request.
 *
 * @param request All of it.
 * @param scope When and for what.
 * @param identity Who signs.
 * @returns All headers to send but `host`, which follows from the URL.
 */
export async function signRequest(
  request: UnsignedRequest,
  scope: Scope,
  identity: Identity,
): Promise<Record<string, string>> {
  const { key, leaf, chain } = identity;
  const headers: Record<string, string> = {
    ...request.headers,
    host: request.url.host,
    "x-amz-date": formatTime(scope.now),
    "x-amz-x509": leaf.der.toBase64(),
  };
  if (chain.length > 0) {
    headers["x-amz-x509-chain"] = chain.map((c) => c.der.toBase64()).join(",");
  }
  const algorithm = `AWS4-X509-${key.kind}-SHA256`;
  const { canonical, signedHeaders } = canonicalRequest(request, headers);
  const text = stringToSign(algorithm, scope, canonical);
  const signature = await key.sign(new TextEncoder().encode(text));
  const { host: _, ...sent } = headers;
  return {
    ...sent,
    authorization: `${algorithm} Credential=${leaf.serial}/${
      formatScope(scope)
    }, SignedHeaders=${signedHeaders}, Signature=${signature.toHex()}`,
  };
}

/**
 * Writes a request in the form whose digest is signed.
 *
 * @param request Method, path, query and body.
 * @param headers All that are signed, by lower-case name.
 * @returns That form, and the names of the headers in it.
 */
export function canonicalRequest(
  { method, url, body }: UnsignedRequest,
  headers: Readonly<Record<string, string>>,
): { canonical: string; signedHeaders: string } {
  const names = Object.keys(headers).sort();
  const signedHeaders = names.join(";");
  const lines = names.map((name) => {
    const value = headers[name] ?? "";
    return `${name}:${value.trim().replaceAll(/ +/g, " ")}\n`;
  });
  const canonical = [
    method,
    url.pathname,
    url.search.slice(1),
    lines.join(""),
    signedHeaders,
    sha256(body),
  ].join("\n");
  return { canonical, signedHeaders };
}

/**
 * Writes what the private key signs.
 *
 * @param algorithm Such as `AWS4-X509-RSA-SHA256`.
 * @param scope When and for what.
 * @param canonical Of {@link canonicalRequest}.
 */
export function stringToSign(
  algorithm: string,
  scope: Scope,
  canonical: string,
): string {
  const time = formatTime(scope.now);
  return [algorithm, time, formatScope(scope), sha256(canonical)].join("\n");
}

/**
 * Encodes text for a query as Signature Version 4 wants it.
 *
 * @param text Any.
 * @returns All but letters, digits and `-._~` as `%XX`.
 */
export function encodeQuery(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function formatScope({ now, region, service }: Scope): string {
  return `${formatTime(now).slice(0, 8)}/${region}/${service}/aws4_request`;
}

/** `YYYYMMDDTHHMMSSZ`. */
function formatTime(ms: number): string {
  return new Date(ms).toISOString().replaceAll(/[-:]|\.\d+/g, "");
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
