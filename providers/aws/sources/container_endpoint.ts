/**
 * Container credentials: a GET with a token, of the recorded address.
 *
 * Not by the SDK's `fromHttp`: a silent endpoint makes it wait for ever, it
 * writes to the console, and it trusts no CA bundle. Its rules and its words
 * are kept.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html | Container credential provider}
 */

import { sleep } from "$core/clock.ts";
import { parseJson } from "$core/json.ts";
import { RefusedAnswer } from "../errors.ts";
import { readSmallFile } from "../files.ts";
import { openTransport } from "../transport.ts";
import {
  inTime,
  ProviderFailure,
  type SdkCredentials,
  type SourceCall,
} from "./call.ts";

/** Bound of one request in ms; the endpoint is next door. */
const REQUEST_TIMEOUT_MS = 2000;

/** Wait before the second attempt. */
const RETRY_MS = 100;

/** Far above any token. */
const MAX_TOKEN_BYTES = 16 * 1024;

/** AWS's link-local addresses, of ECS and EKS. */
const LINK_LOCAL = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];

/**
 * Gets container credentials. What fails without an answer, or with a status
 * above 499, is tried twice.
 *
 * **Security:** the token goes to the recorded address only, and over plain
 * http only to loopback and AWS's link-local addresses, past any proxy.
 *
 * @param call Where to look.
 * @returns The credentials.
 * @throws {ProviderFailure} Worded as the SDK does it.
 */
export async function containerCredentials(
  call: SourceCall,
): Promise<SdkCredentials> {
  const { container } = call.source;
  if (!container) {
    throw new ProviderFailure("No HTTP credential provider host provided.");
  }
  const url = checkUrl(container.url);
  const token = await readToken(container.tokenFile, call);
  const { status, text } = await get(url, token, call).then(
    async (answer) => answer.status > 499 ? await again() : answer,
    again,
  );
  if (status === 200) return parseCredentials(text);
  throw new ProviderFailure(`Server responded with status: ${status}`);
  async function again(): Promise<Answer> {
    await sleep(call.platform.clock, RETRY_MS);
    return await get(url, token, call);
  }
}

function checkUrl(text: string): URL {
  const url = URL.parse(text);
  const isLocal = url?.protocol === "http:" &&
    (LINK_LOCAL.includes(url.hostname) || isLoopback(url.hostname));
  if (url && (isLocal || url.protocol === "https:")) return url;
  throw new ProviderFailure("URL not accepted.");
}

/** The parser has made a dotted quad of every way to write an IPv4 address. */
function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" ||
    /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

async function readToken(
  file: string | undefined,
  { platform: { env } }: SourceCall,
): Promise<string> {
  const token = file === undefined
    ? env["AWS_CONTAINER_AUTHORIZATION_TOKEN"] ?? ""
    : await readTokenFile(file);
  if (/^[\t\x20-\x7e]*$/.test(token)) return token;
  throw new ProviderFailure("Authorization token contains a line break.");
}

async function readTokenFile(path: string): Promise<string> {
  const bytes = await readSmallFile(path, MAX_TOKEN_BYTES);
  if (bytes) return new TextDecoder().decode(bytes).trimEnd();
  throw new ProviderFailure("Authorization token contains too much.");
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

function get(url: URL, token: string, call: SourceCall): Promise<Answer> {
  const headers = token ? { Authorization: token } : {};
  return inTime(
    call.platform.clock,
    REQUEST_TIMEOUT_MS,
    new ProviderFailure("TimeoutError"),
    (signal) =>
      send(url, headers, call, AbortSignal.any([signal, call.signal])),
  );
}

async function send(
  url: URL,
  headers: Record<string, string>,
  { at }: SourceCall,
  signal: AbortSignal,
): Promise<Answer> {
  // A proxy of HTTP_PROXY would get the token.
  const options = url.protocol === "http:"
    ? { signal, direct: url }
    : { signal };
  using transport = await openTransport(at, undefined, options);
  try {
    const response = await transport.fetch(new Request(url, { headers }));
    return { status: response.status, text: await response.text() };
  } catch (error) {
    // The runtime's own words name the URL, which may hold a token.
    throw error instanceof RefusedAnswer
      ? malformed()
      : new ProviderFailure("TypeError: error sending request");
  }
}

function malformed(): ProviderFailure {
  return new ProviderFailure(
    "HTTP credential provider response not of the required format",
  );
}

function parseCredentials(text: string): SdkCredentials {
  const parsed = parseJson(text) ?? {};
  const { AccessKeyId, SecretAccessKey, Token, Expiration } = parsed as Record<
    string,
    unknown
  >;
  const parts = [AccessKeyId, SecretAccessKey, Token, Expiration];
  const expiration = new Date(String(Expiration));
  if (
    !parts.every((part) => typeof part === "string") ||
    Number.isNaN(expiration.getTime())
  ) throw malformed();
  return {
    accessKeyId: String(AccessKeyId),
    secretAccessKey: String(SecretAccessKey),
    sessionToken: String(Token),
    expiration,
  };
}
