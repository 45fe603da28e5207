/**
 * What the policy of a binding does at the proxy: where its client may go,
 * what it is told when it may not, and that no spelling of a path, a host or
 * an address gets past a rule.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { assertNoCanary } from "./support/canary.ts";
import { testUnless } from "./support/conditional.ts";
import { eventually } from "./support/eventually.ts";
import {
  readHead,
  readMessage,
  startRawUpstream,
} from "./support/intercept_bed.ts";
import { moatReason } from "./support/moat.ts";
import { fill } from "./support/raw_requests.ts";
import { OK } from "./support/scripted_upstream.ts";
import {
  type Addresses,
  codeIn,
  SharedBed,
  statusesIn,
  talkOn,
} from "./support/shared_bed.ts";

const reason = moatReason();

/** Where the policy of the first binding stands. */
let policyFile = "";

/** Hosts by what the policy says of them. */
function named({ granted, others }: Addresses) {
  const [denied = "", narrow = "", free = ""] = granted;
  const [open = "", ruled = "", apart = ""] = others;
  return { denied, narrow, free, open, ruled, apart };
}

/** `denied` and `free` are hosts of the grant, `open` and `ruled` are not. */
function policyOf(addresses: Addresses): string {
  const { denied, narrow, open, ruled, apart } = named(addresses);
  const [host] = apart.split(":");
  const privates = [...addresses.others, `${host}:443`];
  return `
[policy]
default = "deny"
allow_hosts = ${JSON.stringify(privates)}

[[policy.rules]]
action = "deny"
host = "${denied}"
path = "/admin/**"

[[policy.rules]]
action = "deny"
host = "${denied}"
methods = ["DELETE"]

[[policy.rules]]
action = "allow"
host = "${narrow}"
methods = ["GET"]
path = "/public/**"

[[policy.rules]]
action = "deny"
host = "${narrow}"

[[policy.rules]]
action = "allow"
host = "${open}"

[[policy.rules]]
action = "allow"
host = "${ruled}"
methods = ["GET"]

[[policy.rules]]
action = "allow"
host = "${host}"
`;
}

/** Everything is allowed, and only what is named may be private. */
const WIDE = `
[policy]
default = "allow"
allow_hosts = [
  "169.254.169.254:9", "169.254.170.2:9", "169.254.170.23:9",
  "100.100.100.200:9", "[fd00:ec2::254]:9",
]
`;

const shared = reason === undefined
  ? await SharedBed.open({
    count: 6,
    bindFlags: () => ["--config", policyFile],
    async prepare(workspace, addresses) {
      policyFile = await workspace.write("policy.toml", policyOf(addresses));
      await workspace.write("wide.toml", WIDE);
    },
  })
  : undefined;

const wide = await shared?.bind(
  "wide",
  "--grant",
  "testapi",
  "--config",
  shared.bed.workspace.path("wide.toml"),
);

function test(name: string, fn: (bed: SharedBed) => Promise<void>): void {
  testUnless(reason, name, () => fn(shared!));
}

function request(method: string, target: string, authority: string): string {
  return fill(
    `${method} ${target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n`,
    authority,
  );
}

/** Sends one request to a host, and tells what came of it. */
async function ask(
  bed: SharedBed,
  authority: string,
  method: string,
  target: string,
) {
  await using upstream = bed.upstream({ authority });
  const { text } = await bed.talk(
    authority,
    request(method, fill(target, authority), authority),
  );
  assertNoCanary(text);
  return {
    status: statusesIn(text)[0],
    code: codeIn(text),
    text,
    line: (await upstream.received()).split("\r\n")[0],
  };
}

// Rules

/** Each of them is `/admin/…` to some server. */
const ADMIN_TARGETS = [
  "/admin/x",
  "/admin",
  "/admin/",
  "/admin?x=1",
  "/ADMIN/x",
  "/Admin",
  "/./admin/x",
  "/public/../admin/x",
  "/a/b/../../admin/x",
  "/public/%2e%2e/admin/x",
  "/public/%2E./admin/x",
  "/public/..%2fadmin/x",
  "/public/..%2Fadmin/x",
  "/public%2f..%2fadmin%2fx",
  "/public/..%5cadmin/x",
  "/public%5c..%5cadmin",
  "/%61dmin/x",
  "/%61%64%6d%69%6e/x",
  "/%2561dmin/x",
  "/%252561dmin/x",
  "/public/%252e%252e/admin/x",
  "/public/%252e%252e%252fadmin",
  "/admin%2fx",
  "/admin%252fx",
  "/admin%3Fx",
  "/admin%23x",
  "/admin;a=b/x",
  "/admin;/x",
  "/admin%3bx",
  "/;a/admin/x",
  "/public/..;/admin/x",
  "/public/..;a=b/admin/x",
  "/public/.%2e;/admin",
  "//admin/x",
  "///admin",
  "//host/admin/x",
  "/public//../../admin/x",
  "https://{host}/admin/x",
  "https://{host}/public/..%2fadmin",
];

for (const target of ADMIN_TARGETS) {
  test(`deny /admin/** cannot be slipped by ${target}`, async (bed) => {
    const { denied } = named(bed);
    const { status, code, line } = await ask(bed, denied, "GET", target);
    assert.deepEqual([status, code, line], [403, "policy-denied", ""]);
  });
}

/** None of them is below `/public/` to every server. */
const OUTSIDE_TARGETS = [
  "/",
  "/publicx",
  "/PUBLIC/x",
  "/private/x",
  "/public/../private/x",
  "/public/%2e%2e/private",
  "/public/..%2fprivate",
  "/public/..%5cprivate",
  "/public/%252e%252e/private",
  "/public/..;/private",
  "/public;/../private",
  "/public/x%2f..%2f..%2fprivate",
  "/x/..%2fpublic/y",
  "//public/x",
  "//{host}/public/x",
  "/public/..//private",
];

for (const target of OUTSIDE_TARGETS) {
  test(`allow /public/** is no way to ${target}`, async (bed) => {
    const { narrow } = named(bed);
    const { status, code, line } = await ask(bed, narrow, "GET", target);
    assert.deepEqual([status, code, line], [403, "policy-denied", ""]);
  });
}

/** What is forwarded. */
const PUBLIC_TARGETS = {
  "/public": "/public",
  "/public/x": "/public/x",
  "/public/x?next=/../private": "/public/x?next=/../private",
  "/public/./x": "/public/x",
  "/public/a/../b": "/public/b",
  "/public/%61": "/public/a",
  "/public/a%2fb": "/public/a%2fb",
  "/private/../public/x": "/public/x",
  "https://{host}/public/x": "/public/x",
};

for (const [target, forwarded] of Object.entries(PUBLIC_TARGETS)) {
  test(`allow /public/** lets ${target} through as ${forwarded}`, async (bed) => {
    const { narrow } = named(bed);
    const { status, line } = await ask(bed, narrow, "GET", target);
    assert.deepEqual([status, line], [200, `GET ${forwarded} HTTP/1.1`]);
  });
}

for (const method of ["POST", "HEAD", "get", "GETX", "PROPFIND"]) {
  test(`a rule that allows GET does not allow ${method}`, async (bed) => {
    const { narrow } = named(bed);
    const { status, line } = await ask(bed, narrow, method, "/public/x");
    assert.deepEqual([status, line], [403, ""]);
  });
}

for (const method of ["DELETE", "delete", "Delete"]) {
  test(`a rule that denies DELETE denies ${method}`, async (bed) => {
    const { denied } = named(bed);
    const { status, line } = await ask(bed, denied, method, "/x");
    assert.deepEqual([status, line], [403, ""]);
  });
}

for (
  const target of [
    "/%c0%ae%c0%ae/admin",
    "/public/..%00/admin",
    "/a\\..\\admin",
  ]
) {
  test(`${target} is refused, whatever the policy`, async (bed) => {
    const { free } = named(bed);
    const { status, code, line } = await ask(bed, free, "GET", target);
    assert.deepEqual([status, code, line], [400, "bad-path", ""]);
  });
}

// What a client is told

test("a denial is 403, and names the gap and nothing else", async (bed) => {
  const { denied } = named(bed);
  const { text } = await ask(bed, denied, "GET", "/admin/secret?key=1");
  const [head = "", body = ""] = text.split("\r\n\r\n");
  assert.match(head, /^HTTP\/1\.1 403 /);
  assert.match(head, /^Proxy-Status: moat; error=http_request_denied\r?$/m);
  const { code, message } = JSON.parse(body);
  assert.equal(code, "policy-denied");
  assert(message.startsWith(`GET to ${denied} at this path is not allowed`));
  assert.doesNotMatch(head + body, /admin|secret|rule|\*/);
});

test("a denied host is 403 at CONNECT, before its name is looked up", async (bed) => {
  const text = await connectAs(bed, bed.bed.token, "nowhere.invalid:443");
  assert.match(text, /^HTTP\/1\.1 403 /);
  assert.match(text, /^Proxy-Status: moat; error=http_request_denied\r$/m);
  assert.equal(codeIn(text), "policy-denied");
});

test("after a denial the connection goes on", async (bed) => {
  const { denied } = named(bed);
  await using upstream = bed.upstream({ authority: denied });
  const first = request("GET", "/admin", denied)
    .replace("Connection: close\r\n", "");
  const { text } = await bed.talk(
    denied,
    first + request("GET", "/fine", denied),
  );
  assert.deepEqual(statusesIn(text), [403, 200]);
  assert.match(await upstream.received(), /^GET \/fine /);
});

test("after a denial the body of the request is not taken for another one", async (bed) => {
  const { denied } = named(bed);
  await using upstream = bed.upstream({ authority: denied });
  const inner = request("GET", "/fine", denied);
  const outer = fill(
    `POST /admin HTTP/1.1\r\nHost: {host}\r\nContent-Length: ${inner.length}\r\n\r\n`,
    denied,
  );
  const { text } = await bed.talk(denied, outer + inner + inner);
  assert.deepEqual([statusesIn(text), await upstream.received()], [[403], ""]);
});

/** Sends CONNECT and reads the answer, with its body if it is a refusal. */
async function connectAs(
  bed: SharedBed,
  token: string,
  target: string,
): Promise<string> {
  using conn = await bed.dial();
  const raw = `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n` +
    `Proxy-Authorization: Bearer ${token}\r\n\r\n`;
  await conn.write(new TextEncoder().encode(raw));
  const { head, body } = await readMessage(conn);
  return head + body;
}

// Tunnel or read

test("a host that is allowed without a grant is tunnelled: the certificate is its own", async (bed) => {
  const { open } = named(bed);
  await using upstream = bed.upstream({
    authority: open,
    answer: () => ({ ...OK, then: "end" }),
  });
  const tcp = await bed.bed.connect(open);
  const conn = await Deno.startTls(tcp, {
    hostname: hostOf(open),
    caCerts: [bed.ca.pem],
  });
  const raw = "GET /admin HTTP/1.1\r\nX :odd\r\nAuthorization: mine\r\n\r\n";
  const { text } = await talkOn(conn, raw);
  assert.deepEqual([text, await upstream.received()], [OK.bytes, raw]);
});

test("a host of a grant is read: the certificate is moat's", async (bed) => {
  const { free } = named(bed);
  await using _upstream = bed.upstream({ authority: free });
  const tcp = await bed.bed.connect(free);
  const tls = Deno.startTls(tcp, {
    hostname: free.split(":")[0] ?? "",
    caCerts: [bed.ca.pem],
  });
  await assert.rejects(tls.then((conn) => closeAfter(conn)), /UnknownIssuer/);
});

async function closeAfter(conn: Deno.TlsConn): Promise<void> {
  try {
    await conn.handshake();
  } finally {
    conn.close();
  }
}

test("a host whose rule looks at methods is read, without a credential", async (bed) => {
  const { ruled } = named(bed);
  await using upstream = bed.upstream({ authority: ruled });
  const { text } = await bed.talk(ruled, request("GET", "/a", ruled));
  assert.deepEqual(statusesIn(text), [200]);
  assert.equal(
    await upstream.received(),
    `GET /a HTTP/1.1\r\nHost: ${ruled}\r\n\r\n`,
  );
});

test("a host whose rule looks at methods is denied another one", async (bed) => {
  const { ruled } = named(bed);
  const { status, line } = await ask(bed, ruled, "POST", "/a");
  assert.deepEqual([status, line], [403, ""]);
});

test("interception refuses a handshake that names another host", async (bed) => {
  const { free } = named(bed);
  await using upstream = bed.upstream({ authority: free });
  const tcp = await bed.bed.connect(free);
  await assert.rejects(
    Deno.startTls(tcp, { hostname: "evil.example", caCerts: [bed.bed.rootPem] })
      .then(closeAfter),
    /UnrecognisedName/,
  );
  assert.equal(await upstream.received(), "");
});

/** Port 443 of an address that nobody else has. */
const tunnelReason = reason ?? await portReason();

async function portReason(): Promise<string | undefined> {
  const [hostname = ""] = named(shared!).apart.split(":");
  try {
    Deno.listen({ hostname, port: 443 }).close();
    return await Promise.resolve(undefined);
  } catch {
    return "only root can listen on port 443 here";
  }
}

testUnless(
  tunnelReason,
  "a tunnel refuses a handshake that names another host",
  async () => {
    const [hostname = ""] = named(shared!).apart.split(":");
    const authority = `${hostname}:443`;
    await using upstream = shared!.upstream({ authority, tls: undefined });
    const tcp = await shared!.bed.connect(authority);
    await assert.rejects(
      Deno.startTls(tcp, {
        hostname: "evil.example",
        caCerts: [shared!.ca.pem],
      })
        .then(closeAfter),
    );
    assert.equal(await upstream.received(), "");
  },
);

testUnless(
  tunnelReason,
  "a tunnel to port 443 lets a handshake that names no host through",
  async () => {
    const [hostname = ""] = named(shared!).apart.split(":");
    const authority = `${hostname}:443`;
    await using _upstream = shared!.upstream({
      authority,
      answer: () => ({ ...OK, then: "end" }),
    });
    const tcp = await shared!.bed.connect(authority);
    const conn = await Deno.startTls(tcp, {
      hostname,
      caCerts: [shared!.ca.pem],
    });
    const { text } = await talkOn(conn, request("GET", "/", authority));
    assert.deepEqual(statusesIn(text), [200]);
  },
);

// Ports

const PORTS: Record<string, (hosts: ReturnType<typeof named>) => string> = {
  "another port of a host of the grant": ({ free }) => `${hostOf(free)}:443`,
  "another port of a rule's host": ({ open }) => `${hostOf(open)}:443`,
  "another port than 443 of a rule without a port": ({ apart }) => apart,
};

for (const [name, target] of Object.entries(PORTS)) {
  test(`${name} is denied`, async (bed) => {
    const text = await connectAs(bed, bed.bed.token, target(named(bed)));
    assert.deepEqual([statusesIn(text), codeIn(text)], [
      [403],
      "policy-denied",
    ]);
  });
}

function hostOf(authority: string): string {
  return authority.split(":")[0] ?? "";
}

// The way out

const LOOPBACK_HOSTS = [
  ...["127.0.0.1", "127.0.0.9", "127.255.255.254", "localhost", "LocalHost."],
  ...["127.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1"],
  ...["017700000001", "0.0.0.0", "0", "[::1]", "[::]", "[::ffff:127.0.0.1]"],
  ...["[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:0001]", "[::127.0.0.1]"],
  ...["[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"],
];

for (const host of [...LOOPBACK_HOSTS, ...hostsFileNames()]) {
  test(`egress: ${host} is loopback, and refused though policy allows it`, async (bed) => {
    await using upstream = startRawUpstream(() => {});
    const text = await connectAs(bed, wide!, `${host}:${upstream.port}`);
    assert.deepEqual([statusesIn(text), codeIn(text), upstream.accepted()], [
      [403],
      "private-address",
      0,
    ]);
    assert.match(
      text,
      /^Proxy-Status: moat; error=destination_ip_prohibited\r$/m,
    );
  });
}

/** Names that this machine has for its loopback, beside localhost. */
function hostsFileNames(): string[] {
  try {
    return Deno.readTextFileSync("/etc/hosts").split("\n")
      .map((line) => line.replace(/#.*/, "").trim().split(/\s+/))
      .filter(([address]) => address === "127.0.0.1" || address === "::1")
      .flatMap(([, ...names]) => names)
      .filter((name) => name !== "localhost" && /^[a-z0-9-]+$/.test(name));
  } catch {
    return [];
  }
}

const PRIVATE_HOSTS = [
  ...["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "167772161"],
  ...["100.64.0.1", "169.254.1.1", "0.1.2.3", "224.0.0.1", "255.255.255.255"],
  ...["192.0.2.1", "198.18.0.1", "203.0.113.1", "240.0.0.1", "0xc0a80101"],
  ...["[fd00::1]", "[fe80::1]", "[fec0::1]", "[ff02::1]", "[2001:db8::1]"],
  ...["[::ffff:10.0.0.1]", "[64:ff9b::a00:1]", "[64:ff9b:1::1]"],
];

for (const host of PRIVATE_HOSTS) {
  test(`egress: ${host} is not public, and refused though policy allows it`, async (bed) => {
    const text = await connectAs(bed, wide!, `${host}:9`);
    assert.deepEqual([statusesIn(text), codeIn(text)], [
      [403],
      "private-address",
    ]);
  });
}

/** All of them are in `allow_hosts`, in their canonical form. */
const METADATA_HOSTS = [
  ...["169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376"],
  ...["[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "169.254.43518"],
  ...["169.254.170.2", "169.254.170.23", "100.100.100.200", "[fd00:ec2::254]"],
];

for (const host of METADATA_HOSTS) {
  test(`egress: ${host} is a metadata service, and refused though it was opened`, async (bed) => {
    const text = await connectAs(bed, wide!, `${host}:9`);
    assert.deepEqual([statusesIn(text), codeIn(text)], [
      [403],
      "metadata-address",
    ]);
  });
}

test("egress: http requests are refused, too", async (bed) => {
  await using upstream = startRawUpstream(() => {});
  const host = `127.1:${upstream.port}`;
  const { text } = await bed.talkPlain(
    `GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\n` +
      `Proxy-Authorization: Bearer ${wide}\r\n\r\n`,
  );
  assert.deepEqual([statusesIn(text), codeIn(text), upstream.accepted()], [
    [403],
    "private-address",
    0,
  ]);
});

test("egress: a host is opened by its name and port, and by nothing else", async (bed) => {
  await using upstream = startRawUpstream(() => {});
  await using other = startRawUpstream(() => {});
  const opened = `localhost:${upstream.port}`;
  const token = await bed.bind(
    "opened",
    "--grant",
    "testapi",
    "--allow",
    opened,
    "--allow-private",
    opened,
  );
  const status = async (target: string) =>
    statusesIn(await connectAs(bed, token, target))[0];
  assert.deepEqual([
    await status(`LOCALHOST.:${upstream.port}`),
    await status(`127.0.0.1:${upstream.port}`),
    await status(`localhost:${other.port}`),
  ], [200, 403, 403]);
});

test("egress: a name that does not exist is 502 with dns_error", async (bed) => {
  const text = await connectAs(bed, wide!, "nowhere.invalid:443");
  assert.match(text, /^HTTP\/1\.1 502 /);
  assert.match(text, /^Proxy-Status: moat; error=dns_error\r$/m);
});

// The same, told elsewhere

test("the trace has each decision with its rule", async (bed) => {
  const { denied, narrow, open } = named(bed);
  await ask(bed, denied, "GET", "/trace/1?hidden=1");
  await ask(bed, denied, "GET", "/admin/trace/2");
  await ask(bed, narrow, "GET", "/public/trace/3");
  await connectAs(bed, bed.bed.token, "trace.example:443");
  await using upstream = bed.upstream({ authority: open });
  await connectAs(bed, bed.bed.token, open);
  const wanted = [
    ["https", "GET", "/trace/1", "allow", "grant testapi"],
    [
      "https",
      "GET",
      "/admin/trace/2",
      "deny",
      `rule 1: deny ${denied} /admin/**`,
    ],
    [
      "https",
      "GET",
      "/public/trace/3",
      "allow",
      `rule 3: allow GET ${narrow} /public/**`,
    ],
    ["tunnel", "CONNECT", undefined, "deny", "default"],
    ["tunnel", "CONNECT", undefined, "allow", `rule 5: allow ${open}`],
  ];
  const found = await eventually("the trace", async () => {
    const { stdout } = await bed.moat("trace", "client", "--json");
    assert(!stdout.includes("hidden"));
    const records = stdout.trim().split("\n").map((line) => JSON.parse(line));
    const tunnels = records.filter(({ path, host }) => !path && host === open);
    const found = [
      ...records.filter(({ path, host }) => /trace/.test(path ?? host)),
      ...tunnels.slice(-1),
    ];
    return found.length === wanted.length ? found : undefined;
  });
  const shown = found.map((record) =>
    ["kind", "method", "path", "decision", "rule"].map((key) => record[key])
  );
  // A record is written when all is done: the order is nobody's promise.
  assert.deepEqual(
    shown.map(String).toSorted(),
    wanted.map(String).toSorted(),
  );
  assert.equal(upstream.accepted(), 1);
});

/** Parts of which targets are made. */
const PARTS = ["admin", "public", "x", "..", ".", "%2e%2e", "..%2f", "%61dmin"];
const SEPARATORS = ["/", "//", "%2f", ";a/", "%252f", "\\", "/"];

const targets = fc.array(
  fc.tuple(fc.constantFrom(...SEPARATORS), fc.constantFrom(...PARTS)),
  { minLength: 1, maxLength: 4 },
).map((pairs) => "/" + pairs.flat().join("").replace(/^\//, ""));

test("moat policy test says what the proxy does", async (bed) => {
  const hosts = named(bed);
  const { denied, narrow, open, ruled } = hosts;
  const asks = fc.record({
    method: fc.constantFrom("GET", "POST", "DELETE", "get"),
    authority: fc.constantFrom(
      denied,
      narrow,
      open,
      ruled,
      "other.example:443",
    ),
    target: targets,
  });
  const ports = [denied, narrow, open, ruled];
  await using stack = new AsyncDisposableStack();
  const upstreams = new Map(
    ports.map((authority) => [
      authority,
      stack.use(bed.upstream({ authority })),
    ]),
  );
  await fc.assert(
    fc.asyncProperty(asks, async ({ method, authority, target }) => {
      const url = `https://${authority}${target}`;
      const { stdout } = await bed.moat(
        ...["policy", "test", method, url, "--binding", "client", "--json"],
      );
      const said = JSON.parse(stdout);
      const seen = upstreams.get(authority)?.connections ?? [];
      const before = seen.flatMap(({ requests }) => requests).length;
      const did = await tried(bed, method, authority, target);
      const after = seen.flatMap(({ requests }) => requests).slice(before);
      const line = after.map(({ head }) => head.split(" HTTP")[0]).join();
      assert.deepEqual(
        did === "read" ? ["read", line] : did,
        said.access === "read" && said.action === "allow"
          ? ["read", `${method} ${said.target}`]
          : said.access === "tunnel"
          ? "tunnel"
          : said.rule === "malformed path"
          ? "malformed"
          : "denied",
      );
    }),
    { numRuns: 24 },
  );
});

/** What the proxy does with a request. */
async function tried(
  bed: SharedBed,
  method: string,
  authority: string,
  target: string,
): Promise<"tunnel" | "read" | "denied" | "malformed"> {
  const tcp = await bed.dial();
  const head = `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n` +
    `Proxy-Authorization: ${bed.authorization}\r\n\r\n`;
  await tcp.write(new TextEncoder().encode(head));
  const answer = await readHead(tcp);
  if (!answer.startsWith("HTTP/1.1 200 ")) {
    tcp.close();
    return "denied";
  }
  const conn = await Deno.startTls(tcp, {
    hostname: hostOf(authority),
    caCerts: [bed.bed.rootPem, bed.ca.pem],
  });
  if (authority === named(bed).open) {
    conn.close();
    return "tunnel";
  }
  const { text } = await talkOn(conn, request(method, target, authority));
  const [status] = statusesIn(text);
  if (status === 400) return "malformed";
  return status === 403 ? "denied" : "read";
}

test("no output of the proxy holds the credential", (bed) => {
  assertNoCanary(bed.bed.proxy.stdout(), bed.bed.proxy.stderr());
  return Promise.resolve();
});
