import assert from "node:assert/strict";
import { FakeConn, turns } from "../../tests/support/fake_conn.ts";
import {
  API,
  get,
  liveBinding,
  ORIGIN,
  type SessionBed,
  type SessionWish,
  tokenOf,
  withSession,
} from "../../tests/support/session_bed.ts";
import { Wire } from "../http1/wire.ts";
import { ProxyClient } from "./client.ts";
import { ProxyFailure } from "./failure.ts";
import { Session } from "./session.ts";

function test(
  name: string,
  use: (bed: SessionBed) => Promise<void>,
  wish: SessionWish = {},
): void {
  Deno.test(name, () => withSession(use, wish));
}

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";
const EMPTY = "HTTP/1.1 204 No Content\r\n\r\n";
const CHUNKED =
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";

/** The first line of what a client got, after what it had. */
function statusOf(bed: SessionBed, from = 0): string {
  return bed.client.written.slice(from, from + 12);
}

/** The head of what an upstream got. */
function headOf(conn: FakeConn): string {
  return conn.written.slice(0, conn.written.indexOf("\r\n\r\n") + 4);
}

// The common way

test("a session sends a request with the credential of the grant", async (bed) => {
  await bed.send(get("/x?y=1", ["Authorization: mine", "Accept: */*"]));
  assert.equal(
    bed.upstream.written,
    "GET /x?y=1 HTTP/1.1\r\nHost: api.test\r\nAccept: */*\r\nAuthorization: Bearer real\r\n\r\n",
  );
});

test("a session brings the answer back as it is", async (bed) => {
  await bed.send(get());
  await bed.answer(OK);
  assert.equal(bed.client.written, OK);
});

test("a session gives the upstream back", async (bed) => {
  await bed.send(get());
  await bed.answer(OK);
  assert.equal(bed.pool.released[0], bed.pool.given[0]?.upstream);
});

test("a session asks for an upstream of its binding and host", async (bed) => {
  await bed.send(get());
  assert.deepEqual(bed.pool.given[0]?.target, {
    binding: "web",
    authority: API,
    tls: true,
    opensPrivate: false,
  });
});

test("a session serves one request after the other", async (bed) => {
  for (const path of ["/1", "/2", "/3"]) {
    await bed.send(get(path));
    await bed.answer(OK);
  }
  assert.equal(bed.client.written, OK.repeat(3));
});

test("a session serves requests that came at once in their order", async (bed) => {
  await bed.send(get("/1") + get("/2"));
  const before = bed.upstreams.length;
  await bed.answer(OK);
  await bed.answer(EMPTY);
  assert.deepEqual([before, bed.client.written], [1, OK + EMPTY]);
});

test("a session takes a head that comes byte by byte", async (bed) => {
  for (const character of get()) await bed.send(character);
  assert.match(bed.upstream.written, /^GET \/ HTTP\/1\.1\r\n/);
});

test("a session takes an answer that comes byte by byte", async (bed) => {
  await bed.send(get());
  for (const character of CHUNKED) await bed.answer(character);
  assert.equal(bed.client.written, CHUNKED);
});

test("a session leaves out an empty line before a request", async (bed) => {
  await bed.send(`\r\n${get()}`);
  assert.match(bed.upstream.written, /^GET \/ HTTP\/1\.1\r\n/);
});

test("a session sends the same request again without a look at it", async (bed) => {
  for (let i = 0; i < 2; i++) {
    await bed.send(get("/x"));
    await bed.answer(OK);
  }
  const [one, two] = bed.upstreams;
  assert.equal(two?.written, one?.written);
});

for (
  const [answer, what] of [
    ["HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "304"],
    [EMPTY, "204"],
    ["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "an empty body"],
  ] as const
) {
  test(`a session waits for no body after ${what}`, async (bed) => {
    await bed.send(get());
    await bed.answer(answer);
    assert.deepEqual(
      [bed.client.written, bed.pool.released.length],
      [answer, 1],
    );
  });
}

test("a session waits for no body after HEAD", async (bed) => {
  await bed.send(get("/", [], "HEAD"));
  await bed.answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
  assert.equal(bed.pool.released.length, 1);
});

test("a session does not take an answer to HEAD for one to GET", async (bed) => {
  const head = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
  await bed.send(get("/", [], "HEAD"));
  await bed.answer(head);
  await bed.send(get());
  await bed.answer(head);
  const before = bed.pool.released.length;
  await bed.answer("body");
  assert.deepEqual([before, bed.pool.released.length], [1, 2]);
});

// Which upstreams are used again

for (
  const [answer, why] of [
    [
      "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
      "says close",
    ],
    ["HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "speaks HTTP/1.0"],
    [`${EMPTY}HTTP/1.1 200 OK\r\n`, "says more than was asked"],
  ] as const
) {
  test(`a session does not use an upstream again that ${why}`, async (bed) => {
    await bed.send(get());
    await bed.answer(answer);
    assert.deepEqual(
      [bed.pool.released.length, bed.upstream.isClosed],
      [0, true],
    );
  });
}

test("a session passes on what ends with the connection, and ends its own", async (bed) => {
  await bed.send(get());
  await bed.answer("HTTP/1.1 200 OK\r\n\r\none");
  await bed.answer("two");
  bed.upstream.end();
  await turns();
  assert.deepEqual(
    [bed.client.written, bed.client.hasEnded, bed.pool.released.length],
    ["HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nonetwo", true, 0],
  );
});

// What is denied

const DENY_X = {
  policy: { rules: [{ action: "deny", host: "api.test", path: "/x" }] },
} as const;

test(
  "a session answers 403 to what policy denies, and sends nothing",
  async (bed) => {
    await bed.send(get("/x"));
    assert.deepEqual([statusOf(bed), bed.upstreams.length], [
      "HTTP/1.1 403",
      0,
    ]);
  },
  DENY_X,
);

test("a session goes on after a denial without a body", async (bed) => {
  await bed.send(get("/x"));
  const from = bed.client.written.length;
  await bed.send(get("/y"));
  await bed.answer(OK);
  assert.equal(bed.client.written.slice(from), OK);
}, DENY_X);

test("a session answers a denied HEAD without a body", async (bed) => {
  await bed.send(get("/x", [], "HEAD"));
  assert(bed.client.written.endsWith("\r\n\r\n"));
}, DENY_X);

for (
  const [text, what] of [
    [get("/x", ["Content-Length: 4"], "PUT") + "body", "a body"],
    [get("/x", ["Connection: close"]), "Connection: close"],
    [get("/x").replace("/1.1", "/1.0"), "HTTP/1.0"],
  ] as const
) {
  test(`a session ends after a denial with ${what}`, async (bed) => {
    await bed.send(text);
    assert.deepEqual(
      [statusOf(bed), /^Connection: close\r$/m.test(bed.client.written)],
      ["HTTP/1.1 403", true],
    );
    assert(bed.client.hasEnded);
  }, DENY_X);
}

test("a session records what was denied, without the query", async (bed) => {
  await bed.send(get("/x?token=secret"));
  assert.deepEqual(bed.records, [{
    time: bed.clock.now(),
    binding: "web",
    kind: "https",
    method: "GET",
    host: "api.test",
    path: "/x",
    status: 403,
    failure: "policy-denied",
    decision: "deny",
    rule: "rule 1: deny api.test /x",
    grants: [],
    sent: 0,
    received: 0,
    totalMs: 0,
  }]);
}, DENY_X);

// What cannot be understood

for (
  const [text, status] of [
    ["GET / HTTP/1.1\nHost: api.test\n\n", 400],
    [get("/", ["Content-Length: 1", "Transfer-Encoding: chunked"]), 400],
    [get("/", [`X: ${"x".repeat(64 * 1024)}`]), 431],
    [get("/").replace("api.test", "other.test"), 421],
    [get("/", [], "TRACE"), 405],
    [get("/a%00b"), 400],
    ["\x16\x03\x01", 400],
  ] as const
) {
  const what = JSON.stringify(text.slice(0, 30));
  test(`a session answers ${status} to ${what}… and reads no further`, async (bed) => {
    await bed.send(text + get("/smuggled"));
    assert.deepEqual(
      [statusOf(bed), bed.upstreams.length, bed.client.hasEnded],
      [`HTTP/1.1 ${status}`, 0, true],
    );
  });
}

test("a session answers 400 to a head that ends early", async (bed) => {
  bed.client.send("GET / HT");
  bed.client.end();
  await turns();
  assert.equal(statusOf(bed), "HTTP/1.1 400");
});

test("a session says nothing to a client that says nothing", async (bed) => {
  bed.client.end();
  await bed.done;
  assert.equal(bed.client.written, "");
});

for (
  const answer of [
    "HTTP/2 200\r\n\r\n",
    "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nbody",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
  ]
) {
  const what = JSON.stringify(answer.slice(0, 60));
  test(`a session answers 502 instead of ${what}`, async (bed) => {
    await bed.send(get());
    await bed.answer(answer);
    assert.deepEqual(
      [statusOf(bed), bed.upstream.isClosed, bed.pool.released.length],
      ["HTTP/1.1 502", true, 0],
    );
  });
}

test("a session cuts off an answer whose chunks are malformed", async (bed) => {
  await bed.send(get());
  const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  await bed.answer(`${head}4\r\nbody\r\n`);
  await bed.answer(";\r\n");
  assert.deepEqual(
    [bed.client.written, bed.client.isClosed, bed.upstream.isClosed],
    [`${head}4\r\nbody\r\n`, true, true],
  );
});

test("a session answers 400 to a malformed chunk, and ends its upstream", async (bed) => {
  await bed.send(get("/", ["Transfer-Encoding: chunked"], "PUT") + "zz\r\n");
  assert.deepEqual(
    [statusOf(bed), bed.upstream.isClosed],
    ["HTTP/1.1 400", true],
  );
});

// Bodies of requests

test("a session sends a small body in one piece with its head", async (bed) => {
  await bed.send(get("/", ["Content-Length: 4"], "PUT") + "body");
  assert.deepEqual(bed.upstream.writes.map((text) => text.slice(-8)), [
    "\r\n\r\nbody",
  ]);
});

test("a session sends a body as it comes", async (bed) => {
  await bed.send(get("/", ["Content-Length: 8"], "PUT"));
  await bed.send("body");
  const before = bed.upstream.written.slice(-8);
  await bed.send("body");
  await bed.answer(OK);
  assert.deepEqual(
    [
      before,
      bed.upstream.written.slice(-8),
      bed.client.written,
      bed.record.sent,
    ],
    ["\r\n\r\nbody", "bodybody", OK, 8],
  );
});

test("a session sends chunks as they come, without extensions", async (bed) => {
  await bed.send(get("/", ["Transfer-Encoding: chunked"], "PUT"));
  await bed.send("4;a=b\r\nbody\r\n0\r\n\r\n");
  await bed.answer(OK);
  assert.deepEqual(
    [
      bed.upstream.written.slice(headOf(bed.upstream).length),
      bed.client.written,
      bed.record.sent,
    ],
    ["4\r\nbody\r\n0\r\n\r\n", OK, 4],
  );
});

test("a session takes the next request after a body", async (bed) => {
  await bed.send(
    get("/1", ["Content-Length: 4"], "PUT") + "body" + get("/2"),
  );
  await bed.answer(OK);
  assert.match(bed.upstream.written, /^GET \/2 HTTP/);
});

test("a session passes 100 on before the body", async (bed) => {
  const fields = ["Content-Length: 4", "Expect: 100-continue"];
  await bed.send(get("/", fields, "PUT"));
  await bed.answer("HTTP/1.1 100 Continue\r\n\r\n");
  const first = bed.client.written;
  await bed.send("body");
  await bed.answer(OK);
  assert.deepEqual(
    [first, bed.client.written.slice(first.length)],
    ["HTTP/1.1 100 Continue\r\n\r\n", OK],
  );
});

const EARLY = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig";

test("a session passes on an answer that comes before the body is sent", async (bed) => {
  await bed.send(get("/", ["Content-Length: 9"], "PUT") + "begun");
  await bed.answer(EARLY);
  assert.equal(
    bed.client.written,
    EARLY.replace("3\r\n", "3\r\nConnection: close\r\n"),
  );
});

test("a session does not use an upstream again that has not read a body", async (bed) => {
  await bed.send(get("/", ["Content-Length: 9"], "PUT") + "begun");
  await bed.answer(EARLY);
  assert.deepEqual(
    [bed.upstream.isClosed, bed.pool.released.length],
    [true, 0],
  );
});

test("a session ends 2 s after an answer that came before the body was sent", async (bed) => {
  await bed.send(get("/", ["Content-Length: 9"], "PUT") + "begun");
  await bed.answer(EARLY);
  await bed.pass(2_000);
  assert.equal(bed.client.isClosed, true);
});

test("a session passes on an answer although its upstream reads no further", async (bed) => {
  await bed.send(get("/", ["Content-Length: 9"], "PUT") + "begun");
  bed.upstream.write = () => Promise.reject(new Deno.errors.BrokenPipe());
  await bed.send("more");
  await bed.answer(EARLY);
  assert.equal(statusOf(bed), "HTTP/1.1 413");
});

test("a session drains what comes of a body after an early answer", async (bed) => {
  await bed.send(get("/", ["Content-Length: 9000"], "PUT") + "begun");
  await bed.answer(EARLY);
  await bed.send("x".repeat(5_000));
  assert.equal(bed.client.isClosed, false);
});

// Heads and what follows them

test("a session sends a head in one piece with what is there of its body", async (bed) => {
  await bed.send(get());
  await bed.answer(OK);
  assert.deepEqual(bed.client.writes, [OK]);
});

test("a session does not let a head wait for its body", async (bed) => {
  const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  await bed.send(get());
  await bed.answer(head);
  assert.equal(bed.client.written, head);
});

test("a session passes each event on as it comes", async (bed) => {
  await bed.send(get());
  await bed.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  const seen: string[] = [];
  for (const event of ["3\r\none\r\n", "3\r\ntwo\r\n"]) {
    await bed.answer(event);
    seen.push(bed.client.writes.slice(-2).join(""));
  }
  assert.deepEqual(seen.map((text) => text.slice(-5)), ["one\r\n", "two\r\n"]);
});

// HTTP/1.0

test("a session gives HTTP/1.0 a body without chunks, and ends", async (bed) => {
  await bed.send(get().replace("/1.1", "/1.0"));
  await bed.answer(CHUNKED);
  assert.deepEqual(
    [bed.client.written, bed.client.hasEnded],
    ["HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbody", true],
  );
});

test("a session keeps 103 from HTTP/1.0", async (bed) => {
  await bed.send(get().replace("/1.1", "/1.0"));
  await bed.answer(`HTTP/1.1 103 Early Hints\r\n\r\n${EMPTY}`);
  assert.match(bed.client.written, /^HTTP\/1\.1 204 /);
});

// Once more

/** Whether a request is sent once more after its upstream has ended. */
const REPEATS: readonly {
  readonly name: string;
  readonly text?: string;
  readonly isReused?: boolean;
  readonly says?: string;
  readonly repeats: boolean;
}[] = [
  { name: "a GET", repeats: true },
  { name: "a HEAD", text: get("/", [], "HEAD"), repeats: true },
  { name: "an OPTIONS", text: get("/", [], "OPTIONS"), repeats: true },
  { name: "a GET on a new connection", isReused: false, repeats: false },
  { name: "a POST", text: get("/", [], "POST"), repeats: false },
  { name: "a DELETE", text: get("/", [], "DELETE"), repeats: false },
  {
    name: "a GET with a body",
    text: get("/", ["Content-Length: 1"]) + "x",
    repeats: false,
  },
  { name: "a GET after a part of a head", says: "HTTP/1.", repeats: false },
  {
    name: "a GET after 103",
    says: "HTTP/1.1 103 Early Hints\r\n\r\n",
    repeats: false,
  },
];

for (const { name, text = get(), isReused = true, says, repeats } of REPEATS) {
  for (const how of ["end", "fail"] as const) {
    const does = repeats ? "repeats" : "does not repeat";
    const when = how === "end" ? "ends" : "is reset";
    test(`a session ${does} ${name} whose connection ${when}`, async (bed) => {
      bed.pool.next.push(isReused);
      await bed.send(text);
      if (says) await bed.answer(says);
      bed.upstream[how]();
      await turns();
      assert.deepEqual(
        [bed.upstreams.length, bed.client.written.includes(" 502 ")],
        repeats ? [2, false] : [1, true],
      );
    });
  }
}

test("a session repeats a request once only", async (bed) => {
  bed.pool.next.push(true);
  await bed.send(get());
  bed.upstream.end();
  await turns();
  bed.upstream.end();
  await turns();
  assert.deepEqual(
    [bed.upstreams.length, statusOf(bed)],
    [2, "HTTP/1.1 502"],
  );
});

test("a session brings back the answer to what it repeated", async (bed) => {
  bed.pool.next.push(true);
  await bed.send(get());
  const [first] = bed.upstreams;
  first?.fail();
  await turns();
  await bed.answer(OK);
  assert.deepEqual(
    [first?.isClosed, bed.client.written, bed.records.length],
    [true, OK, 1],
  );
});

test("a session sends a POST on a new connection if the kept one has ended", async (bed) => {
  const kept = new FakeConn();
  bed.pool.next.push(kept);
  const acquire = bed.pool.acquire.bind(bed.pool);
  bed.pool.acquire = async (...args) => {
    const upstream = await acquire(...args);
    // As the pool does, which still watches it.
    upstream.wire.watch((isEnd) => isEnd && upstream.wire.close());
    kept.end();
    return upstream;
  };
  await bed.send(get("/", [], "POST"));
  assert.deepEqual(
    [kept.written, bed.upstreams.length, /^POST /.test(bed.upstream.written)],
    ["", 2, true],
  );
});

test("a session does not use a kept connection on which something came", async (bed) => {
  const kept = new FakeConn();
  bed.pool.next.push(kept);
  const acquire = bed.pool.acquire.bind(bed.pool);
  bed.pool.acquire = async (...args) => {
    const upstream = await acquire(...args);
    kept.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    await upstream.wire.fill();
    return upstream;
  };
  await bed.send(get());
  assert.deepEqual([kept.isClosed, bed.upstreams.length], [true, 2]);
});

// What goes wrong

test("a session tells why there is no connection", async (bed) => {
  bed.pool.next.push(
    new ProxyFailure(502, "connection-refused", "connection_refused", "No"),
  );
  await bed.send(get());
  assert.match(
    bed.client.written,
    /^HTTP\/1\.1 502 [^]*^Proxy-Status: moat; error=connection_refused\r$/m,
  );
});

test("a session records why there is no answer", async (bed) => {
  await bed.send(get("/x?secret"));
  bed.upstream.end();
  await turns();
  bed.client.end();
  await turns();
  const { path, status, failure, grants } = bed.record;
  assert.deepEqual(
    [path, status, failure, grants],
    ["/x", 502, "upstream-broke-off", ["api"]],
  );
});

test("a session cuts the client off if the answer has begun", async (bed) => {
  await bed.send(get());
  await bed.answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart");
  bed.upstream.end();
  await turns();
  assert.deepEqual(
    [
      bed.client.written.endsWith("\r\n\r\npart"),
      bed.client.isClosed,
      bed.record.status,
      bed.record.failure,
    ],
    [true, true, 200, "upstream-broke-off"],
  );
});

test("a session reports a mistake of ours, and tells nothing of it", async (bed) => {
  bed.table.remove("web");
  bed.table.find = () => {
    throw new TypeError("a secret");
  };
  await bed.send(get());
  assert.deepEqual(
    [statusOf(bed), bed.client.written.includes("secret"), bed.errors.length],
    ["HTTP/1.1 500", false, 1],
  );
});

// A client that goes away

test("a session ends its upstream when the client goes while it waits", async (bed) => {
  await bed.send(get());
  bed.client.end();
  await turns();
  assert.deepEqual(
    [bed.upstream.isClosed, bed.record.failure, bed.record.status],
    [true, "client-gone", undefined],
  );
});

test("a session ends its upstream when the client is reset while it waits", async (bed) => {
  await bed.send(get());
  bed.client.fail();
  await turns();
  assert.equal(bed.upstream.isClosed, true);
});

test("a session ends its upstream when the client goes within a body", async (bed) => {
  await bed.send(get("/", ["Content-Length: 9"], "PUT") + "begun");
  bed.client.end();
  await turns();
  assert.deepEqual(
    [bed.upstream.isClosed, bed.record.failure],
    [true, "client-gone"],
  );
});

test("a session ends its upstream when the client goes between events", async (bed) => {
  await bed.send(get());
  await bed.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  await bed.answer("3\r\none\r\n");
  bed.client.end();
  await turns();
  assert.equal(bed.upstream.isClosed, true);
});

test("a session sends nothing for a client that went while it was connected", async (bed) => {
  const connected = Promise.withResolvers<void>();
  bed.pool.next.push(connected.promise);
  await bed.send(get());
  bed.session.close();
  connected.resolve();
  await bed.done;
  assert.deepEqual(bed.upstreams.map(({ written }) => written), []);
});

test("a session tells a client nothing that has gone", async (bed) => {
  bed.pool.next.push(true);
  await bed.send(get());
  bed.client.end();
  await turns();
  assert.deepEqual([bed.client.written, bed.upstreams.length], ["", 1]);
});

// Other bindings, and the end of one

test("a session ends with 403 when its binding has ended", async (bed) => {
  await bed.send(get());
  await bed.answer(OK);
  bed.table.remove("web");
  await bed.send(get());
  assert.match(
    bed.client.written.slice(OK.length),
    /^HTTP\/1\.1 403 [^]*binding-ended/,
  );
  assert.deepEqual([bed.upstreams.length, bed.client.hasEnded], [1, true]);
});

test("a session sends the new credential with the next request", async (bed) => {
  await bed.send(get());
  await bed.answer(OK);
  bed.table.set("web", [liveBinding("web", { secret: "newer" })]);
  await bed.send(get());
  assert.match(bed.upstream.written, /^Authorization: Bearer newer\r$/m);
});

test("a session follows a new policy with the next request", async (bed) => {
  await bed.send(get("/x"));
  await bed.answer(OK);
  bed.table.set("web", [liveBinding("web", DENY_X)]);
  await bed.send(get("/x"));
  assert.equal(statusOf(bed, OK.length), "HTTP/1.1 403");
});

test("sessions of two bindings ask for an upstream of their own", async (bed) => {
  await bed.send(get());
  bed.table.set("job", [liveBinding("job")]);
  const job = await ProxyClient.find(bed, tokenOf("job"), ORIGIN);
  const conn = new FakeConn();
  const other = new Session(
    {
      clock: bed.clock,
      upstreams: bed.pool,
      identify: () => Promise.resolve(job),
      onRecord: () => {},
      onError: () => {},
    },
    { scheme: "https", authority: API },
    new Wire(conn),
    job,
  );
  const done = other.run();
  conn.send(get());
  await turns();
  other.close();
  await done;
  assert.deepEqual(
    bed.pool.given.map(({ target }) => target.binding),
    ["web", "job"],
  );
});

test("a session that retires ends at once while it waits", async (bed) => {
  bed.session.retire();
  await bed.done;
  assert.equal(bed.client.isClosed, true);
});

test("a session that retires finishes the request at hand", async (bed) => {
  await bed.send(get());
  bed.session.retire();
  await bed.answer(OK);
  assert.deepEqual(
    [bed.client.written, bed.client.hasEnded],
    [OK.replace("4\r\n", "4\r\nConnection: close\r\n"), true],
  );
});

test("a session that is closed ends both sides", async (bed) => {
  await bed.send(get());
  bed.session.close();
  await bed.done;
  assert.deepEqual(
    [bed.client.isClosed, bed.upstream.isClosed],
    [true, true],
  );
});

// Another protocol

const UPGRADE = get("/", ["Connection: upgrade", "Upgrade: websocket"]);
const SWITCH =
  "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";

test("a session relays what follows 101", async (bed) => {
  await bed.send(UPGRADE);
  await bed.answer(`${SWITCH}hello`);
  await bed.send("ping");
  await bed.answer("pong");
  assert.deepEqual(
    [
      bed.client.written.slice(-9),
      bed.upstream.written.slice(headOf(bed.upstream).length),
    ],
    ["hellopong", "ping"],
  );
});

test("a session records what was relayed", async (bed) => {
  await bed.send(UPGRADE);
  await bed.answer(SWITCH);
  await bed.send("ping");
  await bed.answer("longer pong");
  bed.upstream.end();
  bed.client.end();
  await bed.done;
  const { status, sent, received } = bed.record;
  assert.deepEqual([status, sent, received], [101, 4, 11]);
});

test("a session serves on when an upgrade is declined", async (bed) => {
  await bed.send(UPGRADE);
  await bed.answer(OK);
  await bed.send(get());
  await bed.answer(OK);
  assert.equal(bed.client.written, OK + OK);
});

test("a relayed connection ends with its binding", async (bed) => {
  await bed.send(UPGRADE);
  await bed.answer(SWITCH);
  bed.table.remove("web");
  await turns();
  assert.deepEqual(
    [bed.client.isClosed, bed.upstream.isClosed],
    [true, true],
  );
});

test("a relayed connection goes on if its binding may still have it", async (bed) => {
  await bed.send(UPGRADE);
  await bed.answer(SWITCH);
  for (let i = 0; i < 2; i++) {
    bed.table.set("web", [liveBinding("web")]);
    await turns();
  }
  assert.equal(bed.client.isClosed, false);
});

test("a relayed connection ends if its binding may not have it any more", async (bed) => {
  await bed.send(UPGRADE);
  await bed.answer(SWITCH);
  bed.table.set("web", [liveBinding("web")]);
  await turns();
  bed.table.set("web", [
    liveBinding("web", {
      policy: { rules: [{ action: "deny", host: "api.test" }] },
    }),
  ]);
  await turns();
  assert.deepEqual(
    [bed.client.isClosed, bed.upstream.isClosed],
    [true, true],
  );
});

// Time

test("a session waits 120 s for a request", async (bed) => {
  await bed.pass(119_000);
  const before = bed.client.isClosed;
  await bed.pass(1_000);
  assert.deepEqual([before, bed.client.isClosed], [false, true]);
});

test("a session waits anew after each request", async (bed) => {
  await bed.pass(100_000);
  await bed.send(get());
  await bed.answer(OK);
  await bed.pass(100_000);
  assert.equal(bed.client.isClosed, false);
});

test("a session waits 10 s for a head, however often a byte comes", async (bed) => {
  await bed.send("GET / ");
  for (let i = 0; i < 9; i++) {
    await bed.pass(1_000);
    await bed.send("x");
  }
  const before = bed.client.isClosed;
  await bed.pass(1_000);
  assert.deepEqual([before, bed.client.isClosed], [false, true]);
});

test("a session gives an upstream 300 s to answer, then says 504", async (bed) => {
  await bed.send(get());
  await bed.pass(299_000);
  const before = bed.client.written;
  await bed.pass(1_000);
  assert.equal(before, "");
  assert.match(
    bed.client.written,
    /^HTTP\/1\.1 504 [^]*error=connection_read_timeout\r$[^]*within 300 seconds/m,
  );
});

test("a session ends the upstream that was silent, and records it", async (bed) => {
  await bed.send(get());
  await bed.pass(300_000);
  bed.client.end();
  await turns();
  const { status, failure, totalMs } = bed.record;
  assert.deepEqual(
    [bed.upstream.isClosed, status, failure, totalMs],
    [true, 504, "upstream-timeout", 300_000],
  );
});

test("a session does not repeat a GET whose upstream was silent", async (bed) => {
  bed.pool.next.push(true);
  await bed.send(get());
  await bed.pass(300_000);
  assert.equal(bed.upstreams.length, 1);
});

test("a session gives 103s no more time than an answer", async (bed) => {
  await bed.send(get());
  for (let i = 0; i < 4; i++) {
    await bed.pass(80_000);
    if (!bed.upstream.isClosed) {
      await bed.answer("HTTP/1.1 103 Early Hints\r\n\r\n");
    }
  }
  bed.client.end();
  await turns();
  assert.equal(bed.record.status, 504);
});

test("a session waits on while a body is sent", async (bed) => {
  await bed.send(get("/", ["Content-Length: 9"], "PUT"));
  for (const character of "bodybody") {
    await bed.pass(200_000);
    await bed.send(character);
  }
  assert.equal(bed.upstream.isClosed, false);
});

test("a session gives up a body that does not go on for 300 s", async (bed) => {
  await bed.send(get("/", ["Content-Length: 9"], "PUT") + "begun");
  await bed.pass(300_000);
  assert.deepEqual(
    [statusOf(bed), bed.upstream.isClosed],
    ["HTTP/1.1 504", true],
  );
});

test("a session gives up an answer that does not go on for 300 s", async (bed) => {
  await bed.send(get());
  await bed.answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart");
  await bed.pass(299_000);
  const before = bed.client.isClosed;
  await bed.pass(1_000);
  assert.deepEqual(
    [before, bed.client.isClosed, bed.upstream.isClosed],
    [false, true, true],
  );
});

test("a session waits on while an answer goes on", async (bed) => {
  await bed.send(get());
  await bed.answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
  for (const character of "bodybody") {
    await bed.pass(200_000);
    await bed.answer(character);
  }
  assert.equal(bed.client.isClosed, false);
});

test("a session gives up a client that does not read for 300 s", async (bed) => {
  await bed.send(get());
  bed.client.accepts = false;
  await bed.answer(OK);
  await bed.pass(300_000);
  assert.deepEqual(
    [bed.client.isClosed, bed.upstream.isClosed],
    [true, true],
  );
});

test("a session lets a client read its last answer for 2 s", async (bed) => {
  await bed.send("nonsense\r\n\r\n");
  await bed.pass(1_000);
  const before = bed.client.isClosed;
  await bed.pass(1_000);
  assert.deepEqual([before, bed.client.isClosed], [false, true]);
});

test("a session reads no more than 256 KB after its last answer", async (bed) => {
  await bed.send("nonsense\r\n\r\n");
  for (let i = 0; i < 10; i++) await bed.send("x".repeat(32 * 1024));
  assert.equal(bed.client.isClosed, true);
});

test("a session leaves a relayed connection all the time it wants", async (bed) => {
  await bed.send(UPGRADE);
  await bed.answer(SWITCH);
  await bed.pass(3_600_000);
  assert.equal(bed.client.isClosed, false);
});

// Without TLS

const HTTP: SessionWish = {
  scope: { scheme: "http", isOurs: () => false },
  policy: {
    rules: [{ action: "allow", host: "api.test" }, {
      action: "allow",
      host: "other.test",
    }],
  },
};

/** A request by http URL. */
function getHttp(host = "api.test", path = "/"): string {
  return get(`http://${host}${path}`).replace(
    "Host: api.test",
    `Host: ${host}`,
  );
}

test("a session without CONNECT goes where each request says", async (bed) => {
  for (const host of ["api.test", "other.test"]) {
    await bed.send(getHttp(host));
    await bed.answer(OK);
  }
  assert.deepEqual(
    bed.pool.given.map(({ target: { authority, tls } }) => [authority, tls]),
    [
      [{ host: "api.test", port: 80 }, false],
      [{ host: "other.test", port: 80 }, false],
    ],
  );
}, HTTP);

test(
  "a session without TLS sends no credential, not even the client's own",
  async (bed) => {
    await bed.send(
      getHttp().replace("\r\n\r\n", "\r\nAuthorization: x\r\n\r\n"),
    );
    assert.deepEqual(
      [bed.upstream.written, bed.pool.given.length],
      ["GET / HTTP/1.1\r\nHost: api.test\r\nAuthorization: x\r\n\r\n", 1],
    );
  },
  HTTP,
);

test(
  "a session without TLS answers a client that has sent all",
  async (bed) => {
    bed.client.send(getHttp());
    bed.client.end();
    await turns();
    await bed.answer(OK);
    assert.equal(bed.client.written, OK);
  },
  HTTP,
);

test("a session without CONNECT refuses an https URL", async (bed) => {
  await bed.send(getHttp().replace("http:", "https:"));
  assert.equal(statusOf(bed), "HTTP/1.1 400");
}, HTTP);

// Records

test("a session records times, sizes, rule and grants, without the query", async (bed) => {
  const time = bed.clock.now();
  await bed.send(get("/x?secret", ["Content-Length: 4"], "PUT") + "body");
  await bed.clock.advance(40);
  await bed.answer("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nbody");
  await bed.clock.advance(2);
  await bed.answer("body");
  assert.deepEqual(bed.records, [{
    time,
    binding: "web",
    kind: "https",
    method: "PUT",
    host: "api.test",
    path: "/x",
    status: 200,
    decision: "allow",
    rule: "grant api",
    grants: ["api"],
    sent: 4,
    received: 8,
    firstByteMs: 40,
    totalMs: 42,
  }]);
});

test("a session does not record the time that a client takes to go", async (bed) => {
  await bed.send(get("/", ["Connection: close"]));
  await bed.answer(OK);
  await bed.clock.advance(1_500);
  bed.client.end();
  await turns();
  assert.equal(bed.record.totalMs, 0);
});

test("a session tells a client that nothing was sent to yet why its answer is broken", async (bed) => {
  await bed.send(get());
  await bed.answer(
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
  );
  assert.equal(statusOf(bed), "HTTP/1.1 502");
});

test("a session leaves out an empty line that comes in two pieces", async (bed) => {
  await bed.send("\r");
  await bed.send(`\n${get()}`);
  assert.equal(bed.upstreams.length, 1);
});
