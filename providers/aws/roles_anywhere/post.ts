/**
 * One HTTP request to the service, without the SDK, so that a helper that
 * needs only this starts fast.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";
import { readCaBundle } from "../ca_bundle.ts";
import { RefusedAnswer } from "../errors.ts";

/** One request, its answer included. */
const REQUEST_TIMEOUT_MS = 5000;

/** Far above any answer of the service, undone compression included. */
const MAX_ANSWER_BYTES = 64 * 1024;

/** What is sent. */
export interface Post {
  /** Where to. */
  readonly url: URL;
  /** All headers but `host`. */
  readonly headers: Readonly<Record<string, string>>;
  /** The body. */
  readonly body: string;
}

/** What bounds it. */
export interface PostContext {
  /** Ends it after 5 s. */
  readonly clock: Clock;
  /** Ends it earlier. */
  readonly signal: AbortSignal;
  /** PEM file with further roots. */
  readonly caBundle: string | undefined;
}

/** What came back. */
export interface Answer {
  /** Of HTTP. */
  readonly status: number;
  /** Of HTTP. */
  readonly headers: Headers;
  /** The whole body. */
  readonly text: string;
}

/**
 * Posts, following no redirect and reading at most 64 KiB.
 *
 * @param request What is sent.
 * @param context What bounds it.
 * @returns Any answer but a redirect.
 * @throws {MoatError} `ca-bundle-unreadable`; or {@link RefusedAnswer}, a
 * `TimeoutError`, or what `fetch` throws.
 */
export async function post(
  { url, headers, body }: Post,
  { clock, signal, caBundle }: PostContext,
): Promise<Answer> {
  using client = caBundle === undefined
    ? undefined
    : Deno.createHttpClient({ caCerts: [await readCaBundle(caBundle)] });
  const late = new AbortController();
  const cancel = clock.after(REQUEST_TIMEOUT_MS, () => {
    late.abort(new DOMException("no answer in time", "TimeoutError"));
  });
  try {
    const response = await fetch(url, {
      method: "POST",
      redirect: "manual",
      signal: AbortSignal.any([signal, late.signal]),
      ...{ headers, body },
      ...(client && { client }),
    });
    const { status } = response;
    if (status >= 300 && status < 400) {
      await response.body?.cancel();
      throw new RefusedAnswer(
        `answered ${status}, a redirect, which moat does not follow`,
      );
    }
    return {
      status,
      headers: response.headers,
      text: await readText(response),
    };
  } finally {
    cancel();
  }
}

async function readText({ body }: Response): Promise<string> {
  const decoder = new TextDecoder();
  let [text, size] = ["", 0];
  for await (const chunk of body ?? []) {
    size += chunk.length;
    if (size > MAX_ANSWER_BYTES) {
      throw new RefusedAnswer("answered more than 64 KiB");
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}
