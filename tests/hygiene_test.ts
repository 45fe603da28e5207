/**
 * What every kind of credential listener refuses, and what it never says: on
 * loopback, at 169.254.170.2, on the socket of a container, and of `serve`.
 *
 * `proxy_http_test.ts` has what any HTTP server must refuse; time-outs are
 * tested with a fake clock in `proxy/http1/server_test.ts`.
 */

import assert from "node:assert/strict";
import { joinFiles, makeCertificate, pkiPath } from "./support/anywhere_pki.ts";
import { testUnless } from "./support/conditional.ts";
import { eventually } from "./support/eventually.ts";
import { moatReason, startMoat } from "./support/moat.ts";
import {
  connectTo,
  exchange,
  parseAnswers,
  type RawAnswer,
  receive,
  receiveAnswer,
  send,
} from "./support/raw_http.ts";
import { isThere, startServer, which } from "./support/run.ts";
import { addressOf } from "./support/scene.ts";
import { awsTest, SimulatedAws } from "./support/simulated_aws.ts";

const PATH = "/ecs/credentials";

/** A listener, and two bindings that are served there. */
interface Door {
  readonly name: string;
  /** Where it is reached from here. */
  readonly address: Deno.Addr;
  /** What Host says. */
  readonly host: string;
  /** Further hosts that are served. */
  readonly hosts: readonly string[];
  /** Hosts that are served at other doors. */
  readonly foreignHosts: readonly string[];
  /** Of a binding whose token is in the header. */
  readonly header: string;
  /** Of one whose token is in the query. */
  readonly query: string;
  /** Whether it answers as needroleshere does. */
  readonly isServe: boolean;
}

// Doors

function networkReason(): string | undefined {
  if (Deno.build.os !== "linux") return "needs Linux";
  if (Deno.uid() !== 0) return "needs root";
  const missing = ["unshare", "nsenter", "ip", "socat", "openssl"]
    .filter((program) => !which(program));
  return missing.length > 0
    ? `not installed: ${missing.join(", ")}`
    : undefined;
}

const HOST_SCRIPT = `ip link set lo up
ip address add 169.254.170.2/32 dev lo
echo ready
exec sleep 300`;

/** All doors of a host of its own, which has the address of container credentials. */
class Doors implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;
  readonly #aws: SimulatedAws;
  readonly #prefix: readonly string[];
  readonly all: Door[] = [];

  private constructor(
    stack: AsyncDisposableStack,
    aws: SimulatedAws,
    prefix: readonly string[],
  ) {
    this.#stack = stack;
    this.#aws = aws;
    this.#prefix = prefix;
  }

  static async open(): Promise<Doors> {
    const stack = new AsyncDisposableStack();
    const argv = ["unshare", "--net", "sh", "-ec", HOST_SCRIPT];
    const holder = stack.use(await startServer(argv, { ready: /^ready\n/gm }));
    const prefix = ["nsenter", `--net=/proc/${holder.pid}/ns/net`];
    const aws = stack.use(await SimulatedAws.open({ prefix }));
    const doors = new Doors(stack, aws, prefix);
    await aws.do("moat grant aws --no-validate --role $ROLE");
    const proxy = await aws.startProxy("--listen 169.254.170.2:80");
    await doors.#openLoopback(addressOf(proxy.urls[0] ?? ""));
    await doors.#openAddress();
    await doors.#openSocket();
    await doors.#openServe();
    return doors;
  }

  async #openLoopback({ port }: Deno.NetAddr): Promise<void> {
    const host = `127.0.0.1:${port}`;
    this.all.push({
      name: "on loopback",
      address: await this.#forward("loopback", `TCP:${host}`),
      host,
      hosts: ["127.0.0.1", `localhost:${port}`, `moat-proxy:${port}`],
      foreignHosts: ["127.0.0.1:80", "169.254.170.2", `169.254.170.2:${port}`],
      header: await this.#bind("full", "--grant aws --mode ecs-full"),
      query: await this.#bind("full-q", "--grant aws --mode ecs-full-query"),
      isServe: false,
    });
  }

  async #openAddress(): Promise<void> {
    const mode = "--grant aws --mode ecs-relative";
    this.all.push({
      name: "at 169.254.170.2",
      address: await this.#forward("address", "TCP:169.254.170.2:80"),
      host: "169.254.170.2",
      hosts: ["169.254.170.2:80", "moat-proxy"],
      foreignHosts: ["127.0.0.1", "localhost", "169.254.169.254"],
      header: await this.#bind("relative", mode),
      query: await this.#bind("relative-q", `${mode}-query`),
      isServe: false,
    });
  }

  /** Its two bindings have a socket each: of the other there is the query. */
  async #openSocket(): Promise<void> {
    const mode = "--grant aws --network none --mode ecs-full";
    const header = await this.#bind("relay", mode);
    const path = this.#aws.workspace.path(
      "moat/bound/relay/files/endpoint.sock",
    );
    this.all.push({
      name: "on the socket of a container",
      address: { transport: "unix", path },
      host: "127.0.0.1:19080",
      hosts: ["localhost:19080", "127.0.0.1:7224"],
      foreignHosts: ["moat-proxy", "169.254.170.2", "host.docker.internal"],
      header,
      query: "",
      isServe: false,
    });
    this.all.push({
      name: "on the socket of a container that sends queries",
      address: {
        transport: "unix",
        path: path.replace("/relay/", "/relay-q/"),
      },
      host: "127.0.0.1:19080",
      hosts: [],
      foreignHosts: [],
      header: "",
      query: await this.#bind("relay-q", `${mode}-query`),
      isServe: false,
    });
  }

  async #openServe(): Promise<void> {
    const { workspace, url } = this.#aws;
    const env = { RUNTIME_DIRECTORY: workspace.path("nrh") };
    await Deno.mkdir(env.RUNTIME_DIRECTORY);
    const flags = await anywhereFlags();
    const server = await startMoat(
      ["serve", "--region", "eu-central-1", "--endpoint", url],
      { workspace, prefix: this.#prefix, env },
    );
    this.#stack.use(server);
    const full = `${flags} --mode ecs-full --url http://127.0.0.1:3000`;
    this.all.push({
      name: "of moat serve",
      address: await this.#forward("serve", "TCP:127.0.0.1:3000"),
      host: "127.0.0.1:3000",
      hosts: ["127.0.0.1", "localhost:3000"],
      foreignHosts: ["127.0.0.1:80", "169.254.170.2"],
      header: await this.#bind("full", full, env),
      query: await this.#bind(
        "query",
        full.replace("ecs-full", "ecs-full-query"),
        env,
      ),
      isServe: true,
    });
  }

  /** A way into the other network; bytes pass unchanged. */
  async #forward(name: string, to: string): Promise<Deno.Addr> {
    const path = this.#aws.workspace.path(`${name}.sock`);
    const argv = ["socat", "-t10", `UNIX-LISTEN:${path},fork`, to];
    this.#stack.use(
      await startServer([
        ...this.#prefix,
        "sh",
        "-c",
        'echo ready; exec "$@"',
        "-",
        ...argv,
      ], {
        ready: /^ready\n/gm,
      }),
    );
    await eventually("the forwarder", () => isThere(path));
    return { transport: "unix", path };
  }

  /** Binds, and gives the token. */
  async #bind(
    name: string,
    flags: string,
    env: Record<string, string> = {},
  ): Promise<string> {
    const line = `moat bind ${name} ${flags} --format json`;
    const { environment } = await this.#aws.json(line, env);
    const text = Object.values(environment).join("\n");
    const [token] = /\b(moat|needroleshere)\.[\w.@-]+/.exec(text) ?? [];
    assert(token, "no token");
    return token;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** What `bind` is told of Roles Anywhere; the simulator trusts any CA. */
async function anywhereFlags(): Promise<string> {
  await makeCertificate("hygiene-root", { isAuthority: true });
  await makeCertificate("hygiene", {
    issuer: "hygiene-root",
    usage: "digitalSignature",
  });
  const any = "arn:aws:rolesanywhere:eu-central-1:123456789012";
  return [
    `--certificate ${await joinFiles("hygiene.pem", "hygiene.crt")}`,
    `--private-key ${pkiPath("hygiene.key")}`,
    `--trust-anchor-arn ${any}:trust-anchor/a1b2`,
    `--profile-arn ${any}:profile/c3d4`,
    "--role-arn $ROLE --no-validate",
  ].join(" ");
}

// Requests

/** One request with a token in the header, or the query if there is a `query`. */
interface Wish {
  readonly method?: string;
  readonly target?: string;
  /** What follows `access_token=TOKEN`, and what precedes it. */
  readonly query?: readonly [before: string, after: string];
  readonly host?: string;
  /** Default: the door's token, unless there is a query. */
  readonly authorization?: string;
  /** Whole lines, with their ends. */
  readonly more?: string;
  readonly body?: string;
}

function textOf(door: Door, wish: Wish): string {
  const { method = "GET", target = PATH, query, host = door.host } = wish;
  const asked = query === undefined
    ? target
    : `${target}?${query[0]}access_token=${door.query}${query[1]}`;
  const header = query === undefined
    ? `Authorization: Bearer ${door.header}\r\n`
    : "";
  const authorization = wish.authorization === undefined
    ? header
    : wish.authorization && `Authorization: ${wish.authorization}\r\n`;
  return `${method} ${asked} HTTP/1.1\r\nHost: ${host}\r\n${authorization}${
    wish.more ?? ""
  }\r\n${wish.body ?? ""}`;
}

/** An answer, which must be the only one and well-behaved. */
async function ask(door: Door, text: string): Promise<RawAnswer> {
  const answers = await exchange(door.address, text);
  const [answer] = answers;
  assert(answer, "wanted an answer, found silence");
  assert.equal(answers.length, 1);
  assertQuiet(door, answer);
  return answer;
}

/** Nothing for browsers and caches, and no token. */
function assertQuiet(door: Door, { headers, body, status }: RawAnswer): void {
  const names = [...headers.keys()];
  const cors = names.filter((name) => name.startsWith("access-control-"));
  assert.deepEqual(cors, []);
  assert.equal(headers.get("cache-control"), "no-store");
  assert.notEqual(status, 429);
  const text = [...headers].join() + body;
  for (const token of [door.header, door.query]) {
    assert.ok(!token || !text.includes(token), "the token is in the answer");
  }
}

/** A wish, and what it is answered; `serve` may answer otherwise. */
interface Row extends Wish {
  readonly status: number;
  readonly serveStatus?: number;
}

const bad = (target: string): Row => ({ target, status: 400 });
const foreign = (target: string): Row => ({
  target,
  status: 407,
  serveStatus: 400,
});
const unknown = (target: string): Row => ({ target, status: 404 });
const field = (line: string): Row => ({ more: `${line}\r\n`, status: 403 });
const strange = (host: string): Row => ({ host, status: 403 });
const notServed = (method: string): Row => ({ method, status: 405 });

/** With a token that counts. */
const REFUSED: Readonly<Record<string, Row>> = {
  // Targets: origin form, one spelling.
  // For the forward proxy, which wants its own field.
  "absolute form": foreign(`http://127.0.0.1${PATH}`),
  "absolute form of another host": foreign(`http://example.com${PATH}`),
  "absolute form with another scheme": foreign(`https://127.0.0.1${PATH}`),
  "authority form": { ...foreign("127.0.0.1:80"), method: "CONNECT" },
  "authority form of GET": bad("127.0.0.1:80"),
  "asterisk form": { ...bad("*"), method: "OPTIONS" },
  "no slash": bad("ecs/credentials"),
  "two slashes first": bad("//ecs/credentials"),
  "two slashes within": bad("/ecs//credentials"),
  "two slashes last": bad(`${PATH}//`),
  "a slash last": unknown(`${PATH}/`),
  "a dot segment": bad("/ecs/./credentials"),
  "two dots": bad("/x/../ecs/credentials"),
  "two dots last": bad(`${PATH}/x/..`),
  "an escaped dot": bad("/ecs/%2e/credentials"),
  "two escaped dots": bad("/x/%2E%2e/ecs/credentials"),
  "an escaped letter": bad("/%65cs/credentials"),
  "an escaped slash": bad("/ecs%2fcredentials"),
  "an escaped question mark": bad(`${PATH}%3Fx`),
  "a NUL": bad(`${PATH}%00`),
  "a backslash": bad("/ecs\\credentials"),
  "a parameter": bad(`${PATH};x=1`),
  "a fragment": bad(`${PATH}#x`),
  "capital letters": unknown("/ECS/CREDENTIALS"),
  "one capital letter": unknown("/ecs/Credentials"),
  "a longer path": unknown(`${PATH}x`),
  "a shorter path": unknown("/ecs"),
  "no query after the question mark": unknown(`${PATH}?`),
  "a query": unknown(`${PATH}?x=1`),
  "a query beside /healthz": { ...bad("/healthz?%00"), status: 404 },
  "the path of metadata": unknown("/latest/meta-data/"),
  "the control socket's word": unknown("/control"),
  // Methods.
  "POST": notServed("POST"),
  "PUT": notServed("PUT"),
  "DELETE": notServed("DELETE"),
  "PATCH": notServed("PATCH"),
  "OPTIONS": notServed("OPTIONS"),
  "TRACE": notServed("TRACE"),
  "an unknown method": notServed("BREW"),
  "a method in small letters": notServed("get"),
  "POST with a body": {
    ...notServed("POST"),
    more: "Content-Length: 2\r\n",
    body: "{}",
  },
  // Bodies.
  "GET with a body": { more: "Content-Length: 2\r\n", body: "{}", status: 400 },
  "GET with an empty chunked body": {
    more: "Transfer-Encoding: chunked\r\n",
    body: "0\r\n\r\n",
    status: 400,
  },
  // Hosts, such as names that an attacker points at us.
  "a foreign host": strange("example.com"),
  "a host that resolves to loopback": strange("localtest.me"),
  "a host that names our address": strange("127.0.0.1.nip.io"),
  "a host that names the other address": strange("169.254.170.2.nip.io"),
  "a host that begins as ours": strange("localhost.example.com"),
  "a host that ends as ours": strange("example.localhost"),
  "a host with a final dot": strange("localhost."),
  "an address with a final dot": strange("127.0.0.1."),
  "a short address": strange("127.1"),
  "a decimal address": strange("2130706433"),
  "a hexadecimal address": strange("0x7f000001"),
  "an address of eight": strange("0177.0.0.1"),
  "no address": strange("0.0.0.0"),
  "IPv6 loopback": strange("[::1]"),
  "a mapped address": strange("[::ffff:127.0.0.1]"),
  "the metadata address": strange("169.254.169.254"),
  "our name at another port": strange("moat-proxy:1"),
  "an engine's name at another port": strange("host.docker.internal:1"),
  "an empty host": { host: "", status: 400 },
  // What browsers and forwarders send.
  "Origin": field("Origin: http://127.0.0.1"),
  "Origin in other letters": field("oRIGIN: null"),
  "Sec-Fetch-Site": field("Sec-Fetch-Site: same-origin"),
  "Sec-Fetch-Mode": field("sec-fetch-mode: navigate"),
  "Sec-Fetch-Dest": field("Sec-Fetch-Dest: image"),
  "Cookie": field("Cookie: a=b"),
  "Referer": field("Referer: http://127.0.0.1/"),
  "Forwarded": field("Forwarded: for=10.0.0.1"),
  "Via": field("Via: 1.1 proxy"),
  "an empty Via": field("Via:"),
  "X-Forwarded-For": field("X-Forwarded-For: 10.0.0.1"),
  "X-Forwarded-Host": field("X-Forwarded-Host: 127.0.0.1"),
  "X-Forwarded-Proto": field("x-forwarded-proto: https"),
  "X-Real-IP": field("X-Real-IP: 10.0.0.1"),
  "X-Original-URL": field("X-Original-URL: /ecs/credentials"),
  "X-Rewrite-URL": field("X-Rewrite-URL: /ecs/credentials"),
  "a preflight": {
    method: "OPTIONS",
    authorization: "",
    more:
      "Origin: http://example.com\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: authorization\r\n",
    status: 403,
  },
  // Tokens.
  "no token": { authorization: "", status: 401, serveStatus: 400 },
  "two fields": { more: "Authorization: Bearer x\r\n", status: 400 },
  "two tokens in one field": {
    authorization: "Bearer x, Bearer y",
    status: 400,
  },
  "another scheme": {
    authorization: "Basic eDp5",
    status: 401,
    serveStatus: 400,
  },
  "no token, for another method": {
    authorization: "",
    method: "OPTIONS",
    status: 401,
    serveStatus: 405,
  },
};

/** With the token of a query that counts. */
const REFUSED_QUERIES: Readonly<Record<string, Row>> = {
  "a token in the header, too": {
    query: ["", ""],
    authorization: "Bearer x",
    status: 400,
  },
  "the token twice": { query: ["", "&access_token=x"], status: 400 },
  "an empty token before it": { query: ["access_token=&", ""], status: 400 },
  "a parameter before it": { query: ["x=1&", ""], status: 404 },
  "a parameter after it": { query: ["", "&x=1"], status: 404 },
  "an ampersand after it": { query: ["", "&"], status: 404 },
  "an ampersand before it": { query: ["&", ""], status: 404 },
  "a fragment after it": { query: ["", "#x"], status: 400 },
  "a blank after it": { query: ["", "+"], status: 401 },
  "another name of it": { query: ["x", ""], status: 401, serveStatus: 400 },
  "a semicolon before it": {
    query: ["x=1;", ""],
    status: 401,
    serveStatus: 400,
  },
  "a slash before the query": {
    target: `${PATH}/`,
    query: ["", ""],
    status: 404,
  },
  "capital letters": {
    target: "/ECS/credentials",
    query: ["", ""],
    status: 404,
  },
  "another method": { method: "POST", query: ["", ""], status: 405 },
  "a foreign host": { host: "example.com", query: ["", ""], status: 403 },
  "an Origin": { query: ["", ""], more: "Origin: null\r\n", status: 403 },
  "X-Forwarded-For": {
    query: ["", ""],
    more: "X-Forwarded-For: 10.0.0.1\r\n",
    status: 403,
  },
};

/** Where one of our own may be named, so that it is no foreign host there. */
function isHostOf({ host, hosts }: Door, asked = ""): boolean {
  return [host, ...hosts].includes(asked);
}

function wanted(door: Door, { status, serveStatus = status }: Row): number {
  return door.isServe ? serveStatus : status;
}

async function checkDoor(door: Door, t: Deno.TestContext): Promise<void> {
  if (door.header) await checkHeaderDoor(door, t);
  if (door.query) await checkQueryDoor(door, t);
}

async function checkHeaderDoor(door: Door, t: Deno.TestContext) {
  await t.step("serves the header's token", async () => {
    assert.equal((await ask(door, textOf(door, {}))).status, 200);
  });
  for (const host of door.hosts) {
    await t.step(`serves the host ${host}`, async () => {
      assert.equal((await ask(door, textOf(door, { host }))).status, 200);
    });
  }
  for (const host of door.foreignHosts) {
    await t.step(`refuses the host ${host}`, async () => {
      assert.equal((await ask(door, textOf(door, { host }))).status, 403);
    });
  }
  for (const [name, row] of Object.entries(REFUSED)) {
    if (isHostOf(door, row.host)) continue;
    await t.step(`refuses ${name}`, async () => {
      const { status, headers } = await ask(door, textOf(door, row));
      assert.equal(status, wanted(door, row));
      if (status === 405) assert.match(headers.get("allow") ?? "", /\bGET\b/);
      if (status === 401) {
        assert.equal(headers.get("www-authenticate"), "Bearer");
      }
    });
  }
  await t.step("refuses the header's token in the query", async () => {
    const target = `${PATH}?access_token=${door.header}`;
    const text = textOf(door, { target, authorization: "" });
    assert.equal((await ask(door, text)).status, 401);
  });
  await t.step(
    "answers a wrong token alike, as often as it comes",
    async () => {
      const text = textOf(door, { authorization: `Bearer ${door.header}x` });
      for (let i = 0; i < 5; i++) {
        assert.equal((await ask(door, text)).status, 401);
      }
    },
  );
  await t.step("answers HEAD as GET or not at all", async () => {
    const text = textOf(door, { method: "HEAD" });
    const conn = await connectTo(door.address);
    try {
      await send(conn, text);
      await conn.closeWrite();
      const [answer] = parseAnswers(await receive(conn), { head: true });
      assert.equal(answer?.status, door.isServe ? 200 : 405);
      assertQuiet(door, answer);
    } finally {
      conn.close();
    }
  });
}

async function checkQueryDoor(door: Door, t: Deno.TestContext) {
  await t.step("serves the query's token", async () => {
    const text = textOf(door, { query: ["", ""] });
    assert.equal((await ask(door, text)).status, 200);
  });
  for (const [name, row] of Object.entries(REFUSED_QUERIES)) {
    await t.step(`refuses beside the query's token ${name}`, async () => {
      const { status } = await ask(door, textOf(door, row));
      assert.equal(status, wanted(door, row));
    });
  }
  await t.step("refuses the query's token in the header", async () => {
    const text = textOf(door, { authorization: `Bearer ${door.query}` });
    assert.equal((await ask(door, text)).status, 401);
  });
}

testUnless(
  moatReason() ?? networkReason(),
  "every credential listener keeps to its rules",
  async (t) => {
    await using doors = await Doors.open();
    for (const door of doors.all) {
      await t.step(door.name, (t) => checkDoor(door, t));
    }
    await t.step("and no token of one counts at another", async (t) => {
      await checkElsewhere(doors.all, t);
    });
  },
);

/** Listeners of the proxy are one place; a socket is a place of its own. */
async function checkElsewhere(doors: readonly Door[], t: Deno.TestContext) {
  const isSocket = ({ name }: Door) => name.includes("socket");
  for (const owner of doors.filter(({ header }) => header)) {
    for (const door of doors) {
      const isOne = !isSocket(owner) && !isSocket(door) &&
        owner.isServe === door.isServe;
      if (door === owner || isOne) continue;
      await t.step(`the one ${owner.name} ${door.name}`, async () => {
        const text = textOf(door, { authorization: `Bearer ${owner.header}` });
        const { status } = await ask(door, text);
        assert.ok([400, 401].includes(status), String(status));
      });
    }
  }
}

// How many

/** A system that gives a process so many descriptors. */
const withDescriptors = (count: number) => [
  ...["sh", "-c", `ulimit -n ${count}; exec "$@"`, "-"],
];

/** More than these tests' proxies have. */
const MANY = 200;

/** Opens connections of a client that is known, until one is refused. */
async function fill(
  address: Deno.Addr,
  text: string,
): Promise<{ opened: Deno.Conn[]; refusal: RawAnswer | undefined }> {
  const opened: Deno.Conn[] = [];
  for (let i = 0; i < MANY; i++) {
    const conn = await connectTo(address);
    opened.push(conn);
    await send(conn, text);
    const answer = await receiveAnswer(conn);
    if (answer.status !== 200) return { opened, refusal: answer };
  }
  return { opened, refusal: undefined };
}

async function requestOf(aws: SimulatedAws, name: string, host: string) {
  const { environment } = await aws.json(`moat env ${name} --format json`);
  const token = environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"];
  return `GET ${PATH} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: ${token}\r\n\r\n`;
}

awsTest(
  "moat proxy answers 503, not 429, to connections beyond its limit",
  async (aws) => {
    await aws.do("moat grant aws --no-validate --role $ROLE");
    const proxy = await aws.startProxy();
    await aws.do("moat bind web --grant aws --mode ecs-full");
    const address = addressOf(proxy.urls[0] ?? "");
    const text = await requestOf(aws, "web", `127.0.0.1:${address.port}`);
    const { opened, refusal } = await fill(address, text);
    opened.forEach((conn) => conn.close());
    assert.deepEqual([refusal?.status, refusal?.headers.get("retry-after")], [
      503,
      "1",
    ]);
  },
  { prefix: withDescriptors(140) },
);

awsTest(
  "a container on its socket leaves connections to the others",
  async (aws) => {
    await aws.do("moat grant aws --no-validate --role $ROLE");
    const proxy = await aws.startProxy();
    await aws.do("moat bind web --grant aws --mode ecs-full");
    await aws.do("moat bind relay --grant aws --mode ecs-full --network none");
    const path = aws.workspace.path("moat/bound/relay/files/endpoint.sock");
    const { opened } = await fill(
      { transport: "unix", path },
      await requestOf(aws, "relay", "127.0.0.1:19080"),
    );
    const address = addressOf(proxy.urls[0] ?? "");
    const [answer] = await exchange(
      address,
      await requestOf(aws, "web", `127.0.0.1:${address.port}`),
    );
    opened.forEach((conn) => conn.close());
    assert.equal(answer?.status, 200);
  },
  { prefix: withDescriptors(300) },
);
