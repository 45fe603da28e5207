/**
 * Stands between moat and an STS, and keeps what was asked. Bytes pass
 * unchanged, so that signatures stay valid.
 *
 * @module
 */

/** A running recorder; `await using` closes it. */
export interface Recorder extends AsyncDisposable {
  /** What stands for the server's URL. */
  readonly url: string;
  /** The form of each request with a body, in their order. */
  readonly forms: readonly URLSearchParams[];
}

/**
 * Starts a recorder on a free port of 127.0.0.1.
 *
 * @param target Base URL of the server, on loopback.
 * @returns The running recorder.
 */
export function startRecorder(target: string): Recorder {
  const { hostname, port } = new URL(target);
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const sent: Uint8Array[][] = [];
  const relays: Promise<void>[] = [];
  const accepting = (async () => {
    for await (const client of listener) {
      relays.push(relay(client, hostname, Number(port), sent));
    }
  })();
  return {
    url: `http://127.0.0.1:${(listener.addr as Deno.NetAddr).port}`,
    get forms() {
      return sent.flatMap((chunks) => formsIn(textOf(chunks)));
    },
    async [Symbol.asyncDispose]() {
      listener.close();
      await accepting;
      await Promise.all(relays);
    },
  };
}

async function relay(
  client: Deno.Conn,
  hostname: string,
  port: number,
  sent: Uint8Array[][],
): Promise<void> {
  const server = await Deno.connect({ hostname, port });
  const chunks: Uint8Array[] = [];
  sent.push(chunks);
  const record = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      chunks.push(chunk.slice());
      controller.enqueue(chunk);
    },
  });
  // Whoever goes first takes the other side along.
  await Promise.allSettled([
    client.readable.pipeThrough(record).pipeTo(server.writable),
    server.readable.pipeTo(client.writable),
  ]);
}

function textOf(chunks: readonly Uint8Array[]): string {
  return chunks.map((chunk) => new TextDecoder().decode(chunk)).join("");
}

/** A form is one line, so it ends where the next request begins. */
function formsIn(text: string): URLSearchParams[] {
  return [
    ...text.matchAll(
      /\r\n\r\n(Action=[^\r\n]*?|[^\r\n]*?Action=[^\r\n]*?)(?=POST |$)/g,
    ),
  ]
    .map(([, form]) => new URLSearchParams(form));
}
