/**
 * Answers that come bit by bit: each further part is sent once the client has
 * asked for it on another request, which it does when it has the part before.
 * A proxy that held a part back would wait for ever.
 *
 * @module
 */

import type { Vendor } from "./vendor.ts";

/** A stream in parts, and the requests that release them. */
export interface Steps {
  /** Answers with the parts as server-sent events. */
  readonly stream: (parts: readonly string[]) => Response;
  /** Releases one more part. */
  readonly next: Vendor;
}

/** Makes a stream that is released step by step. */
export function createSteps(): Steps {
  let wanted = Promise.withResolvers<void>();
  const send = async function* (parts: readonly string[]) {
    for (const [index, part] of parts.entries()) {
      if (index > 0) {
        await wanted.promise;
        wanted = Promise.withResolvers();
      }
      yield new TextEncoder().encode(part);
    }
  };
  return {
    stream(parts) {
      wanted = Promise.withResolvers();
      return new Response(ReadableStream.from(send(parts)), {
        headers: { "content-type": "text/event-stream" },
      });
    },
    next() {
      wanted.resolve();
      return new Response("go on\n");
    },
  };
}

/** What the model of {@link createModelApi} says, in two parts. */
export const MODEL_WORDS: readonly [string, string] = ["Good", " morning"];

/**
 * An API of models, in the shape of Anthropic's.
 *
 * @see {@link https://platform.claude.com/docs/en/build-with-claude/streaming | Streaming messages}
 */
export function createModelApi(): Vendor {
  const steps = createSteps();
  const event = (type: string, rest: Record<string, unknown>) =>
    `event: ${type}\ndata: ${JSON.stringify({ type, ...rest })}\n\n`;
  const delta = (text: string) =>
    event("content_block_delta", {
      index: 0,
      delta: { type: "text_delta", text },
    });
  const message = {
    id: "msg_test",
    type: "message",
    role: "assistant",
    model: "test",
    content: [],
    "stop_reason": null,
    "stop_sequence": null,
    usage: { "input_tokens": 1, "output_tokens": 1 },
  };
  const [first, second] = MODEL_WORDS;
  return async (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/next") return steps.next(request);
    if (pathname === "/v1/models") return Response.json({ data: [] });
    if (pathname !== "/v1/messages") return new Response(null, { status: 404 });
    const { stream } = await request.json();
    if (stream !== true) return new Response("not streamed", { status: 400 });
    return steps.stream([
      event("message_start", { message }) +
      event("content_block_start", {
        index: 0,
        "content_block": { type: "text", text: "" },
      }) + delta(first),
      delta(second),
      event("content_block_stop", { index: 0 }) +
      event("message_delta", {
        delta: { "stop_reason": "end_turn", "stop_sequence": null },
        usage: { "output_tokens": 2 },
      }) + event("message_stop", {}),
    ]);
  };
}
