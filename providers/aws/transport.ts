/**
 * How the SDK's calls reach the network: with `fetch`, because it honours
 * HTTPS_PROXY and leaves no idle socket to reuse.
 *
 * @module
 */

import { readCaBundle } from "./ca_bundle.ts";
import { RefusedAnswer } from "./errors.ts";
import type { StsAddress } from "./settings.ts";

/** One HTTP request in ms; reading the SDK's answers is limited by the whole call. */
export const REQUEST_TIMEOUT_MS = 5000;

/** Far above any answer of STS or SSO, undone compression included. */
const MAX_ANSWER_BYTES = 64 * 1024;

/**
 * Told of a server's clock.
 *
 * @param date The value of its `Date` header, if there was one.
 * @param origin Whose it is, such as `https://sts.eu-west-1.amazonaws.com`.
 */
export type DateListener = (date: string | null, origin: string) => void;

/** What {@link openTransport} may be told. */
export interface TransportOptions {
  /** Ends its requests. */
  readonly signal?: AbortSignal;
  /** The only server to connect to, past HTTP_PROXY and its like. */
  readonly direct?: URL;
}

/** What carries the requests of one call; `using` ends them all. */
export interface Transport extends Disposable {
  /** Makes one request; an answer has 64 KiB at most. */
  readonly fetch: (request: Request) => Promise<Response>;
  /** What an SDK client takes as `requestHandler`. */
  readonly requestHandler: object;
}

/**
 * Opens the transport of one call.
 *
 * **Security:** no redirect is followed, because it would take the source's
 * session token along, and no more than 64 KiB of an answer is read; both fail
 * with {@link RefusedAnswer}.
 *
 * @param at Whose CA bundle to trust.
 * @param onDate Told of each success, and of each refusal that may be for the
 * request's time.
 * @param options What ends its requests, and whether proxies are passed by.
 * @returns The transport.
 * @throws {MoatError} `ca-bundle-unreadable`.
 */
export async function openTransport(
  { caBundle }: Pick<StsAddress, "caBundle">,
  onDate?: DateListener,
  { signal, direct }: TransportOptions = {},
): Promise<Transport> {
  const { FetchHttpHandler } = await import("./sdk_sts.ts");
  const client = await openClient(caBundle, direct);
  const stop = new AbortController();
  const ends = signal ? [signal, stop.signal] : [stop.signal];
  const limitedFetch = async (request: Request) => {
    const response = await fetch(request, {
      signal: AbortSignal.any([request.signal, ...ends]),
      redirect: "manual",
      ...(client && { client }),
    });
    if (tellsTime(response.status)) {
      onDate?.(response.headers.get("date"), new URL(request.url).origin);
    }
    return await limitAnswer(response);
  };
  return {
    fetch: limitedFetch,
    requestHandler: new FetchHttpHandler({
      requestTimeout: REQUEST_TIMEOUT_MS,
      customFetch: limitedFetch as typeof fetch,
    }),
    [Symbol.dispose]() {
      stop.abort();
      client?.close();
    },
  };
}

/**
 * Opens what `fetch` connects with.
 *
 * @param caBundle PEM file with further roots.
 * @param direct The only server to connect to.
 * @returns None, where the runtime's own will do.
 * @throws {MoatError} `ca-bundle-unreadable`.
 */
export async function openClient(
  caBundle: string | undefined,
  direct?: URL,
): Promise<Deno.HttpClient | undefined> {
  if (caBundle === undefined && !direct) return undefined;
  return Deno.createHttpClient({
    ...(caBundle !== undefined && { caCerts: [await readCaBundle(caBundle)] }),
    ...(direct && { proxy: addressOf(direct) }),
  });
}

/** A "proxy" of plain TCP, which is the server itself. */
function addressOf({ hostname, port, protocol }: URL) {
  return {
    transport: "tcp",
    hostname: hostname.replace(/^\[(.*)\]$/, "$1"),
    port: Number(port || (protocol === "https:" ? 443 : 80)),
  } as const;
}

/** Success, and the statuses with which AWS refuses a request for its time. */
function tellsTime(status: number): boolean {
  return status >= 200 && status < 300 || status === 400 || status === 403;
}

/**
 * Bounds an answer: no redirect, and no more than 64 KiB of its body.
 *
 * @param response What `fetch` gave, with redirects left to us.
 * @returns The same, whose body fails with {@link RefusedAnswer} when it is longer.
 * @throws {RefusedAnswer} For a redirect.
 */
export async function limitAnswer(response: Response): Promise<Response> {
  const { body, status, statusText, headers } = response;
  if (status >= 300 && status < 400) {
    await body?.cancel();
    throw new RefusedAnswer(
      `answered ${status}, a redirect, which moat does not follow`,
    );
  }
  const limited = body && body.pipeThrough(limitBytes());
  return new Response(limited, { status, statusText, headers });
}

function limitBytes() {
  let size = 0;
  return new TransformStream<
    Uint8Array<ArrayBuffer>,
    Uint8Array<ArrayBuffer>
  >({
    transform(chunk, controller) {
      size += chunk.length;
      if (size <= MAX_ANSWER_BYTES) return controller.enqueue(chunk);
      controller.error(new RefusedAnswer("answered more than 64 KiB"));
    },
  });
}
