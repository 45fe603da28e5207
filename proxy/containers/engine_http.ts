/**
 * A question to a container engine over its unix socket.
 *
 * One connection each, in HTTP/1.0: so every answer ends with its connection,
 * and none is chunked. `fetch` is no choice here: where the environment has
 * `NO_PROXY=*` it leaves the socket out and asks the network.
 *
 * @module
 */

import {
  findResponseHeadEnd,
  parseResponseHead,
} from "../http1/response_head.ts";
import { Wire } from "../http1/wire.ts";

/** What an engine answers. */
export interface EngineAnswer {
  /** Of HTTP. */
  readonly status: number;
  /** What the engine calls itself, such as `Docker/20.10.24 (linux)`; may be empty. */
  readonly server: string;
  /** The rest of the connection; leaving the loop closes it. */
  readonly body: AsyncIterable<Uint8Array<ArrayBuffer>>;
  /** Closes the connection. */
  close(): void;
}

/**
 * Asks.
 *
 * @param socket Path of the engine's socket.
 * @param path What to get, with its first slash.
 * @param signal Ends the connection, also while the body is read.
 * @returns The answer; the caller reads or closes it.
 * @throws {Error} As `Deno.connect`, or if no answer of HTTP comes.
 */
export async function getFromEngine(
  socket: string,
  path: string,
  signal: AbortSignal,
): Promise<EngineAnswer> {
  signal.throwIfAborted();
  const wire = new Wire(
    await Deno.connect({ transport: "unix", path: socket }),
  );
  const close = () => {
    signal.removeEventListener("abort", close);
    wire.close();
  };
  signal.addEventListener("abort", close);
  if (signal.aborted) close();
  try {
    const request = `GET ${path} HTTP/1.0\r\nHost: engine\r\n\r\n`;
    await wire.write(new TextEncoder().encode(request));
    const head = await readHead(wire);
    const [length] = head.values("content-length");
    return {
      status: head.status,
      server: head.values("server")[0] ?? "",
      body: readBody(wire, length === undefined ? undefined : +length, close),
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

async function readHead(wire: Wire) {
  for (let from = wire.start;;) {
    if (!await wire.fill()) throw ended();
    const end = findResponseHeadEnd(wire.buffer, wire.start, from, wire.end);
    from = wire.end;
    if (end === -1) continue;
    const head = parseResponseHead(wire.buffer, wire.start, end);
    wire.consume(end - wire.start);
    return head;
  }
}

async function* readBody(
  wire: Wire,
  length: number | undefined,
  close: () => void,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let left = length ?? Infinity;
  try {
    while (left > 0) {
      if (wire.available === 0 && !await wire.fill()) {
        if (length !== undefined) throw ended();
        return;
      }
      const bytes = wire.received.slice(0, left);
      wire.consume(bytes.length);
      left -= bytes.length;
      yield bytes;
    }
  } finally {
    close();
  }
}

function ended(): Error {
  return new Deno.errors.UnexpectedEof("the engine closed the connection");
}
