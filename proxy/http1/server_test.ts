import assert from "node:assert/strict";
import { Answer } from "$core/provider.ts";
import { FakeClock } from "../../tests/support/fake_clock.ts";
import {
  connectTo,
  exchange,
  parseAnswers,
  receive,
  receiveAnswer,
  send,
} from "../../tests/support/raw_http.ts";
import { testUnless } from "../../tests/support/conditional.ts";
import { HttpError } from "./head.ts";
import { ConnectionPool } from "./pool.ts";
import {
  type HttpServer,
  type Peer,
  serve,
  type ServeOptions,
  type Service,
} from "./server.ts";

const REQUEST = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OTHER = "GET /other HTTP/1.1\r\nHost: a\r\n\r\n";
const ANSWER = new Answer(200, "{}");
const answering: Service = () => ({ answer: ANSWER });
const known: Service = () => ({ answer: ANSWER, isKnown: true });

interface Bed extends AsyncDisposable {
  readonly server: HttpServer;
  readonly clock: FakeClock;
  /** What onError was told. */
  readonly errors: unknown[];
  /** Connects a client that is closed at the end. */
  connect(): Promise<Deno.Conn>;
}

/** A server, its clock and its clients. `wrap` may tamper with the listener. */
function setUp(
  service: Service,
  options: Partial<ServeOptions> & {
    wrap?: (listener: Deno.TcpListener) => Deno.Listener;
    onConn?: (conn: Deno.TcpConn) => void;
  } = {},
): Bed {
  const { wrap = (listener) => listener, onConn, ...limits } = options;
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  if (onConn) tapAccept(listener, onConn);
  const clock = new FakeClock();
  const errors: unknown[] = [];
  const clients: Deno.Conn[] = [];
  const server = serve(wrap(listener), service, {
    clock,
    onError: (error) => errors.push(error),
    ...limits,
  });
  return {
    server,
    clock,
    errors,
    async connect() {
      const conn = await connectTo(server.address);
      clients.push(conn);
      return conn;
    },
    async [Symbol.asyncDispose]() {
      for (const conn of clients) closeQuietly(conn);
      await server.close();
    },
  };
}

function tapAccept(
  listener: Deno.TcpListener,
  onConn: (conn: Deno.TcpConn) => void,
): void {
  const accept = listener.accept.bind(listener);
  listener.accept = async () => {
    const conn = await accept();
    onConn(conn);
    return conn;
  };
}

function closeQuietly(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch {
    // The test closed it already.
  }
}

/** Waits for something that another connection's loop is about to do. */
async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !condition(); i++) {
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  assert(condition(), "it did not happen within a second");
}

function statuses(text: string): number[] {
  return parseAnswers(text).map(({ status }) => status);
}

// What the service gets and gives

Deno.test("serve() tells the service where the request came from", async () => {
  const peers: Peer[] = [];
  await using bed = setUp((_, peer) => {
    peers.push(peer);
    return { answer: ANSWER };
  });
  await exchange(bed.server.address, REQUEST);
  const { port } = bed.server.address as Deno.NetAddr;
  assert.deepEqual(peers, [{
    localPort: port,
    localHostname: "127.0.0.1",
    remoteHostname: "127.0.0.1",
  }]);
});

/** Serves on a unix socket while `use` runs. */
async function withUnixServer(
  service: Service,
  options: Partial<ServeOptions>,
  use: (server: HttpServer) => Promise<void>,
): Promise<void> {
  const directory = await Deno.makeTempDir();
  const server = serve(
    Deno.listen({ transport: "unix", path: `${directory}/s` }),
    service,
    {
      clock: new FakeClock(),
      onError: (error) => assert.fail(String(error)),
      ...options,
    },
  );
  try {
    await use(server);
  } finally {
    await server.close();
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("serve() serves a unix socket", async () => {
  const peers: Peer[] = [];
  const service: Service = (_, peer) => {
    peers.push(peer);
    return { answer: ANSWER };
  };
  await withUnixServer(service, {}, async (server) => {
    const answers = await exchange(server.address, REQUEST);
    const { path } = server.address as Deno.UnixAddr;
    assert.deepEqual([answers[0]?.status, peers], [200, [
      { localPort: 0, localHostname: path, remoteHostname: "" },
    ]]);
  });
});

Deno.test("serve() counts the clients of a unix socket as those of one address", async () => {
  await withUnixServer(
    answering,
    { maxConnectionsPerAddress: 1 },
    async (server) => {
      const idle = await connectTo(server.address);
      const answers = await exchange(server.address, REQUEST);
      idle.close();
      assert.equal(answers[0]?.status, 503);
    },
  );
});

Deno.test("serve() gives the service the head of a request with a body", async () => {
  const methods: string[] = [];
  await using bed = setUp((head) => {
    methods.push(head.method);
    return { answer: new Answer(405, "{}", undefined, [["Allow", "GET"]]) };
  });
  const [answer] = await exchange(
    bed.server.address,
    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
  );
  assert.deepEqual(
    [methods, answer?.status, answer?.headers.get("connection")],
    [
      ["PUT"],
      405,
      "close",
    ],
  );
});

Deno.test("serve() lets a client that still sends its body read the answer", async () => {
  await using bed = setUp(answering);
  const client = await bed.connect();
  await send(
    client,
    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" +
      "x".repeat(50_000),
  );
  const answer = receiveAnswer(client);
  // Arrives after the answer: without a lingering close it would bring RST.
  await send(client, "x".repeat(50_000));
  assert.equal((await answer).status, 200);
  await client.closeWrite();
  assert.equal(await receive(client), "");
});

Deno.test("serve() stops reading a body that does not end", async () => {
  let received = 0;
  await using bed = setUp(answering, {
    onConn: (conn) => {
      const read = conn.read.bind(conn);
      conn.read = async (buffer) => {
        const count = await read(buffer);
        received += count ?? 0;
        return count;
      };
    },
  });
  const client = await bed.connect();
  await send(
    client,
    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n",
  );
  await assert.rejects(async () => {
    for (let i = 0; i < 1000; i++) await send(client, "x".repeat(10_000));
  });
  assert(received < 300 * 1024, `read ${received} bytes`);
});

Deno.test("serve() ends a lingering close after two seconds", async () => {
  await using bed = setUp(answering);
  const client = await bed.connect();
  await send(client, "GET / HTTP/1.0\r\nHost: a\r\n\r\n");
  await receive(client);
  assert.equal(bed.server.connections, 1);
  await bed.clock.advance(3_000);
  await until(() => bed.server.connections === 0);
});

const FAILURES: { name: string; service: Service }[] = [
  {
    name: "throws",
    service: () => {
      throw new Error("canary");
    },
  },
  { name: "rejects", service: () => Promise.reject(new Error("canary")) },
  {
    name: "has a repeat that throws",
    service: () => ({
      answer: ANSWER,
      repeat: () => {
        throw new Error("canary");
      },
    }),
  },
  {
    name: "has a repeat that rejects",
    service: () => ({
      answer: ANSWER,
      repeat: () => Promise.reject(new Error("canary")),
    }),
  },
];
for (const { name, service } of FAILURES) {
  Deno.test(`serve() answers 500 when the service ${name}, and tells only onError`, async () => {
    await using bed = setUp(service);
    const answers = await exchange(bed.server.address, REQUEST.repeat(3));
    const last = answers.at(-1);
    assert.deepEqual([
      last?.status,
      last?.headers.get("connection"),
      JSON.parse(last?.body ?? ""),
      bed.errors.map(String),
    ], [
      500,
      "close",
      { code: "internal", message: "Cannot answer: moat failed" },
      ["Error: canary"],
    ]);
  });
}

Deno.test("serve() answers 500 for an answer that would split the response", async () => {
  await using bed = setUp(() => ({
    answer: new Answer(200, "", undefined, [["A", "b\r\nC: d"]]),
  }));
  const [answer] = await exchange(bed.server.address, REQUEST);
  assert.deepEqual([answer?.status, bed.errors.length], [500, 1]);
});

Deno.test("serve() passes on an HttpError of the service", async () => {
  await using bed = setUp(() => {
    throw new HttpError(421, "misdirected", "Not here");
  });
  const [answer] = await exchange(bed.server.address, REQUEST);
  assert.deepEqual([answer?.status, answer?.body, bed.errors], [
    421,
    '{"code":"misdirected","message":"Not here"}',
    [],
  ]);
});

// Repeats

/** Counts how often it was asked, and how often it repeated. */
function counting(repeat: () => Answer | Promise<Answer> | undefined) {
  const counts = { asked: 0, repeated: 0 };
  const service: Service = () => {
    counts.asked++;
    return {
      answer: ANSWER,
      repeat: () => {
        counts.repeated++;
        return repeat();
      },
    };
  };
  return { counts, service };
}

const BODY = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";
const ZERO = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
const REPEATS: {
  name: string;
  send: string;
  repeat?: () => Answer | Promise<Answer> | undefined;
  expect: { asked: number; repeated: number };
}[] = [
  {
    name: "asks once for equal requests",
    send: REQUEST.repeat(4),
    expect: { asked: 1, repeated: 3 },
  },
  {
    name: "asks again for another request",
    send: REQUEST + OTHER,
    expect: { asked: 2, repeated: 0 },
  },
  {
    name: "remembers the last request only",
    send: REQUEST + OTHER + REQUEST,
    expect: { asked: 3, repeated: 0 },
  },
  {
    name: "asks again for the same length in another case",
    send: REQUEST + REQUEST.replace("Host", "host"),
    expect: { asked: 2, repeated: 0 },
  },
  {
    name: "asks again when a repeat declines",
    send: REQUEST.repeat(3),
    repeat: () => undefined,
    expect: { asked: 3, repeated: 2 },
  },
  {
    name: "waits for a repeat that is not ready",
    send: REQUEST.repeat(3),
    repeat: () => Promise.resolve(ANSWER),
    expect: { asked: 1, repeated: 2 },
  },
  {
    name: "does not repeat a request with a body",
    send: BODY + BODY,
    expect: { asked: 1, repeated: 0 },
  },
  {
    name: "repeats a request with an empty body",
    send: ZERO + ZERO,
    expect: { asked: 1, repeated: 1 },
  },
];
for (const { name, send, repeat = () => ANSWER, expect } of REPEATS) {
  Deno.test(`serve() ${name}`, async () => {
    const { counts, service } = counting(repeat);
    await using bed = setUp(service);
    const answers = await exchange(bed.server.address, send);
    assert.deepEqual(counts, expect);
    assert(answers.every(({ status }) => status === 200));
  });
}

Deno.test("serve() does not repeat across connections", async () => {
  const { counts, service } = counting(() => ANSWER);
  await using bed = setUp(service);
  await exchange(bed.server.address, REQUEST);
  await exchange(bed.server.address, REQUEST);
  assert.deepEqual(counts, { asked: 2, repeated: 0 });
});

Deno.test("serve() asks every time without a repeat", async () => {
  let asked = 0;
  await using bed = setUp(() => {
    asked++;
    return { answer: ANSWER };
  });
  await exchange(bed.server.address, REQUEST.repeat(3));
  assert.equal(asked, 3);
});

Deno.test("serve() does not serve a repeat after the request that had none", async () => {
  let asked = 0;
  await using bed = setUp((head) => {
    asked++;
    return head.target === "/"
      ? { answer: ANSWER, repeat: () => ANSWER }
      : { answer: ANSWER };
  });
  await exchange(bed.server.address, REQUEST + OTHER + REQUEST + REQUEST);
  assert.equal(asked, 3);
});

// Sockets

Deno.test("serve() switches Nagle's algorithm off", async () => {
  const switched: (boolean | undefined)[] = [];
  await using bed = setUp(answering, {
    onConn: (conn) => {
      conn.setNoDelay = (on) => void switched.push(on);
    },
  });
  await exchange(bed.server.address, REQUEST);
  assert.deepEqual(switched, [true]);
});

Deno.test("serve() goes on where a write was partial", async () => {
  await using bed = setUp(answering, {
    onConn: (conn) => {
      const write = conn.write.bind(conn);
      conn.write = (bytes) => write(bytes.subarray(0, 7));
    },
  });
  const answers = await exchange(bed.server.address, REQUEST.repeat(2));
  assert.deepEqual(answers.map(({ body }) => body), ["{}", "{}"]);
});

Deno.test("serve() survives a client that resets the connection", async () => {
  await using bed = setUp(answering);
  const client = await bed.connect();
  await send(client, REQUEST.repeat(1000));
  client.close();
  await until(() => bed.server.connections === 0);
  assert.equal((await exchange(bed.server.address, REQUEST))[0]?.status, 200);
});

// Time limits

Deno.test("serve() answers 408 to a head that takes more than ten seconds (RFC 9110 section 15.5.9)", async () => {
  await using bed = setUp(answering);
  const client = await bed.connect();
  await send(client, `${REQUEST}G`);
  await receiveAnswer(client);
  await bed.clock.advance(11_000);
  assert.deepEqual(statuses(await receive(client)), [408]);
});

Deno.test("serve() counts the ten seconds from the first byte, not the last", async () => {
  let reads = 0;
  await using bed = setUp(answering, {
    onConn: (conn) => {
      const read = conn.read.bind(conn);
      conn.read = (buffer) => {
        reads++;
        return read(buffer);
      };
    },
  });
  const client = await bed.connect();
  for (const [i, byte] of [..."GET /"].entries()) {
    await send(client, byte);
    await until(() => reads === i + 2);
    await bed.clock.advance(2_200);
  }
  assert.deepEqual(statuses(await receive(client)), [408]);
});

Deno.test("serve() answers a head that takes nine seconds", async () => {
  await using bed = setUp(answering);
  const client = await bed.connect();
  await send(client, `${REQUEST}G`);
  await receiveAnswer(client);
  await bed.clock.advance(9_000);
  await send(client, REQUEST.slice(1));
  assert.equal((await receiveAnswer(client)).status, 200);
});

Deno.test("serve() drops what comes after the 408", async () => {
  let asked = 0;
  await using bed = setUp(() => {
    asked++;
    return { answer: ANSWER };
  });
  const client = await bed.connect();
  await send(client, `${REQUEST}G`);
  await receiveAnswer(client);
  await bed.clock.advance(11_000);
  await send(client, REQUEST.slice(1));
  await receive(client);
  await client.closeWrite();
  await until(() => bed.server.connections === 0);
  assert.equal(asked, 1);
});

Deno.test("serve() closes a connection that is idle for a minute, without a word", async () => {
  await using bed = setUp(known);
  const client = await bed.connect();
  await send(client, REQUEST);
  await receiveAnswer(client);
  await bed.clock.advance(61_000);
  assert.equal(await receive(client), "");
});

Deno.test("serve() closes a connection that never sent a byte", async () => {
  await using bed = setUp(answering);
  const client = await bed.connect();
  await until(() => bed.server.connections === 1);
  await bed.clock.advance(4_000);
  const before = bed.server.connections;
  await bed.clock.advance(2_000);
  assert.deepEqual([before, await receive(client)], [1, ""]);
});

Deno.test("serve() closes the idle connection of an unknown client after five seconds", async () => {
  await using bed = setUp(answering);
  const client = await bed.connect();
  await send(client, REQUEST);
  await receiveAnswer(client);
  await bed.clock.advance(6_000);
  assert.equal(await receive(client), "");
});

Deno.test("serve() keeps no idle connection of a client that is no longer known", async () => {
  let asked = 0;
  await using bed = setUp(() => ({ answer: ANSWER, isKnown: asked++ === 0 }));
  const client = await bed.connect();
  for (let i = 0; i < 2; i++) {
    await send(client, REQUEST);
    await receiveAnswer(client);
  }
  await bed.clock.advance(6_000);
  assert.equal(await receive(client), "");
});

Deno.test("serve() keeps a connection that is idle for less", async () => {
  await using bed = setUp(known);
  const client = await bed.connect();
  for (let i = 0; i < 3; i++) {
    await send(client, REQUEST);
    assert.equal((await receiveAnswer(client)).status, 200);
    await bed.clock.advance(59_000);
  }
});

Deno.test("serve() waits for a service as long as it takes", async () => {
  const slow = Promise.withResolvers<void>();
  let asked = false;
  await using bed = setUp(async () => {
    asked = true;
    await slow.promise;
    return { answer: ANSWER };
  });
  const client = await bed.connect();
  await send(client, REQUEST);
  await until(() => asked);
  await bed.clock.advance(300_000);
  slow.resolve();
  assert.equal((await receiveAnswer(client)).status, 200);
});

Deno.test("serve() waits for a repeat as long as it takes", async () => {
  const slow = Promise.withResolvers<Answer>();
  let repeated = false;
  await using bed = setUp(() => ({
    answer: ANSWER,
    repeat: () => {
      repeated = true;
      return slow.promise;
    },
  }));
  const client = await bed.connect();
  await send(client, REQUEST);
  await receiveAnswer(client);
  await send(client, REQUEST);
  await until(() => repeated);
  await bed.clock.advance(300_000);
  slow.resolve(ANSWER);
  assert.equal((await receiveAnswer(client)).status, 200);
});

/** Reads at least `enough` bytes, or all. */
async function countBytes(conn: Deno.Conn, enough = Infinity): Promise<number> {
  const buffer = new Uint8Array(64 * 1024);
  let count = 0;
  while (count < enough) {
    const read = await conn.read(buffer);
    if (read === null) break;
    count += read;
  }
  return count;
}

/** More than the kernel's buffers of both sides hold. */
const HUGE = new Answer(200, "x".repeat(24 * 1024 * 1024));

Deno.test("serve() gives up on a client that does not read its answer for 30 seconds", async () => {
  let writes = 0;
  await using bed = setUp(() => ({ answer: HUGE }), {
    onConn: (conn) => {
      const write = conn.write.bind(conn);
      conn.write = (bytes) => {
        writes++;
        return write(bytes);
      };
    },
  });
  const client = await bed.connect();
  await send(client, REQUEST);
  // The first write filled the buffers; this one waits.
  await until(() => writes === 2);
  await bed.clock.advance(31_000);
  const count = await countBytes(client);
  assert(count < HUGE.body.length, "the whole answer was sent");
});

Deno.test("serve() does not give up on a client that reads slowly", async () => {
  await using bed = setUp(() => ({ answer: HUGE }));
  const client = await bed.connect();
  await send(client, REQUEST);
  let count = await countBytes(client, 1e6);
  await bed.clock.advance(29_000);
  count += await countBytes(client, 7e6);
  await bed.clock.advance(29_000);
  await client.closeWrite();
  count += await countBytes(client);
  assert(count > HUGE.body.length, `only ${count} bytes were sent`);
});

Deno.test("serve() arms no timer while it has no connection", async () => {
  let armed = 0;
  class CountingClock extends FakeClock {
    override after(delayMs: number, callback: () => void): () => void {
      armed++;
      return super.after(delayMs, callback);
    }
  }
  const clock = new CountingClock();
  await using bed = setUp(answering, { clock });
  await exchange(bed.server.address, REQUEST);
  await until(() => bed.server.connections === 0);
  await clock.advance(10_000);
  assert.equal(armed, 1);
});

// Limits

Deno.test("serve() answers 503 above its limit of connections", async () => {
  await using bed = setUp(known, { pool: new ConnectionPool(1) });
  const client = await bed.connect();
  await send(client, REQUEST);
  await receiveAnswer(client);
  const [answer] = await exchange(bed.server.address, REQUEST);
  assert.deepEqual([
    answer?.status,
    answer?.headers.get("retry-after"),
    answer?.headers.get("connection"),
    bed.server.connections,
  ], [503, "1", "close", 1]);
});

Deno.test("serve() serves again when connections end", async () => {
  await using bed = setUp(answering, {
    pool: new ConnectionPool(1),
  });
  for (let i = 0; i < 3; i++) {
    const [answer] = await exchange(bed.server.address, REQUEST);
    assert.equal(answer?.status, 200);
    await until(() => bed.server.connections === 0);
  }
});

Deno.test("serve() does not keep a refused client for ever", async () => {
  await using bed = setUp(answering, {
    pool: new ConnectionPool(0),
  });
  const client = await bed.connect();
  assert.deepEqual(statuses(await receive(client)), [503]);
  await bed.clock.advance(3_000);
  await assert.rejects(async () => {
    for (let i = 0; i < 50; i++) {
      await send(client, "x");
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  });
});

Deno.test("serve() closes without a word when it refuses very many", async () => {
  await using bed = setUp(answering, {
    pool: new ConnectionPool(0),
  });
  const clients = await Promise.all(
    Array.from({ length: 33 }, () => bed.connect()),
  );
  const texts = await Promise.all(clients.map((client) => receive(client)));
  assert.equal(texts.filter((text) => text === "").length, 1);
});

Deno.test("serve() bounds the connections of several servers together", async () => {
  const pool = new ConnectionPool(1);
  await using one = setUp(known, { pool });
  await using two = setUp(known, { pool });
  const client = await one.connect();
  await send(client, REQUEST);
  await receiveAnswer(client);
  assert.equal((await exchange(two.server.address, REQUEST))[0]?.status, 503);
});

Deno.test("serve() closes a silent connection when there is no place for another", async () => {
  await using bed = setUp(answering, { pool: new ConnectionPool(1) });
  const silent = await bed.connect();
  const [answer] = await exchange(bed.server.address, REQUEST);
  assert.deepEqual([answer?.status, await receive(silent)], [200, ""]);
});

Deno.test("serve() closes a half-sent head when there is no place for another", async () => {
  await using bed = setUp(answering, { pool: new ConnectionPool(1) });
  const silent = await bed.connect();
  await send(silent, "G");
  const [answer] = await exchange(bed.server.address, REQUEST);
  assert.equal(answer?.status, 200);
});

Deno.test("serve() never closes a known client's connection for another", async () => {
  await using bed = setUp(known, { pool: new ConnectionPool(1) });
  const client = await bed.connect();
  await send(client, REQUEST);
  await receiveAnswer(client);
  await exchange(bed.server.address, REQUEST);
  await send(client, REQUEST);
  assert.equal((await receiveAnswer(client)).status, 200);
});

Deno.test("serve() limits the connections of one address", async () => {
  await using bed = setUp(answering, { maxConnectionsPerAddress: 1 });
  await bed.connect();
  assert.equal((await exchange(bed.server.address, REQUEST))[0]?.status, 503);
});

Deno.test("serve() counts each address on its own", async () => {
  let last = 0;
  await using bed = setUp(answering, {
    maxConnectionsPerAddress: 1,
    onConn: (conn) => {
      const hostname = `127.0.0.${++last}`;
      const remoteAddr = { transport: "tcp", hostname, port: 1 };
      Object.defineProperty(conn, "remoteAddr", { value: remoteAddr });
    },
  });
  await bed.connect();
  assert.equal((await exchange(bed.server.address, REQUEST))[0]?.status, 200);
});

Deno.test("serve() forgets the address of a connection that ended", async () => {
  await using bed = setUp(answering, { maxConnectionsPerAddress: 1 });
  for (let i = 0; i < 3; i++) {
    assert.equal((await exchange(bed.server.address, REQUEST))[0]?.status, 200);
    await until(() => bed.server.connections === 0);
  }
});

// Accepting

function emfile(): Error {
  return Object.assign(new Error("Too many open files"), { code: "EMFILE" });
}

/** Fails to accept `times` times before it accepts. */
function failing(
  listener: Deno.TcpListener,
  times: number,
  error: Error = emfile(),
): Deno.Listener {
  const accept = listener.accept.bind(listener);
  listener.accept = () => {
    if (times-- > 0) return Promise.reject(error);
    return accept();
  };
  return listener;
}

Deno.test("serve() goes on accepting after EMFILE, with a growing pause", async () => {
  await using bed = setUp(answering, {
    wrap: (listener) => failing(listener, 3),
  });
  const seen: number[] = [];
  for (const ms of [0, 4, 1, 9, 1, 20]) {
    await bed.clock.advance(ms);
    seen.push(bed.errors.length);
  }
  assert.deepEqual(seen, [1, 1, 2, 2, 3, 3]);
  assert.equal((await exchange(bed.server.address, REQUEST))[0]?.status, 200);
});

Deno.test("serve() pauses for a second at most", async () => {
  await using bed = setUp(answering, {
    wrap: (listener) => failing(listener, 100),
  });
  await bed.clock.advance(0);
  await bed.clock.advance(20_000);
  const before = bed.errors.length;
  await bed.clock.advance(10_000);
  assert.equal(bed.errors.length - before, 10);
});

Deno.test("serve() pauses shortly again after it accepted one", async () => {
  const outcomes = [false, false, true, false];
  await using bed = setUp(answering, {
    wrap: (listener) => {
      const accept = listener.accept.bind(listener);
      listener.accept = () =>
        outcomes.shift() === false ? Promise.reject(emfile()) : accept();
      return listener;
    },
  });
  await bed.clock.advance(0);
  await bed.clock.advance(5 + 10);
  await bed.connect();
  await until(() => bed.errors.length === 3);
  await bed.clock.advance(5);
  assert.equal((await exchange(bed.server.address, REQUEST))[0]?.status, 200);
});

for (const code of ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"]) {
  Deno.test(`serve() pauses after ${code}`, async () => {
    const error = Object.assign(new Error("x"), { code });
    await using bed = setUp(answering, {
      wrap: (listener) => failing(listener, 2, error),
    });
    await until(() => bed.errors.length > 0);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(bed.errors.length, 1);
  });
}

const GONE = ["ENOTCONN", "ECONNABORTED", "ECONNRESET"];
for (const code of GONE) {
  Deno.test(`serve() goes on at once after ${code}, and reports nothing`, async () => {
    const error = Object.assign(new Error("x"), { code });
    await using bed = setUp(answering, {
      wrap: (listener) => failing(listener, 300, error),
    });
    const [answer] = await exchange(bed.server.address, REQUEST);
    assert.deepEqual([answer?.status, bed.errors], [200, []]);
  });
}

Deno.test("serve() goes on at once after an unknown failure, but reports it", async () => {
  await using bed = setUp(answering, {
    wrap: (listener) => failing(listener, 3, new Error("x")),
  });
  const [answer] = await exchange(bed.server.address, REQUEST);
  assert.deepEqual([answer?.status, bed.errors.length], [200, 3]);
});

Deno.test("serve() lets others work while every accept fails", async () => {
  const bed = setUp(answering, {
    wrap: (listener) => failing(listener, Infinity, new Error("x")),
  });
  await new Promise((resolve) => setTimeout(resolve, 5));
  await bed.server.close();
  const before = bed.errors.length;
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(bed.errors.length, before);
});

/** Opens connections and resets each at once. */
const RESETTING = `
import socket, struct, sys
for _ in range(300):
    s = socket.socket()
    s.setblocking(False)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    try:
        s.connect(("127.0.0.1", int(sys.argv[1])))
    except BlockingIOError:
        pass
    s.close()
`;

testUnless(
  await lacksPython(),
  "serve() serves on after 300 connections that are reset",
  async () => {
    // On the fake clock no pause would ever end.
    await using bed = setUp(answering);
    const { port } = bed.server.address as Deno.NetAddr;
    const { success } = await new Deno.Command("python3", {
      args: ["-c", RESETTING, `${port}`],
    }).output();
    assert(success);
    assert.equal((await exchange(bed.server.address, REQUEST))[0]?.status, 200);
  },
);

async function lacksPython(): Promise<string | undefined> {
  try {
    await new Deno.Command("python3", { args: ["-c", ""] }).output();
    return undefined;
  } catch {
    return "no python3";
  }
}

Deno.test("serve() can be closed while it pauses", async () => {
  const bed = setUp(answering, { wrap: (listener) => failing(listener, 100) });
  await bed.clock.advance(0);
  await bed.server.close();
  await bed.clock.advance(5_000);
  assert.equal(bed.errors.length, 1);
});

Deno.test("serve() reports a listener that someone else closed, once", async () => {
  let closeListener = () => {};
  await using bed = setUp(answering, {
    wrap: (listener) => {
      closeListener = () => listener.close();
      return listener;
    },
  });
  closeListener();
  await until(() => bed.errors.length > 0);
  await bed.clock.advance(60_000);
  assert(bed.errors.length <= 2);
});

// Ending

Deno.test("drain() closes idle connections at once", async () => {
  await using bed = setUp(answering);
  const client = await bed.connect();
  await send(client, REQUEST);
  await receiveAnswer(client);
  const drained = bed.server.drain(5_000);
  assert.equal(await receive(client), "");
  await drained;
});

Deno.test("drain() refuses new connections", async () => {
  await using bed = setUp(answering);
  await bed.server.drain(5_000);
  await assert.rejects(bed.connect(), Deno.errors.ConnectionRefused);
});

Deno.test("drain() lets a busy connection finish, and tells it to close", async () => {
  const slow = Promise.withResolvers<void>();
  let asked = false;
  await using bed = setUp(async () => {
    asked = true;
    await slow.promise;
    return { answer: ANSWER };
  });
  const client = await bed.connect();
  await send(client, REQUEST);
  await until(() => asked);
  const drained = bed.server.drain(5_000);
  slow.resolve();
  const [answer] = parseAnswers(await receive(client));
  client.close();
  await drained;
  assert.deepEqual([answer?.status, answer?.headers.get("connection")], [
    200,
    "close",
  ]);
});

Deno.test("drain() lets a head arrive that has begun", async () => {
  await using bed = setUp(answering);
  const client = await bed.connect();
  await send(client, `${REQUEST}G`);
  await receiveAnswer(client);
  const drained = bed.server.drain(5_000);
  await send(client, REQUEST.slice(1));
  assert.deepEqual(statuses(await receive(client)), [200]);
  client.close();
  await drained;
});

Deno.test("drain() closes what is left after its time", async () => {
  let asked = false;
  await using bed = setUp(() => {
    asked = true;
    return new Promise(() => {});
  });
  const client = await bed.connect();
  await send(client, REQUEST);
  await until(() => asked);
  const drained = bed.server.drain(5_000);
  await bed.clock.advance(4_999);
  assert.equal(bed.server.connections, 1);
  await bed.clock.advance(1);
  await drained;
  assert.deepEqual([await receive(client), bed.server.connections], ["", 0]);
});

Deno.test("close() closes all connections now", async () => {
  await using bed = setUp(answering);
  const clients = [await bed.connect(), await bed.connect()];
  await send(clients[0]!, "GET /");
  await until(() => bed.server.connections === 2);
  await bed.server.close();
  assert.equal(bed.server.connections, 0);
  assert.deepEqual(
    await Promise.all(clients.map((client) => receive(client))),
    ["", ""],
  );
});

Deno.test("close() may be called again", async () => {
  await using bed = setUp(answering);
  await bed.server.close();
  await bed.server.close();
});

Deno.test("close() leaves no timer behind", async () => {
  let pending = 0;
  class CountingClock extends FakeClock {
    override after(delayMs: number, callback: () => void): () => void {
      pending++;
      const cancel = super.after(delayMs, callback);
      return () => {
        pending--;
        cancel();
      };
    }
  }
  await using bed = setUp(answering, { clock: new CountingClock() });
  await bed.connect();
  await until(() => bed.server.connections === 1);
  await bed.server.close();
  assert.equal(pending, 0);
});

Deno.test("close() also closes what was accepted meanwhile", async () => {
  const release = Promise.withResolvers<void>();
  let accepted = false;
  await using bed = setUp(answering, {
    wrap: (listener) => {
      const accept = listener.accept.bind(listener);
      listener.accept = async () => {
        const conn = await accept();
        accepted = true;
        await release.promise;
        return conn;
      };
      return listener;
    },
  });
  const client = await bed.connect();
  await until(() => accepted);
  const closed = bed.server.close();
  release.resolve();
  await closed;
  assert.equal(await receive(client), "");
});
