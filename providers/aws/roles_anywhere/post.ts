/**
 * One HTTP request to the service, without the SDK, so that a helper that
 * needs only this starts fast.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";
import { limitAnswer, openClient, REQUEST_TIMEOUT_MS } from "../transport.ts";

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
 * @throws {MoatError} `ca-bundle-unreadable`; or `RefusedAnswer`, a
 * `TimeoutError`, or what `fetch` throws.
 */
export async function post(
  { url, headers, body }: Post,
  { clock, signal, caBundle }: PostContext,
): Promise<Answer> {
  using client = await openClient(caBundle);
  const late = new AbortController();
  const cancel = clock.after(REQUEST_TIMEOUT_MS, () => {
    late.abort(new DOMException("no answer in time", "TimeoutError"));
  });
  try {
    const response = await limitAnswer(
      await fetch(url, {
        method: "POST",
        redirect: "manual",
        signal: AbortSignal.any([signal, late.signal]),
        ...{ headers, body },
        ...(client && { client }),
      }),
    );
    const { status, headers: answered } = response;
    return { status, headers: answered, text: await response.text() };
  } finally {
    cancel();
  }
}
