/**
 * Trying a token once, before it is stored: one small request to its vendor.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";
import { MoatError } from "$core/errors.ts";
import type { Secret } from "$core/secret.ts";

/** How long the vendor has to answer, in ms. */
const TIMEOUT_MS = 10_000;

/** All the world's roots have a quarter of this, in bytes. */
const MAX_BUNDLE_BYTES = 1024 * 1024;

/** One request that tells whether a token is good. */
export interface Validation {
  /** Whose token it is, for people, such as `GitHub`. */
  readonly vendor: string;
  /** What to ask for, with https; never with the token in it. */
  readonly url: string;
  /** Default: `GET`. */
  readonly method?: string;
  /** JSON to send, without the token. Default: nothing. */
  readonly body?: string;
  /** Headers by name; those that are secret hold the token. */
  readonly headers: Readonly<Record<string, string | Secret>>;
  /** Whether 403 only means that a good token may not ask this. Default: false. */
  readonly allowsForbidden?: boolean;
  /** Statuses of a bad token. Default: 401. */
  readonly rejects?: readonly number[];
  /** What to do about a bad token. */
  readonly hint: string;
}

/** What a vendor said of a good token. */
export interface Validated {
  /** `rate-limited`: it knows the token, and asks to slow down; `restricted`: it does not let it ask this. */
  readonly result: "ok" | "rate-limited" | "restricted";
  /** The answer's headers. */
  readonly headers: Headers;
}

/** What the request needs of the machine. */
export interface ValidationHost {
  /** Limits the request's time. */
  readonly clock: Clock;
  /** Of which SSL_CERT_FILE adds roots; proxies are those of the process. */
  readonly env: Readonly<Record<string, string>>;
}

/**
 * Tries a token.
 *
 * **Security:** the token is in a header alone, no redirect is followed,
 * nothing of the answer's body is read, and no error repeats either.
 *
 * @param validation What to ask.
 * @param host Clock and environment.
 * @returns What the vendor said.
 * @throws {MoatError} `token-rejected`; `token-forbidden` for 403;
 * `validation-failed` for any other status; `validation-unreachable`;
 * `roots-unreadable` if SSL_CERT_FILE has no certificates.
 */
export async function validateToken(
  validation: Validation,
  host: ValidationHost,
): Promise<Validated> {
  const { status, headers } = await call(validation, host);
  if (status >= 200 && status < 300) return { result: "ok", headers };
  if (isRateLimit(status, headers)) return { result: "rate-limited", headers };
  if (status === 403 && validation.allowsForbidden) {
    return { result: "restricted", headers };
  }
  throw refusal(validation, status);
}

async function call(
  validation: Validation,
  { clock, env }: ValidationHost,
): Promise<Response> {
  using client = await openClient(env["SSL_CERT_FILE"]);
  const timeout = new AbortController();
  const cancel = clock.after(TIMEOUT_MS, () => timeout.abort());
  try {
    const response = await fetch(validation.url, {
      method: validation.method ?? "GET",
      headers: revealed(validation),
      ...(validation.body !== undefined && { body: validation.body }),
      redirect: "manual",
      signal: timeout.signal,
      client,
    });
    await response.body?.cancel();
    return response;
  } catch (cause) {
    throw unreachable(validation, timeout.signal.aborted, cause);
  } finally {
    cancel();
  }
}

function revealed({ headers, body }: Validation): Record<string, string> {
  return Object.fromEntries([
    ...body === undefined ? [] : [["content-type", "application/json"]],
    // GitHub refuses requests without it.
    ["user-agent", "moat"],
    ...Object.entries(headers).map(([name, value]) => [
      name,
      typeof value === "string" ? value : value.reveal(),
    ]),
  ]);
}

/** 403 with nothing left of the rate is how GitHub spells 429. */
function isRateLimit(status: number, headers: Headers): boolean {
  return status === 429 ||
    status === 403 && headers.get("x-ratelimit-remaining") === "0";
}

async function openClient(
  rootsFile: string | undefined,
): Promise<Deno.HttpClient> {
  if (!rootsFile) return Deno.createHttpClient({});
  try {
    return Deno.createHttpClient({ caCerts: [await readRoots(rootsFile)] });
  } catch (cause) {
    throw new MoatError(
      "roots-unreadable",
      `Cannot use SSL_CERT_FILE "${rootsFile}": wanted a file of certificates in PEM`,
      { cause, hint: "name such a file, or unset SSL_CERT_FILE" },
    );
  }
}

async function readRoots(path: string): Promise<string> {
  const { isFile, size } = await Deno.stat(path);
  const text = isFile && size <= MAX_BUNDLE_BYTES
    ? await Deno.readTextFile(path)
    : "";
  if (text.includes("-----BEGIN CERTIFICATE-----")) return text;
  throw new RangeError("no certificates, or too many");
}

function refusal(
  { vendor, url, rejects = [401], hint }: Validation,
  status: number,
): MoatError {
  const { host } = new URL(url);
  if (rejects.includes(status)) {
    return new MoatError(
      "token-rejected",
      `Cannot use this ${vendor} token: ${host} does not accept it (${status})`,
      { hint },
    );
  }
  if (status === 403) {
    return new MoatError(
      "token-forbidden",
      `Cannot use this ${vendor} token: ${host} does not let it do anything there (403)`,
      {
        hint:
          `${hint}; or check its permissions, and from where it may be used`,
      },
    );
  }
  return new MoatError(
    "validation-failed",
    `Cannot validate this ${vendor} token: ${host} answered ${status}`,
    { hint: "try again later, or store it untested with --no-validate" },
  );
}

function unreachable(
  { vendor, url }: Validation,
  isLate: boolean,
  cause: unknown,
): MoatError {
  const why = isLate
    ? `did not answer within ${TIMEOUT_MS / 1000} s`
    : "cannot be reached";
  return new MoatError(
    "validation-unreachable",
    `Cannot validate this ${vendor} token: ${new URL(url).host} ${why}`,
    {
      cause,
      hint:
        "check the network, HTTPS_PROXY and SSL_CERT_FILE, or store it untested with --no-validate",
    },
  );
}
