import assert from "node:assert/strict";
import { systemClock } from "$core/clock.ts";
import { EngineApi } from "./engine_api.ts";
import { getFromEngine } from "./engine_http.ts";

/** Answers one connection at a unix socket with some bytes. */
class Answering implements AsyncDisposable {
  readonly socket: string;
  readonly #directory: string;
  readonly #listener: Deno.Listener;
  readonly #conns: Deno.Conn[] = [];
  request = "";

  constructor(answer: string, isEnded = true) {
    this.#directory = Deno.makeTempDirSync();
    this.socket = `${this.#directory}/engine.sock`;
    this.#listener = Deno.listen({ transport: "unix", path: this.socket });
    void this.#serve(answer, isEnded);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const conn of this.#conns) {
      try {
        conn.close();
      } catch {
        // It was closed before.
      }
    }
    await Deno.remove(this.#directory, { recursive: true });
  }

  async #serve(answer: string, isEnded: boolean): Promise<void> {
    for await (const conn of this.#listener) {
      this.#conns.push(conn);
      const bytes = new Uint8Array(4096);
      const count = await conn.read(bytes) ?? 0;
      this.request = new TextDecoder().decode(bytes.subarray(0, count));
      await conn.write(new TextEncoder().encode(answer));
      if (isEnded) conn.close();
    }
  }
}

async function get(socket: string, signal = new AbortController().signal) {
  const { status, body } = await getFromEngine(socket, "/x", signal);
  let text = "";
  for await (const bytes of body) text += new TextDecoder().decode(bytes);
  return [status, text];
}

const ANSWERS: { name: string; answer: string; found: [number, string] }[] = [
  {
    name: "a body with a length",
    answer: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    found: [200, "ok"],
  },
  {
    name: "a body until the end",
    answer: "HTTP/1.0 404 Not Found\r\n\r\nno such container",
    found: [404, "no such container"],
  },
  {
    name: "no more than the length",
    answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokay",
    found: [200, "ok"],
  },
  {
    name: "an empty body",
    answer: "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    found: [200, ""],
  },
];

for (const { name, answer, found } of ANSWERS) {
  Deno.test(`getFromEngine() reads ${name}`, async () => {
    await using engine = new Answering(answer);
    assert.deepEqual(await get(engine.socket), found);
  });
}

Deno.test("getFromEngine() asks in HTTP/1.0", async () => {
  await using engine = new Answering("HTTP/1.0 200 OK\r\n\r\n");
  await get(engine.socket);
  assert.equal(engine.request, "GET /x HTTP/1.0\r\nHost: engine\r\n\r\n");
});

const BROKEN: Record<string, string> = {
  "no answer": "",
  "half a head": "HTTP/1.0 200 OK\r\nConte",
  "half a body": "HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
  "something else": "SSH-2.0-OpenSSH\r\n\r\n",
};

for (const [name, answer] of Object.entries(BROKEN)) {
  Deno.test(`getFromEngine() refuses ${name}`, async () => {
    await using engine = new Answering(answer);
    await assert.rejects(get(engine.socket));
  });
}

Deno.test("getFromEngine() ends when it is told to", async () => {
  await using engine = new Answering("HTTP/1.0 200 OK\r\n\r\nhalf", false);
  const end = new AbortController();
  const { body } = await getFromEngine(engine.socket, "/x", end.signal);
  const pieces = body[Symbol.asyncIterator]();
  await pieces.next();
  const rest = pieces.next();
  end.abort();
  await assert.rejects(rest);
});

Deno.test("EngineApi takes what is no HTTP for garbage", async () => {
  await using engine = new Answering("SSH-2.0-OpenSSH\r\n\r\n");
  const api = new EngineApi(engine.socket, systemClock);
  await assert.rejects(api.inspect("a"), { code: "engine-garbage" });
  api.close();
});

Deno.test("EngineApi takes an answer that breaks off for no answer", async () => {
  const answer = "HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
  await using engine = new Answering(answer);
  const api = new EngineApi(engine.socket, systemClock);
  await assert.rejects(api.inspect("a"), { code: "engine-unavailable" });
  api.close();
});
