/**
 * How the SDK's calls reach the network: with `fetch`, because it honours
 * HTTPS_PROXY and leaves no idle socket to reuse.
 *
 * @module
 */

import { MoatError } from "$core/errors.ts";
import { RefusedAnswer } from "./errors.ts";
import type { Source } from "./settings.ts";

/** One HTTP request; reading its answer is limited by the whole call. */
const REQUEST_TIMEOUT_MS = 5000;

/** Far above any answer of STS or SSO, undone compression included. */
const MAX_ANSWER_BYTES = 64 * 1024;

/** What carries the requests of one call; `using` ends them all. */
export interface Transport extends Disposable {
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
 * @param source Whose CA bundle to trust.
 * @returns The transport.
 * @throws {MoatError} `ca-bundle-unreadable`.
 */
export async function openTransport(source: Source): Promise<Transport> {
  const { FetchHttpHandler } = await import("./sdk_sts.ts");
  const { caBundle } = source;
  const client = caBundle === undefined
    ? undefined
    : Deno.createHttpClient({ caCerts: [await readCaBundle(caBundle)] });
  const stop = new AbortController();
  const customFetch = async (request: Request) => {
    const signal = AbortSignal.any([request.signal, stop.signal]);
    const init = { signal, redirect: "manual", ...(client && { client }) };
    return await limit(await fetch(request, init as RequestInit));
  };
  return {
    requestHandler: new FetchHttpHandler({
      requestTimeout: REQUEST_TIMEOUT_MS,
      customFetch: customFetch as typeof fetch,
    }),
    [Symbol.dispose]() {
      stop.abort();
      client?.close();
    },
  };
}

async function limit(response: Response): Promise<Response> {
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

async function readCaBundle(path: string): Promise<string> {
  const text = await Deno.readTextFile(path).catch((cause) => {
    throw badCaBundle(`Cannot read AWS_CA_BUNDLE "${path}"`, cause);
  });
  if (text.includes("-----BEGIN CERTIFICATE-----")) return text;
  throw badCaBundle(
    `Cannot use AWS_CA_BUNDLE "${path}": wanted certificates in PEM, found none`,
  );
}

function badCaBundle(message: string, cause?: unknown): MoatError {
  return new MoatError("ca-bundle-unreadable", message, {
    hint: "grant again with AWS_CA_BUNDLE naming a PEM file",
    cause,
  });
}
