/**
 * Faults that other proxies of this kind had, each with the test that it
 * deserves. The numbers are those of our notes on the original moat (m), its
 * proxy gatekeeper (gk), and the weaknesses found in both (W).
 *
 * Proven elsewhere:
 *
 * | fault                                         | by                                            |
 * | --------------------------------------------- | --------------------------------------------- |
 * | m376 Basic for git, Bearer for the API        | providers/github, intercept_clients_test      |
 * | gk0.4.2 407 without Proxy-Authenticate        | intercept_raw_test, CONNECT                   |
 * | m321, m327 NO_PROXY too wide                  | run_intercepted_test                          |
 * | m303, W3 host loopback reached                | intercept_policy_test, egress                 |
 * | m439 descriptors used up by clients           | intercept_load_test                           |
 * | m213, m217, m337 ports and networks           | network_test, topology_test                   |
 * | gk0.9 WebSocket                               | intercept_raw_test, Upgrade                   |
 * | gk0.15.2 wildcard hosts, W4                   | outbound_test                                 |
 * | gk0.15.2 policy before any look-up            | intercept_policy_test                         |
 * | gk0.15.3 keys bound to a port                 | intercept_policy_test, ports                  |
 * | gk0.4.1, gk0.9.1 time limits                  | intercept_faults_test                         |
 * | gk0.2, m51 the leaf's chain has the root      | leaf_test, intercept_clients_test             |
 * | m351, m352, m358, m293 placeholders' shape    | providers/tokens, providers/header            |
 * | W2 hosts of grants are allowed                | every row of intercept_raw_test               |
 * | W6 plain http, inner Host                     | intercept_raw_test                            |
 * | W15 bodies over plain http keep their length  | intercept_raw_test                            |
 * | W21 leaves unbounded, never renewed           | terminator_test, leaf_test                    |
 */

import assert from "node:assert/strict";
import { assertNoCanary, CANARY } from "./support/canary.ts";
import { testUnless } from "./support/conditional.ts";
import { eventually } from "./support/eventually.ts";
import {
  basic,
  openInterceptBed,
  readHead,
  writeText,
} from "./support/intercept_bed.ts";
import { moatReason, startMoat } from "./support/moat.ts";
import { fill, PROBE } from "./support/raw_requests.ts";
import { OK } from "./support/scripted_upstream.ts";
import {
  codeIn,
  hear,
  type Heard,
  hearUntil,
  SharedBed,
  statusesIn,
  talkOn,
} from "./support/shared_bed.ts";
import { Workspace } from "./support/workspace.ts";

const reason = moatReason();

/** A second credential for the same hosts. */
const OTHER = CANARY.replace("Canary", "Second");

/** A third one, for the path. */
const THIRD = CANARY.replace("Canary", "Third0");

function otherToml(hosts: readonly string[]): string {
  return `name = "otherapi"
description = "Another grant of the same hosts"
hosts = ${JSON.stringify(hosts)}
env = ["OTHERAPI_TOKEN"]

[[inject]]
header = "x-api-key"
strip = ["authorization"]
`;
}

function pathToml(hosts: readonly string[]): string {
  return `name = "pathapi"
description = "A token in the path"
hosts = ${JSON.stringify(hosts)}
env = ["PATHAPI_TOKEN"]
substitute = "path"
`;
}

const shared = reason === undefined ? await openShared() : undefined;

async function openShared(): Promise<SharedBed> {
  const bed = await SharedBed.open({
    count: 8,
    bindFlags: ({ others }) =>
      others.flatMap((host) => ["--allow", host, "--allow-private", host]),
    async prepare(workspace, { granted, others }) {
      await workspace.write(
        "moat/providers/otherapi.toml",
        otherToml(granted.slice(0, 2)),
      );
      await workspace.write(
        "moat/providers/pathapi.toml",
        pathToml(others.slice(2)),
      );
      await Deno.chmod(workspace.moatHome, 0o700);
    },
  });
  await grant(bed, "otherapi", OTHER);
  await grant(bed, "pathapi", THIRD);
  return bed;
}

async function grant(
  bed: SharedBed,
  name: string,
  token: string,
): Promise<void> {
  const { workspace } = bed.bed;
  const file = await workspace.write("token", token);
  const { code, stderr } = await bed.moat(
    ...["grant", name, "--no-validate", "--token-file", file],
  );
  await Deno.remove(file);
  assert.equal(code, 0, stderr);
}

function test(name: string, fn: (bed: SharedBed) => Promise<void>): void {
  testUnless(reason, name, () => fn(shared!));
}

const HOST = "Host: {host}\r\n";

function get(path: string, lines = ""): string {
  return `GET ${path} HTTP/1.1\r\n${HOST}${lines}\r\n`;
}

/** CONNECT as another binding, with TLS to moat's leaf. */
async function connectAs(
  bed: SharedBed,
  token: string,
  authority: string,
  target = authority,
): Promise<Deno.TlsConn> {
  const conn = await bed.dial();
  await writeText(
    conn,
    `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${
      basic(token)
    }\r\n\r\n`,
  );
  const head = await readHead(conn);
  if (!/^HTTP\/1\.1 200 /.test(head)) {
    conn.close();
    throw new Error(head);
  }
  const [hostname = ""] = authority.split(":");
  return await Deno.startTls(conn, { hostname, caCerts: [bed.bed.rootPem] });
}

/** The flags that a further binding needs for an address. */
function privately(...authorities: string[]): string[] {
  return authorities.flatMap((authority) => ["--allow-private", authority]);
}

/** What a client finds in its environment. */
async function envOf(
  bed: SharedBed,
  name: string,
): Promise<Record<string, string>> {
  const { stdout } = await bed.moat("env", name, "--format", "json");
  const value = JSON.parse(stdout);
  return value.environment ?? value;
}

/** The records of the trace that a test made. */
async function traced(
  bed: SharedBed,
  isOurs: (record: Record<string, unknown>) => boolean,
  count = 1,
): Promise<Record<string, unknown>[]> {
  return await eventually("the trace", async () => {
    const { stdout } = await bed.moat("trace", "--json");
    const found = stdout.trim().split("\n").map((line) => JSON.parse(line))
      .filter(isOurs);
    return found.length >= count ? found : undefined;
  });
}

// Changes reach live connections

test("m381, m289, W8: granting again reaches a kept-alive connection at its next request", async (bed) => {
  const authority = bed.granted[7] ?? "";
  await using upstream = bed.upstream({ authority });
  using conn = await bed.bed.connectTls(authority);
  await writeText(conn, fill(get("/1"), authority));
  await hearUntil(conn, "ok");
  await grant(bed, "testapi", OTHER);
  await writeText(conn, fill(get("/2"), authority));
  await hearUntil(conn, "ok");
  await grant(bed, "testapi", CANARY);
  await writeText(conn, fill(get("/3"), authority));
  await hearUntil(conn, "ok");
  assert.equal(
    await upstream.received(),
    [["/1", CANARY], ["/2", OTHER], ["/3", CANARY]].map(([path = "", token]) =>
      fill(get(path, `Authorization: Bearer ${token}\r\n`), authority)
    ).join(""),
  );
});

test("W8: revoking reaches a kept-alive connection at its next request", async (bed) => {
  const [authority = ""] = bed.granted;
  const token = await bed.bind(
    ...["revoked", "--grant", "otherapi", ...privately(authority)],
  );
  await using upstream = bed.upstream({ authority });
  using conn = await connectAs(bed, token, authority);
  await writeText(conn, fill(get("/1"), authority));
  await hearUntil(conn, "ok");
  const { code, stderr } = await bed.moat("revoke", "otherapi");
  assert.equal(code, 0, stderr);
  await writeText(conn, fill(get("/2", "Connection: close\r\n"), authority));
  const { text } = await hear(conn);
  await grant(bed, "otherapi", OTHER);
  assert.deepEqual([
    statusesIn(text),
    upstream.connections.flatMap(({ requests }) => requests.length),
  ], [[403], [1]]);
});

test("W8: unbinding reaches a kept-alive connection at its next request", async (bed) => {
  const authority = bed.granted[6] ?? "";
  const token = await bed.bind(
    ...["ended", "--grant", "testapi", ...privately(authority)],
  );
  await using upstream = bed.upstream({ authority });
  using conn = await connectAs(bed, token, authority);
  await writeText(conn, fill(get("/1"), authority));
  await hearUntil(conn, "ok");
  await bed.moat("unbind", "ended");
  await writeText(conn, fill(get("/2"), authority));
  const { text } = await hear(conn);
  assert.deepEqual([
    statusesIn(text),
    codeIn(text),
    upstream.connections.flatMap(({ requests }) => requests.length),
  ], [[403], "binding-ended", [1]]);
});

/** How a binding can lose what its open connections rest on. */
const LOSSES: Record<string, (name: string) => readonly string[]> = {
  "unbinding": (name) => ["unbind", name],
  "binding anew, without the host,": (
    name,
  ) => ["bind", name, "--grant", "pathapi"],
};

for (const [loss, args] of Object.entries(LOSSES)) {
  test(`W8: ${loss} ends a tunnel`, async (bed) => {
    const [authority = ""] = bed.others;
    const token = await bed.bind(
      ...["tunnelled", "--grant", "testapi", "--allow", authority],
      ...privately(authority),
    );
    await using _upstream = bed.upstream({ authority, tls: undefined });
    using conn = await bed.dial();
    const head = `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n`;
    const shown = `Proxy-Authorization: ${basic(token)}\r\n\r\n`;
    await writeText(conn, head + shown);
    await readHead(conn);
    await writeText(conn, fill(get("/"), authority));
    await hearUntil(conn, "ok");
    assert.equal((await bed.moat(...args("tunnelled"))).code, 0);
    assert.equal((await endOf(conn)).text, "");
  });

  test(`W8: ${loss} ends a WebSocket`, async (bed) => {
    const authority = bed.granted[6] ?? "";
    const token = await bed.bind(
      ...["upgraded", "--grant", "testapi"],
      ...privately(authority),
    );
    const ask = "Connection: Upgrade\r\nUpgrade: websocket\r\n" +
      "Sec-WebSocket-Version: 13\r\n";
    await using _upstream = bed.upstream({
      authority,
      async early(_, conn) {
        await writeText(
          conn,
          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n" +
            "Connection: Upgrade\r\n\r\n",
        );
        await hear(conn);
      },
    });
    using conn = await connectAs(bed, token, authority);
    await writeText(conn, fill(get("/ws", ask), authority));
    await hearUntil(conn, "\r\n\r\n");
    assert.equal((await bed.moat(...args("upgraded"))).code, 0);
    assert.equal((await endOf(conn)).text, "");
  });
}

/** Reads to the end, which must come soon. */
async function endOf(conn: Deno.Conn): Promise<Heard> {
  const late = Promise.withResolvers<never>();
  const guard = setTimeout(
    () => late.reject(new Error("the connection did not end")),
    3_000,
  );
  try {
    return await Promise.race([hear(conn), late.promise]);
  } finally {
    clearTimeout(guard);
  }
}

test("m250: a token works as soon as its binding is there", async (bed) => {
  const authority = bed.granted[5] ?? "";
  await using _upstream = bed.upstream({ authority });
  const token = await bed.bind(
    ...["fresh", "--grant", "testapi", ...privately(authority)],
  );
  const conn = await connectAs(bed, token, authority);
  const { text } = await talkOn(conn, fill(PROBE, authority));
  assert.deepEqual(statusesIn(text), [200]);
});

testUnless(
  reason,
  "W1, m199, m210: a restarted proxy keeps tokens, rules and grants",
  async () => {
    await using workspace = await Workspace.open();
    const [denied = "", allowed = ""] = shared!.granted;
    await using bed = await openInterceptBed({
      workspace,
      ca: shared!.ca,
      hosts: [denied, allowed],
      bindFlags: ["--config", await workspace.write("p.toml", rule(denied))],
    });
    await bed.proxy.stop();
    await using proxy = await startMoat(
      ["proxy", "--listen", "127.0.0.1:0"],
      { workspace, env: bed.moatEnv },
    );
    await using refusing = shared!.upstream({ authority: denied });
    await using taking = shared!.upstream({ authority: allowed });
    const ask = async (authority: string) => {
      const { port } = new URL(proxy.urls[0] ?? "");
      const tcp = await Deno.connect({ port: Number(port) });
      await writeText(
        tcp,
        `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\nProxy-Authorization: ${
          basic(bed.token)
        }\r\n\r\n`,
      );
      await readHead(tcp);
      const conn = await Deno.startTls(tcp, {
        hostname: authority.split(":")[0] ?? "",
        caCerts: [bed.rootPem],
      });
      return await talkOn(conn, fill(PROBE, authority));
    };
    assert.deepEqual([
      statusesIn((await ask(denied)).text),
      await refusing.received(),
      statusesIn((await ask(allowed)).text),
      (await taking.received()).includes(`Bearer ${CANARY}`),
    ], [[403], "", [200], true]);
  },
);

function rule(host: string): string {
  return `[[policy.rules]]
action = "deny"
host = "${host}"
path = "/probe"
`;
}

// Several grants of one host

/** Which credential went on, by the order of the grants and what the client sent. */
const CHOICES: readonly {
  readonly name: string;
  readonly sent: string;
  /** By either order of the grants. */
  readonly expect: readonly ["testapi" | "otherapi", "testapi" | "otherapi"];
}[] = [
  {
    name: "the header of the first",
    sent: "Authorization: Bearer x\r\n",
    expect: ["testapi", "testapi"],
  },
  {
    name: "the header of the second",
    sent: "X-Api-Key: x\r\n",
    expect: ["otherapi", "otherapi"],
  },
  {
    name: "the placeholder of the second, in the header of the first",
    sent: "Authorization: Bearer {other}\r\n",
    expect: ["otherapi", "otherapi"],
  },
  {
    name: "both headers, one with a placeholder",
    sent: "X-Api-Key: {other}\r\nAuthorization: Bearer x\r\n",
    expect: ["otherapi", "otherapi"],
  },
  {
    name: "neither: the first of the binding",
    sent: "",
    expect: ["testapi", "otherapi"],
  },
];

const ORDERS = [["testapi", "otherapi"], ["otherapi", "testapi"]] as const;

const INJECTED = {
  testapi: `Authorization: Bearer ${CANARY}\r\n`,
  otherapi: `X-Api-Key: ${OTHER}\r\n`,
};

for (const [at, order] of ORDERS.entries()) {
  test(`m295, gk0.15.1, W17: of ${order.join(" and ")} one is put on, and the trace says which`, async (bed) => {
    const [, authority = ""] = bed.granted;
    const name = `order-${at}`;
    const token = await bed.bind(
      name,
      ...order.flatMap((grant) => ["--grant", grant]),
      ...privately(authority),
    );
    const { OTHERAPI_TOKEN: other = "" } = await envOf(bed, name);
    await using upstream = bed.upstream({ authority });
    using conn = await connectAs(bed, token, authority);
    for (const { sent } of CHOICES) {
      const lines = `X: a\r\n${sent.replace("{other}", other)}`;
      await writeText(conn, fill(get("/m295", lines), authority));
      await hearUntil(conn, "ok");
    }
    assert.equal(
      await upstream.received(),
      CHOICES.map(({ expect }) => expect[at] ?? "testapi").map((grant) =>
        fill(get("/m295", `X: a\r\n${INJECTED[grant]}`), authority)
      ).join(""),
    );
    const records = await traced(
      bed,
      ({ binding, path }) => binding === name && path === "/m295",
      CHOICES.length,
    );
    assert.deepEqual(
      records.map(({ grants }) => grants),
      CHOICES.map(({ expect }) => [expect[at]]),
    );
  });
}

test("m295: a field that one grant removes is not taken from what it puts on", async (bed) => {
  const [authority = ""] = bed.granted;
  const token = await bed.bind(
    ...["strips", "--grant", "otherapi", ...privately(authority)],
  );
  await using upstream = bed.upstream({ authority });
  const conn = await connectAs(bed, token, authority);
  const lines = "Authorization: mine\r\nX-API-KEY: mine\r\nX-Api-Key: two\r\n";
  await talkOn(
    conn,
    fill(get("/", `${lines}Connection: close\r\n`), authority),
  );
  assert.equal(
    await upstream.received(),
    fill(get("/", INJECTED.otherapi), authority),
  );
});

test("gk0.15.3: a host in another spelling is the same host", async (bed) => {
  const authority = bed.granted[4] ?? "";
  const [hostname = "", port] = authority.split(":");
  const number = hostname.split(".").reduce((n, part) => n * 256 + +part, 0);
  await using upstream = bed.upstream({ authority });
  const { token } = bed.bed;
  const conn = await connectAs(bed, token, authority, `${number}:${port}`);
  const spelled = `0x${number.toString(16)}:${port}`;
  const { text } = await talkOn(conn, PROBE.replace("{host}", spelled));
  assert.deepEqual([
    statusesIn(text),
    (await upstream.received()).includes(INJECTED.testapi),
  ], [[200], true]);
});

test("gk0.15.0: a request that the upstream answers with 401 is not sent again", async (bed) => {
  await using upstream = bed.upstream({
    answer: () => ({
      bytes: "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
    }),
  });
  const { authority } = upstream;
  const { text } = await bed.talk(
    authority,
    fill(get("/1") + PROBE, authority),
  );
  assert.deepEqual([
    statusesIn(text),
    upstream.connections.flatMap(({ requests }) =>
      requests.map(({ target }) => target)
    ),
  ], [[401, 401], ["/1", "/probe"]]);
});

// Streams

test("gk0.14.1, W5: the first event of a stream is not held back", async (bed) => {
  const goOn = Promise.withResolvers<void>();
  const head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" +
    "Transfer-Encoding: chunked\r\n\r\n";
  await using upstream = bed.upstream({
    async answer(_, conn) {
      await writeText(conn, `${head}8\r\ndata: 1\n\r\n`);
      await goOn.promise;
      return { bytes: "8\r\ndata: 2\n\r\n0\r\n\r\n" };
    },
  });
  const { authority } = upstream;
  using conn = await bed.bed.connectTls(authority);
  await writeText(conn, fill(get("/events"), authority));
  const first = await hearUntil(conn, "data: 1\n\r\n");
  goOn.resolve();
  const second = await hearUntil(conn, "0\r\n\r\n");
  assert.deepEqual([first, second], [
    `${head}8\r\ndata: 1\n\r\n`,
    "8\r\ndata: 2\n\r\n0\r\n\r\n",
  ]);
});

test("gk0.14.1: a head is not held back until there is a body", async (bed) => {
  const goOn = Promise.withResolvers<void>();
  const head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
  await using upstream = bed.upstream({
    async answer(_, conn) {
      await writeText(conn, head);
      await goOn.promise;
      return { bytes: "hello" };
    },
  });
  const { authority } = upstream;
  using conn = await bed.bed.connectTls(authority);
  await writeText(conn, fill(get("/slow"), authority));
  assert.equal(await hearUntil(conn, "\r\n\r\n"), head);
  goOn.resolve();
  assert.equal(await hearUntil(conn, "hello"), "hello");
});

test("gk0.14.1: the first bytes of an upload are not held back", async (bed) => {
  await using upstream = bed.upstream();
  const { authority } = upstream;
  using conn = await bed.bed.connectTls(authority);
  const lines = `${HOST}Content-Length: 9\r\n`;
  await writeText(conn, fill(`POST / HTTP/1.1\r\n${lines}\r\nabc`, authority));
  await eventually(
    "the first bytes",
    () => upstream.connections.some(({ received }) => received.endsWith("abc")),
  );
  await writeText(conn, "defghi");
  assert.equal(await hearUntil(conn, "ok"), OK.bytes);
});

test("gk0.14.1: a client that leaves is no error", async (bed) => {
  const asked = Promise.withResolvers<void>();
  await using upstream = bed.upstream({
    async answer(_, conn) {
      asked.resolve();
      // Until the proxy closes it.
      await hear(conn);
      return OK;
    },
  });
  const { authority } = upstream;
  const conn = await bed.bed.connectTls(authority);
  await writeText(conn, fill(get("/leaves"), authority));
  await asked.promise;
  conn.close();
  const [record] = await traced(bed, ({ path }) => path === "/leaves");
  assert.equal(record?.["failure"], "client-gone");
  assert.doesNotMatch(bed.bed.proxy.stderr(), /"level":"error"/);
});

// What is written down

test("gk0.20: control characters of a client show in no output", async (bed) => {
  await using upstream = bed.upstream();
  const { authority } = upstream;
  const path = "/gk020%1b[31m%0aEvil%7f%9b%e2%80%ae";
  await bed.talk(authority, fill(get(path) + PROBE, authority));
  const [record] = await traced(
    bed,
    ({ path }) => String(path).startsWith("/gk020"),
  );
  const { stdout } = await bed.moat("trace");
  // deno-lint-ignore no-control-regex
  assert.doesNotMatch(stdout, /[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]|^Evil/m);
  assert.equal(String(record?.["path"]).includes("\n"), false);
});

test("W12: records of many long requests at once are whole lines", async (bed) => {
  const count = 24;
  await using upstream = bed.upstream();
  const { authority } = upstream;
  const path = `/w12/${"<".repeat(30_000)}`;
  await Promise.all(
    Array.from({ length: count }, () =>
      bed.talk(
        authority,
        fill(get(path, "Connection: close\r\n"), authority),
      )),
  );
  const records = await traced(
    bed,
    ({ path }) => String(path).startsWith("/w12/"),
    count,
  );
  assert.deepEqual(
    records.map((record) => record["path"]),
    Array(count).fill(path),
  );
});

test("W13: neither query, fields nor bodies are written down", async (bed) => {
  await using upstream = bed.upstream({
    answer: () => ({
      bytes: "HTTP/1.1 200 OK\r\nSet-Cookie: w13-cookie\r\n" +
        "Content-Length: 8\r\n\r\nw13-body",
    }),
  });
  const { authority } = upstream;
  const lines = "Cookie: w13-sent\r\nAuthorization: w13-auth\r\n" +
    "Referer: w13-referer\r\nContent-Length: 10\r\nConnection: close\r\n";
  const raw = get("/w13?token=w13-query", lines) + "w13-upload";
  await bed.talk(authority, fill(raw, authority));
  await traced(bed, ({ path }) => path === "/w13");
  const { stdout } = await bed.moat("trace", "--json");
  assert.doesNotMatch(stdout + bed.bed.proxy.stderr(), /w13-/);
  assertNoCanary(stdout, bed.bed.proxy.stderr());
});

test("W14: a token goes into the path alone, and the trace has the placeholder", async (bed) => {
  const authority = bed.others[2] ?? "";
  const token = await bed.bind(
    ...["path", "--grant", "pathapi", ...privately(authority)],
  );
  const { PATHAPI_TOKEN: placeholder = "" } = await envOf(bed, "path");
  await using upstream = bed.upstream({ authority });
  const conn = await connectAs(bed, token, authority);
  const path = `/bot${placeholder}/get`;
  const raw = get(`${path}?next=${placeholder}`, "Connection: close\r\n");
  await talkOn(conn, fill(raw, authority));
  const [record] = await traced(bed, ({ binding }) => binding === "path");
  assert.deepEqual([await upstream.received(), record?.["path"]], [
    fill(get(`/bot${THIRD}/get?next=${placeholder}`), authority),
    path,
  ]);
});

test("W15: rules look at plain http as well", async (bed) => {
  const authority = bed.granted[3] ?? "";
  const file = await bed.bed.workspace.write("w15.toml", rule(authority));
  const token = await bed.bind(
    ...["plain", "--grant", "testapi", "--config", file],
    ...privately(authority),
  );
  await using upstream = bed.upstream({ authority, tls: undefined });
  const ask = (path: string) =>
    bed.talkPlain(
      `GET http://${authority}${path} HTTP/1.1\r\nHost: ${authority}\r\n` +
        `Connection: close\r\nProxy-Authorization: ${basic(token)}\r\n\r\n`,
    );
  assert.deepEqual([
    statusesIn((await ask("/probe")).text),
    statusesIn((await ask("/x/%2e%2e/probe")).text),
    statusesIn((await ask("/other")).text),
    upstream.accepted(),
  ], [[403], [403], [200], 1]);
});

// Descriptors

/** With their upstreams and listeners more than there are descriptors. */
const HOSTS = 230;

testUnless(
  reason,
  "gk0.19.1, m439: a client that visits many hosts does not use up all descriptors",
  async () => {
    await using workspace = await Workspace.open();
    const [, port] = (shared!.granted[0] ?? "").split(":");
    const hosts = Array.from(
      { length: HOSTS },
      (_, at) => `127.63.1.${at + 1}:${port}`,
    );
    const leaf = await shared!.ca.issue(
      hosts.map((host) => host.split(":")[0] ?? ""),
    );
    await using bed = await openInterceptBed({
      workspace,
      ca: shared!.ca,
      hosts,
      prefix: ["sh", "-c", 'ulimit -n 256; exec "$0" "$@"'],
    });
    await using _upstream = shared!.upstream({
      authority: `0.0.0.0:${port}`,
      tls: leaf,
    });
    const refused: string[] = [];
    for (const host of hosts) {
      if (refused.length > 0) break;
      using conn = await Deno.connect({ port: bed.address.port });
      const head = `CONNECT ${host} HTTP/1.1\r\nHost: ${host}\r\n` +
        `Proxy-Authorization: ${basic(bed.token)}\r\n\r\n`;
      await writeText(conn, head);
      const answer = await readHead(conn);
      if (!answer.startsWith("HTTP/1.1 200 ")) {
        refused.push(`${host} ${answer}`);
      }
    }
    assert.deepEqual(refused, []);
    const [host = ""] = hosts;
    const conn = await bed.connectTls(host);
    const { text } = await talkOn(conn, fill(PROBE, host));
    assert.deepEqual(statusesIn(text), [200]);
  },
);

test("no output of the proxy holds a credential", (bed) => {
  const output = bed.bed.proxy.stdout() + bed.bed.proxy.stderr();
  assertNoCanary(output);
  assert.doesNotMatch(output, new RegExp(`${OTHER}|${THIRD}`));
  return Promise.resolve();
});
