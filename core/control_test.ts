import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { FakeClock } from "../tests/support/fake_clock.ts";
import { tempHome } from "../tests/support/temp_home.ts";
import { ControlClient, readLines } from "./control.ts";
import { MoatError } from "./errors.ts";

/** What a server does with each connection. */
type Behaviour = (conn: Deno.UnixConn) => void | Promise<void>;

/** Connects a client to a server of some behaviour, and closes both. */
async function withServer(
  behaviour: Behaviour,
  fn: (client: ControlClient, clock: FakeClock) => Promise<void>,
): Promise<void> {
  await using home = await tempHome();
  const path = home.paths.controlSocket;
  using listener = Deno.listen({ transport: "unix", path });
  const clock = new FakeClock();
  const accepted = listener.accept();
  const client = await ControlClient.connect(path, clock);
  assert(client);
  const conn = await accepted;
  const serving = Promise.resolve(behaviour(conn)).catch(() => {});
  try {
    await fn(client, clock);
  } finally {
    client.close();
    await client.closed;
    await serving;
    try {
      conn.close();
    } catch {
      // The behaviour closed it.
    }
    // A question that was not sent yet learns that nobody will read it.
    await turn();
  }
}

/** Lets the system do what it was asked to. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}

/** Answers each line with what `reply` makes of its id. */
function answering(reply: (id: number) => unknown): Behaviour {
  return async (conn) => {
    for await (const line of readLines(conn)) {
      const text = reply(JSON.parse(line).id);
      const json = typeof text === "string" ? text : JSON.stringify(text);
      await conn.write(new TextEncoder().encode(json + "\n"));
    }
  };
}

Deno.test("connect() finds no proxy where no socket is", async () => {
  await using home = await tempHome();
  const path = home.paths.controlSocket;
  assert.equal(await ControlClient.connect(path, new FakeClock()), undefined);
});

Deno.test("connect() finds no proxy behind a socket that was left over", async () => {
  await using home = await tempHome();
  const path = home.paths.controlSocket;
  Deno.listen({ transport: "unix", path }).close();
  assert.equal(await ControlClient.connect(path, new FakeClock()), undefined);
});

Deno.test("connect() finds no proxy where no socket can be", async () => {
  await using home = await tempHome();
  const path = join(home.directory, "x".repeat(200));
  assert.equal(await ControlClient.connect(path, new FakeClock()), undefined);
});

Deno.test("connect() refuses a socket in a directory that others can enter", async () => {
  await using home = await tempHome();
  const path = home.paths.controlSocket;
  using _listener = Deno.listen({ transport: "unix", path });
  await Deno.chmod(dirname(path), 0o777);
  await assert.rejects(ControlClient.connect(path, new FakeClock()), {
    code: "insecure-directory",
  });
});

Deno.test("call() gives the result", async () => {
  const server = answering((id) => ({ id, result: { warnings: ["w"] } }));
  await withServer(server, async (client) => {
    const result = await client.call("grant-changed", { name: "x" });
    assert.deepEqual(result, { warnings: ["w"] });
  });
});

Deno.test("call() throws the proxy's own error", async () => {
  const error = { code: "bad", message: "No", hint: "try" };
  await withServer(answering((id) => ({ id, error })), async (client) => {
    const thrown = await client.call("status", {}).catch((error) => error);
    assert(thrown instanceof MoatError);
    assert.deepEqual([thrown.code, thrown.message, thrown.hint], [
      "bad",
      "No",
      "try",
    ]);
  });
});

Deno.test("call() ignores answers to questions that it did not ask", async () => {
  const server: Behaviour = async (conn) => {
    for await (const line of readLines(conn)) {
      const { id } = JSON.parse(line);
      const replies = [{ id: 0 }, { id: 99, result: 1 }, { id, result: 2 }];
      const text = replies.map((reply) => JSON.stringify(reply) + "\n").join(
        "",
      );
      await conn.write(new TextEncoder().encode(text));
    }
  };
  await withServer(server, async (client) => {
    assert.equal(await client.call("status", {}), 2);
  });
});

const BROKEN: { name: string; server: Behaviour }[] = [
  { name: "closes at once", server: (conn) => conn.close() },
  {
    name: "closes when it is asked",
    server: async (conn) => {
      await conn.read(new Uint8Array(1));
      conn.close();
    },
  },
  { name: "answers no JSON", server: answering(() => "hello") },
  { name: "answers null", server: answering(() => null) },
  {
    name: "answers without an end",
    server: async (conn) => {
      const endless = new Uint8Array(1 << 16).fill(0x78);
      for (let i = 0; i < 32; i++) await conn.write(endless);
    },
  },
];

for (const { name, server } of BROKEN) {
  Deno.test(`call() fails when the proxy ${name}`, async () => {
    await withServer(server, async (client) => {
      await assert.rejects(client.call("status", {}), {
        code: "control-lost",
        message: "Lost the connection to the proxy",
      });
    });
  });
}

Deno.test("call() fails after the connection was lost", async () => {
  await withServer((conn) => conn.close(), async (client) => {
    await client.closed;
    await assert.rejects(client.call("status", {}), { code: "control-lost" });
  });
});

Deno.test("call() fails when the proxy does not answer within ten seconds", async () => {
  await withServer(() => {}, async (client, clock) => {
    const call = client.call("status", {}).catch((error) => error.code);
    await turn();
    await clock.advance(10_000);
    assert.equal(await call, "control-lost");
  });
});

Deno.test("call() waits twenty seconds for a provider's own method", async () => {
  await withServer(() => {}, async (client, clock) => {
    const call = { provider: "x", method: "y", params: {} };
    let code = "none";
    const answer = client.call("provider", call)
      .catch((error) => code = error.code);
    await turn();
    await clock.advance(19_999);
    assert.equal(code, "none");
    await clock.advance(1);
    await answer;
    assert.equal(code, "control-lost");
  });
});

Deno.test("call() survives a connection that is lost before the question is sent", async () => {
  await withServer(() => {}, async (client) => {
    // More than a socket takes at once: the question waits to be sent.
    const name = "x".repeat(1 << 20);
    const call = client.call("grant-changed", { name });
    const failed = assert.rejects(call, { code: "control-lost" });
    await turn();
    client.close();
    await failed;
  });
});

Deno.test("call() gives up sending a question to a proxy that does not read", async () => {
  await withServer(() => {}, async (client, clock) => {
    const call = client.call("grant-changed", { name: "x".repeat(1 << 20) })
      .catch((error) => error.code);
    await turn();
    await clock.advance(10_000);
    assert.equal(await call, "control-lost");
  });
});

/** A readable of some chunks. */
function readable(...chunks: (string | Uint8Array)[]) {
  const encoder = new TextEncoder();
  return {
    readable: ReadableStream.from(
      chunks.map((chunk) =>
        typeof chunk === "string" ? encoder.encode(chunk) : chunk
      ),
    ),
  };
}

const LINES: {
  name: string;
  chunks: (string | Uint8Array)[];
  expect: string[];
}[] = [
  { name: "nothing", chunks: [], expect: [] },
  { name: "a line", chunks: ["a\n"], expect: ["a"] },
  { name: "lines in one chunk", chunks: ["a\n\nb\n"], expect: ["a", "", "b"] },
  {
    name: "a line in pieces",
    chunks: ["a", "b", "\nc\n"],
    expect: ["ab", "c"],
  },
  { name: "no line without an end", chunks: ["a\nb"], expect: ["a"] },
  {
    name: "a character in pieces",
    chunks: [Uint8Array.of(0xc3), Uint8Array.of(0xa9, 0x0a)],
    expect: ["é"],
  },
  { name: "CR as a part of the line", chunks: ["a\r\n"], expect: ["a\r"] },
];

for (const { name, chunks, expect } of LINES) {
  Deno.test(`readLines() reads ${name}`, async () => {
    assert.deepEqual(
      await Array.fromAsync(readLines(readable(...chunks))),
      expect,
    );
  });
}

Deno.test("readLines() refuses a line of more than 1 MiB", async () => {
  const chunk = "x".repeat(1 << 16);
  const lines = readLines(readable(...Array(17).fill(chunk), "\n"));
  await assert.rejects(Array.fromAsync(lines), RangeError);
});
