import assert from "node:assert/strict";
import { join } from "node:path";
import type { Reach } from "$core/reach.ts";
import { Answer } from "$core/provider.ts";
import { fakePlatform } from "../tests/support/fake_platform.ts";
import { exchange } from "../tests/support/raw_http.ts";
import { modeOf, namesIn, tempHome } from "../tests/support/temp_home.ts";
import {
  type Listen,
  Listeners,
  parseListen,
  type Reached,
} from "./listeners.ts";

const PARSED: { text: string; expect: [hostname: string, port: number] }[] = [
  { text: "127.0.0.1:19080", expect: ["127.0.0.1", 19080] },
  { text: "127.0.0.1:0", expect: ["127.0.0.1", 0] },
  { text: "127.0.0.1:65535", expect: ["127.0.0.1", 65535] },
  { text: "0.0.0.0:80", expect: ["0.0.0.0", 80] },
  { text: "localhost:80", expect: ["127.0.0.1", 80] },
  { text: "[::1]:80", expect: ["::1", 80] },
  { text: "[::]:0", expect: ["::", 0] },
  { text: "[FD00::1]:80", expect: ["FD00::1", 80] },
  { text: "[::ffff:10.0.0.1]:80", expect: ["::ffff:10.0.0.1", 80] },
];

for (const { text, expect: [hostname, port] } of PARSED) {
  Deno.test(`parseListen() takes ${text}`, () => {
    assert.deepEqual(parseListen(text), { hostname, port });
  });
}

const UNPARSED = [
  "",
  ":80",
  "127.0.0.1",
  "127.0.0.1:",
  "127.0.0.1:65536",
  "127.0.0.1:100000",
  "127.0.0.1:-1",
  "127.0.0.1:8o",
  "127.0.0.1:80 ",
  " 127.0.0.1:80",
  "127.0.0.1:80\n",
  "127.0.0.1:80:80",
  "127.0.0.1:1e3",
  "127.0.0.256:80",
  "127.0.1:80",
  "1:80",
  "...:80",
  "0177.0.0.1:80",
  "::1:80",
  "[::1]",
  "[::1]:",
  "[:::]:80",
  "[]:80",
  "[127.0.0.1]:80",
  "[::1:80",
  "[fe80::1%eth0]:80",
  "host.example:80",
  "LOCALHOST.:80",
  "http://127.0.0.1:80",
  "*:80",
  "80",
  "unix:/x",
];

for (const text of UNPARSED) {
  Deno.test(`parseListen() refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseListen(text), {
      code: "usage",
      message: /^Cannot listen on ".*": wanted an IP address and a port$/,
    });
  });
}

/** Listeners that answer "ok" to every request. */
class Bed implements AsyncDisposable {
  readonly platform = fakePlatform();
  readonly listeners: Listeners;

  constructor(listen?: Listen) {
    const answer = new Answer(200, "ok", "text/plain");
    this.listeners = new Listeners(
      this.platform,
      () => ({ answer }),
      listen,
      1000,
    );
  }

  /** What runs were told that lost their gateway. */
  readonly lost: string[] = [];

  /** Reaches, and remembers when that is lost. */
  reach(reach: Reach): Reached {
    return this.listeners.reach(reach, ({ code }) => this.lost.push(code));
  }

  /** Listens for something else. */
  apart(hostname = "127.0.0.1", port = 0): string {
    const answer = new Answer(200, "apart", "text/plain");
    return this.listeners.listenApart(
      { hostname, port },
      () => ({ answer }),
      "--apart",
    );
  }

  /** What was logged, without fields. */
  get logged(): string[] {
    return this.platform.lines.map(({ event }) => event);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.listeners.drain(0);
  }
}

/** Asks a listener at an address; undefined if nobody listens there. */
async function ask(hostname: string, url: string): Promise<string | undefined> {
  const port = Number(new URL(url).port);
  let conn: Deno.Conn;
  try {
    conn = await Deno.connect({ hostname, port });
  } catch (error) {
    assert(error instanceof Deno.errors.ConnectionRefused);
    return undefined;
  }
  const request = "GET / HTTP/1.0\r\nHost: x\r\n\r\n";
  await conn.write(new TextEncoder().encode(request));
  const text = await new Response(conn.readable).text();
  return text.split("\r\n\r\n")[1];
}

/** Lets the system do what it was asked to. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** A port at which nobody listens, on any address. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "0.0.0.0", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}

Deno.test("listen() gives the URL with the real port", async () => {
  await using bed = new Bed();
  const url = bed.listeners.listen({ hostname: "127.0.0.1", port: 0 });
  assert.match(url, /^http:\/\/127\.0\.0\.1:[1-9]\d*$/);
  assert.equal(await ask("127.0.0.1", url), "ok");
});

Deno.test("listen() writes IPv6 addresses in brackets", async () => {
  await using bed = new Bed();
  const url = bed.listeners.listen({ hostname: "::1", port: 0 });
  assert.match(url, /^http:\/\/\[::1\]:\d+$/);
});

Deno.test("listen() tells that a port is in use", async () => {
  await using bed = new Bed();
  const url = bed.listeners.listen({ hostname: "127.0.0.1", port: 0 });
  const port = Number(new URL(url).port);
  assert.throws(() => bed.listeners.listen({ hostname: "127.0.0.1", port }), {
    code: "address-in-use",
    message: `Cannot listen on ${url}: another program does`,
  });
});

Deno.test("listen() tells that an address is not this host's", async () => {
  await using bed = new Bed();
  const address = { hostname: "203.0.113.1", port: 0 };
  assert.throws(() => bed.listeners.listen(address), {
    code: "address-unavailable",
  });
});

Deno.test("listen() tells that the system does not allow it", async () => {
  await using bed = new Bed(() => {
    throw new Deno.errors.PermissionDenied("x");
  });
  const address = { hostname: "127.0.0.1", port: 80 };
  assert.throws(() => bed.listeners.listen(address), {
    code: "address-denied",
  });
});

Deno.test("drain() frees all addresses", async () => {
  const bed = new Bed();
  const url = bed.listeners.listen({ hostname: "127.0.0.1", port: 0 });
  const apart = bed.apart();
  bed.reach({ by: "gateway", address: "127.0.0.2" });
  await bed.listeners.drain(0);
  const found = [
    await ask("127.0.0.1", url),
    await ask("127.0.0.2", url),
    await ask("127.0.0.1", apart),
  ];
  assert.deepEqual(found, [undefined, undefined, undefined]);
});

Deno.test("listenApart() serves what it is given", async () => {
  await using bed = new Bed();
  const url = bed.listeners.listen({ hostname: "127.0.0.1", port: 0 });
  const found = [bed.apart(), url].map((at) => ask("127.0.0.1", at));
  assert.deepEqual(await Promise.all(found), ["apart", "ok"]);
});

Deno.test("listenApart() makes no run reachable", async () => {
  await using bed = new Bed();
  bed.apart("0.0.0.0");
  assert.throws(() => bed.reach({ by: "loopback" }), { code: "not-reachable" });
});

Deno.test("listenApart() names its flag when a port is in use", async () => {
  await using bed = new Bed();
  const port = Number(new URL(bed.apart()).port);
  assert.throws(() => bed.apart("127.0.0.1", port), {
    code: "address-in-use",
    hint: "give --apart 127.0.0.1:0 for any free port",
  });
});

Deno.test("addresses are those where it listens now, for whatever service", async () => {
  await using bed = new Bed();
  const urls = [
    bed.listeners.listen({ hostname: "127.0.0.1", port: 0 }),
    bed.apart(),
  ];
  const reached = bed.reach({ by: "gateway", address: "127.0.0.2" });
  const spelled = () =>
    bed.listeners.addresses.map(({ hostname, port }) =>
      `http://${hostname}:${port}`
    );
  const open = spelled();
  await reached.release();
  const port = new URL(reached.url).port;
  assert.deepEqual(
    [open, spelled()],
    [[...urls, `http://127.0.0.2:${port}`], urls],
  );
});

Deno.test("reach() takes the loopback listener, whatever comes first", async () => {
  await using bed = new Bed();
  bed.listeners.listen({ hostname: "0.0.0.0", port: 0 });
  const url = bed.listeners.listen({ hostname: "127.0.0.1", port: 0 });
  assert.equal(bed.reach({ by: "loopback" }).url, url);
});

Deno.test("reach() admits nobody at another client's socket, also beside 0.0.0.0", async () => {
  await using bed = new Bed();
  bed.listeners.listen({ hostname: "0.0.0.0", port: 0 });
  const { admits } = bed.reach({ by: "loopback" });
  assert.deepEqual(
    [admits("127.0.0.1"), admits("/bound/other/files/endpoint.sock")],
    [true, false],
  );
});

for (const hostname of ["0.0.0.0", "::"]) {
  Deno.test(`reach() finds loopback in a listener on ${hostname}`, async () => {
    await using bed = new Bed();
    const { port } = new URL(bed.listeners.listen({ hostname, port: 0 }));
    const { url } = bed.reach({ by: "loopback" });
    assert.equal(url, `http://127.0.0.1:${port}`);
    assert.equal(await ask("127.0.0.1", url), "ok");
  });
}

Deno.test("reach() says what to do without a loopback listener", async () => {
  await using bed = new Bed(Deno.listen);
  assert.throws(() => bed.reach({ by: "loopback" }), {
    code: "not-reachable",
    hint: /--listen 127\.0\.0\.1:0/,
  });
});

Deno.test("reach() gives a name the port of the loopback listener", async () => {
  await using bed = new Bed();
  const url = bed.listeners.listen({ hostname: "127.0.0.1", port: 0 });
  const reached = bed.reach({ by: "name", name: "host.x" });
  assert.equal(reached.url, url.replace("127.0.0.1", "host.x"));
});

/** A bed with a loopback listener, and its URL. */
function withLoopback(listen?: Listen) {
  const bed = new Bed(listen);
  const url = bed.listeners.listen({ hostname: "127.0.0.1", port: 0 });
  return { bed, url, port: Number(new URL(url).port) };
}

Deno.test("reach() listens on a gateway, at the port of loopback", async () => {
  const { bed: bed_, port } = withLoopback();
  await using bed = bed_;
  const { url } = bed.reach({ by: "gateway", address: "127.0.0.2" });
  assert.equal(url, `http://moat-proxy:${port}`);
  assert.equal(await ask("127.0.0.2", url), "ok");
});

Deno.test("reach() listens on a gateway at the port of a resumed run", async () => {
  await using bed = new Bed();
  const port = freePort();
  const reach = { by: "gateway", address: "127.0.0.2", port } as const;
  const { url } = bed.reach(reach);
  assert.equal(url, `http://moat-proxy:${port}`);
  assert.equal(await ask("127.0.0.2", url), "ok");
});

Deno.test("reach() fails when the port of a gateway is in use", async () => {
  const { bed: bed_, port } = withLoopback();
  await using bed = bed_;
  using _other = Deno.listen({ hostname: "127.0.0.2", port });
  const reach = { by: "gateway", address: "127.0.0.2" } as const;
  assert.throws(() => bed.reach(reach), { code: "address-in-use" });
});

Deno.test("reach() tries a gateway again after a failure", async () => {
  const { bed: bed_, port } = withLoopback();
  await using bed = bed_;
  const other = Deno.listen({ hostname: "127.0.0.2", port });
  const reach = { by: "gateway", address: "127.0.0.2" } as const;
  assert.throws(() => bed.reach(reach));
  other.close();
  const { url } = bed.reach(reach);
  assert.equal(await ask("127.0.0.2", url), "ok");
});

Deno.test("reach() keeps a gateway open until its last user is gone", async () => {
  const { bed: bed_, url } = withLoopback();
  await using bed = bed_;
  const reach = { by: "gateway", address: "127.0.0.2" } as const;
  const users = [bed.reach(reach), bed.reach(reach)];
  const found: (string | undefined)[] = [];
  for (const user of users) {
    user.release();
    await turn();
    found.push(await ask("127.0.0.2", url));
  }
  assert.deepEqual(found, ["ok", undefined]);
});

Deno.test("reach() counts a user that releases twice once", async () => {
  const { bed: bed_, url } = withLoopback();
  await using bed = bed_;
  const reach = { by: "gateway", address: "127.0.0.2" } as const;
  const first = bed.reach(reach);
  bed.reach(reach);
  first.release();
  first.release();
  assert.equal(await ask("127.0.0.2", url), "ok");
});

Deno.test("reach() opens a gateway again for a later run", async () => {
  const { bed: bed_, url } = withLoopback();
  await using bed = bed_;
  const reach = { by: "gateway", address: "127.0.0.2" } as const;
  bed.reach(reach).release();
  bed.reach(reach);
  await turn();
  await bed.platform.clock.advance(25);
  assert.equal(await ask("127.0.0.2", url), "ok");
});

Deno.test("reach() keeps gateways apart", async () => {
  const { bed: bed_, url } = withLoopback();
  await using bed = bed_;
  const first = bed.reach({ by: "gateway", address: "127.0.0.2" });
  bed.reach({ by: "gateway", address: "127.0.0.3" });
  first.release();
  await turn();
  const found = [await ask("127.0.0.2", url), await ask("127.0.0.3", url)];
  assert.deepEqual(found, [undefined, "ok"]);
});

const COVERED: { listen: string; address: string }[] = [
  { listen: "0.0.0.0", address: "127.0.0.2" },
  { listen: "::", address: "127.0.0.2" },
  { listen: "::", address: "::1" },
  { listen: "127.0.0.2", address: "127.0.0.2" },
];

for (const { listen, address } of COVERED) {
  Deno.test(`reach() needs no listener on ${address} beside ${listen}`, async () => {
    await using bed = new Bed();
    const own = bed.listeners.listen({ hostname: listen, port: 0 });
    const { url } = bed.reach({ by: "gateway", address });
    assert.equal(url, `http://moat-proxy:${new URL(own).port}`);
    assert.deepEqual(bed.logged, []);
  });
}

Deno.test("reach() listens on an IPv6 gateway beside 0.0.0.0", async () => {
  await using bed = new Bed();
  bed.listeners.listen({ hostname: "0.0.0.0", port: 0 });
  const { url } = bed.reach({ by: "gateway", address: "::1" });
  assert.equal(await ask("::1", url), "ok");
});

for (
  const address of ["0.0.0.0", "::", "0::0", "::ffff:0.0.0.0", "::ffff:0:0"]
) {
  Deno.test(`reach() never listens everywhere for a gateway ${address}`, async () => {
    const { bed: bed_ } = withLoopback();
    await using bed = bed_;
    assert.throws(() => bed.reach({ by: "gateway", address }), {
      code: "bad-gateway",
    });
  });
}

/** Listens, but finds 127.0.0.2 only after some attempts. */
function lazily(attempts: number): Listen {
  return (address) => {
    if (address.hostname !== "127.0.0.2" || attempts-- <= 0) {
      return Deno.listen(address);
    }
    throw new Deno.errors.AddrNotAvailable("not yet");
  };
}

const LATE = { by: "gateway", address: "127.0.0.2" } as const;

Deno.test("reach() listens on a gateway as soon as it is there", async () => {
  const { bed: bed_, port } = withLoopback(lazily(3));
  await using bed = bed_;
  const { url } = bed.reach(LATE);
  assert.equal(url, `http://moat-proxy:${port}`);
  await bed.platform.clock.advance(74);
  assert.equal(await ask("127.0.0.2", url), undefined);
  await bed.platform.clock.advance(1);
  assert.equal(await ask("127.0.0.2", url), "ok");
});

Deno.test("reach() opens a late gateway once for all its users", async () => {
  const { bed: bed_ } = withLoopback(lazily(2));
  await using bed = bed_;
  const users = [bed.reach(LATE), bed.reach(LATE)];
  await bed.platform.clock.advance(1000);
  assert.deepEqual(bed.logged, ["gateway-listening"]);
  users[0]?.release();
  assert.equal(await ask("127.0.0.2", users[1]?.url ?? ""), "ok");
});

Deno.test("reach() stops waiting for a gateway that nobody wants any more", async () => {
  const { bed: bed_, url } = withLoopback(lazily(3));
  await using bed = bed_;
  bed.reach(LATE).release();
  await bed.platform.clock.advance(60_000);
  assert.deepEqual([await ask("127.0.0.2", url), bed.logged], [undefined, []]);
});

Deno.test("reach() waits for a gateway only once when it is wanted again", async () => {
  const { bed: bed_ } = withLoopback(lazily(3));
  await using bed = bed_;
  bed.reach(LATE).release();
  bed.reach(LATE);
  await bed.platform.clock.advance(60_000);
  assert.deepEqual(bed.logged, ["gateway-listening"]);
});

Deno.test("drain() ends the wait for a gateway", async () => {
  const { bed } = withLoopback(lazily(3));
  bed.reach(LATE);
  await bed.listeners.drain(0);
  await bed.platform.clock.advance(60_000);
  assert.deepEqual(bed.logged, []);
});

Deno.test("reach() gives up on a gateway after ten minutes, and says so", async () => {
  const { bed: bed_ } = withLoopback(lazily(Infinity));
  await using bed = bed_;
  bed.reach(LATE);
  await bed.platform.clock.advance(601_000);
  assert.deepEqual(bed.platform.lines, [{
    event: "gateway-failed",
    fields: { hostname: "127.0.0.2", code: "address-unavailable" },
  }]);
});

Deno.test("reach() tries anew for the next run after a gateway failed late", async () => {
  const { bed: bed_, port } = withLoopback(lazily(1));
  await using bed = bed_;
  const first = bed.reach(LATE);
  const other = Deno.listen({ hostname: "127.0.0.2", port });
  await bed.platform.clock.advance(25);
  other.close();
  const second = bed.reach(LATE);
  first.release();
  assert.deepEqual(bed.logged, ["gateway-failed", "gateway-listening"]);
  assert.equal(await ask("127.0.0.2", second.url), "ok");
});

Deno.test("reach() tells all users of a gateway that another program took", async () => {
  const { bed: bed_, port } = withLoopback(lazily(1));
  await using bed = bed_;
  bed.reach(LATE);
  bed.reach(LATE);
  using _squatter = Deno.listen({ hostname: "127.0.0.2", port });
  await bed.platform.clock.advance(25);
  assert.deepEqual(bed.lost, ["address-in-use", "address-in-use"]);
});

Deno.test("reach() tells the users of a gateway that never came", async () => {
  const { bed: bed_ } = withLoopback(lazily(Infinity));
  await using bed = bed_;
  bed.reach(LATE);
  await bed.platform.clock.advance(601_000);
  assert.deepEqual(bed.lost, ["address-unavailable"]);
});

Deno.test("reach() tells nothing to a user that gave a gateway back", async () => {
  const { bed: bed_ } = withLoopback(lazily(Infinity));
  await using bed = bed_;
  bed.reach(LATE).release();
  bed.reach({ by: "gateway", address: "127.0.0.3" });
  await bed.platform.clock.advance(601_000);
  assert.deepEqual(bed.lost, []);
});

Deno.test("reach() admits no token at a gateway before it listens there", async () => {
  const { bed: bed_ } = withLoopback(lazily(1));
  await using bed = bed_;
  const { admits } = bed.reach(LATE);
  const before = admits("127.0.0.2");
  await bed.platform.clock.advance(25);
  assert.deepEqual([before, admits("127.0.0.2")], [false, true]);
});

const GATEWAY = { by: "gateway", address: "127.0.0.2" } as const;
const LOOPBACK = { by: "loopback" } as const;
const NAME = { by: "name", name: "host.x" } as const;
const ADMITTED: { listen: string[]; reach: Reach; at: string[] }[] = [
  { listen: ["127.0.0.1"], reach: LOOPBACK, at: ["127.0.0.1"] },
  { listen: ["127.0.0.1"], reach: NAME, at: ["127.0.0.1"] },
  { listen: ["127.0.0.1"], reach: GATEWAY, at: ["127.0.0.2"] },
  { listen: ["127.0.0.1", "::1"], reach: LOOPBACK, at: ["127.0.0.1", "::1"] },
  {
    listen: ["127.0.0.1"],
    reach: { by: "gateway", address: "0:0:0:0:0:0:0:1" },
    at: ["::1"],
  },
  { listen: ["127.0.0.2"], reach: GATEWAY, at: ["127.0.0.2"] },
  {
    listen: ["127.0.0.1", "127.0.0.2"],
    reach: GATEWAY,
    at: ["127.0.0.2"],
  },
  {
    listen: ["0.0.0.0"],
    reach: LOOPBACK,
    at: ["127.0.0.1", "127.0.0.2", "192.0.2.1"],
  },
  {
    listen: ["0.0.0.0"],
    reach: GATEWAY,
    at: ["127.0.0.1", "127.0.0.2", "192.0.2.1"],
  },
  {
    listen: ["::"],
    reach: NAME,
    at: ["127.0.0.1", "127.0.0.2", "::1", "192.0.2.1"],
  },
];

for (const { listen, reach, at } of ADMITTED) {
  const how = reach.by === "gateway" ? reach.address : reach.by;
  Deno.test(`reach() by ${how} admits a token at ${at} beside ${listen}`, async () => {
    await using bed = new Bed();
    for (const hostname of listen) bed.listeners.listen({ hostname, port: 0 });
    const { admits } = bed.reach(reach);
    const all = ["127.0.0.1", "127.0.0.2", "::1", "192.0.2.1"];
    assert.deepEqual(all.filter(admits), at);
  });
}

Deno.test("reach() opens a gateway at a stored binding's port beside a listener for all", async () => {
  await using bed = new Bed();
  bed.listeners.listen({ hostname: "0.0.0.0", port: 0 });
  const port = freePort();
  const { url } = bed.reach({ by: "gateway", address: "127.0.0.2", port });
  assert.equal(url, `http://moat-proxy:${port}`);
  assert.equal(await ask("127.0.0.2", url), "ok");
});

Deno.test("reach() waits for a gateway as long as it is told", async () => {
  const { bed: bed_ } = withLoopback(lazily(Infinity));
  await using bed = bed_;
  const lost: string[] = [];
  const onLost = ({ code }: { code: string }) => void lost.push(code);
  bed.listeners.reach(LATE, onLost, Infinity);
  await bed.platform.clock.advance(3_600_000);
  assert.deepEqual(lost, []);
});

Deno.test("adopt() serves a listener that was given, and gives its URL", async () => {
  await using bed = new Bed();
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const address = { hostname: "127.0.0.1", port };
  const url = bed.listeners.adopt(listener, address);
  assert.equal(url, `http://127.0.0.1:${port}`);
  assert.equal(await ask("127.0.0.1", url), "ok");
});

Deno.test("adopt() makes runs reachable where its connections arrive", async () => {
  await using directory = await tempHome();
  await using bed = new Bed();
  const path = join(directory.directory, "s");
  const listener = Deno.listen({ transport: "unix", path });
  // As of a socket of systemd, whose connections come through another program.
  bed.listeners.adopt(listener, { hostname: "127.0.0.1", port: 7224 });
  const { url, admits } = bed.reach({ by: "loopback" });
  assert.deepEqual([url, admits("127.0.0.1")], ["http://127.0.0.1:7224", true]);
});

Deno.test("drain() ends a listener that was given", async () => {
  const bed = new Bed();
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const url = bed.listeners.adopt(listener, { hostname: "127.0.0.1", port });
  await bed.listeners.drain(0);
  assert.equal(await ask("127.0.0.1", url), undefined);
});

const PERMANENT: { listen: string[]; at: string[] }[] = [
  { listen: [], at: [] },
  { listen: ["127.0.0.1"], at: ["127.0.0.1"] },
  { listen: ["127.0.0.1", "::1"], at: ["127.0.0.1", "::1"] },
  { listen: ["127.0.0.2"], at: ["127.0.0.2"] },
  { listen: ["0.0.0.0"], at: ["127.0.0.1", "127.0.0.2", "192.0.2.1"] },
  { listen: ["::"], at: ["127.0.0.1", "127.0.0.2", "::1", "192.0.2.1"] },
];

for (const { listen, at } of PERMANENT) {
  Deno.test(`isPermanent() knows the addresses of [${listen}]`, async () => {
    await using bed = new Bed();
    for (const hostname of listen) bed.listeners.listen({ hostname, port: 0 });
    const all = ["127.0.0.1", "127.0.0.2", "::1", "192.0.2.1", "/run/s"];
    const found = all.filter((local) => bed.listeners.isPermanent(local));
    assert.deepEqual(found, at);
  });
}

Deno.test("isPermanent() knows neither gateways nor what serves something else", async () => {
  const { bed: bed_ } = withLoopback();
  await using bed = bed_;
  bed.reach(GATEWAY);
  bed.apart("127.0.0.3");
  const found = ["127.0.0.2", "127.0.0.3"].map((local) =>
    bed.listeners.isPermanent(local)
  );
  assert.deepEqual(found, [false, false]);
});

/** Reaches by an address at the port of a listener on `listen`. */
function byAddress(bed: Bed, listen: string, address = "127.0.0.2"): Reached {
  const url = bed.listeners.listen({ hostname: listen, port: 0 });
  const port = Number(new URL(url).port);
  return bed.reach({ by: "address", address, port });
}

for (const listen of ["127.0.0.2", "0.0.0.0", "::"]) {
  Deno.test(`reach() by an address needs a listener there, as on ${listen}`, async () => {
    await using bed = new Bed();
    const { url } = byAddress(bed, listen);
    assert.match(url, /^http:\/\/127\.0\.0\.2:\d+$/);
    assert.equal(await ask("127.0.0.2", url), "ok");
  });
}

Deno.test("reach() by an address admits a token there alone", async () => {
  await using bed = new Bed();
  bed.listeners.listen({ hostname: "127.0.0.1", port: 0 });
  const { admits } = byAddress(bed, "127.0.0.2");
  const all = ["127.0.0.1", "127.0.0.2", "::1", "/run/s"];
  assert.deepEqual(all.filter(admits), ["127.0.0.2"]);
});

Deno.test("reach() by an address opens no listener that nobody asked for", async () => {
  await using bed = new Bed();
  const url = bed.listeners.listen({ hostname: "127.0.0.1", port: 0 });
  const port = Number(new URL(url).port);
  const reach = { by: "address", address: "127.0.0.2", port } as const;
  assert.throws(() => bed.reach(reach), {
    code: "not-reachable",
    hint: new RegExp(`--listen 127\\.0\\.0\\.2:${port}$`),
  });
  assert.equal(await ask("127.0.0.2", url), undefined);
});

Deno.test("reach() by an address wants the port, too", async () => {
  await using bed = new Bed();
  bed.listeners.listen({ hostname: "127.0.0.2", port: 0 });
  const reach = { by: "address", address: "127.0.0.2", port: 80 } as const;
  assert.throws(() => bed.reach(reach), { code: "not-reachable" });
});

/** A directory, listeners, and a socket in it. */
async function withSocket() {
  const home = await tempHome();
  const bed = new Bed();
  const path = join(home.directory, "endpoint.sock");
  return {
    bed,
    path,
    directory: home.directory,
    reach: { by: "socket", path, port: 24711 } as const,
    /** What it answers; undefined if nobody listens there. */
    async ask(): Promise<string | undefined> {
      try {
        const request = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
        const [answer] = await exchange({ transport: "unix", path }, request);
        return answer?.body;
      } catch (error) {
        assert(
          error instanceof Deno.errors.NotFound ||
            error instanceof Deno.errors.ConnectionRefused,
          String(error),
        );
        return undefined;
      }
    },
    async [Symbol.asyncDispose]() {
      await bed[Symbol.asyncDispose]();
      await home[Symbol.asyncDispose]();
    },
  };
}

Deno.test("reach() by a socket serves it, at the URL of the relay", async () => {
  await using socket = await withSocket();
  const { url } = socket.bed.reach(socket.reach);
  assert.deepEqual(
    [url, await socket.ask()],
    ["http://127.0.0.1:24711", "ok"],
  );
});

for (const mask of [0o000, 0o077]) {
  Deno.test(`reach() by a socket lets any uid in that can enter the directory, with umask ${mask.toString(8)}`, async () => {
    const before = Deno.umask(mask);
    try {
      await using socket = await withSocket();
      socket.bed.reach(socket.reach);
      assert.equal(await modeOf(socket.path), 0o666);
    } finally {
      Deno.umask(before);
    }
  });
}

Deno.test("reach() by a socket admits a token there alone", async () => {
  await using socket = await withSocket();
  socket.bed.listeners.listen({ hostname: "0.0.0.0", port: 0 });
  const { admits } = socket.bed.reach(socket.reach);
  const all = [socket.path, `${socket.path}2`, "127.0.0.1", "", "/"];
  assert.deepEqual(all.filter(admits), [socket.path]);
});

Deno.test("reach() by a socket needs no other listener", async () => {
  await using socket = await withSocket();
  socket.bed.reach(socket.reach);
  assert.throws(() => socket.bed.reach({ by: "loopback" }), {
    code: "not-reachable",
  });
});

Deno.test("reach() takes the place of a socket that was left over", async () => {
  await using socket = await withSocket();
  const other = Deno.listen({ transport: "unix", path: `${socket.path}2` });
  await Deno.rename(`${socket.path}2`, socket.path);
  other.close();
  socket.bed.reach(socket.reach);
  assert.equal(await socket.ask(), "ok");
});

Deno.test("reach() removes nothing that is no socket", async () => {
  await using socket = await withSocket();
  await Deno.writeTextFile(socket.path, "precious");
  assert.throws(() => socket.bed.reach(socket.reach), { code: "cannot-write" });
  assert.equal(await Deno.readTextFile(socket.path), "precious");
});

Deno.test("release() ends a socket and removes it", async () => {
  await using socket = await withSocket();
  await socket.bed.reach(socket.reach).release();
  assert.deepEqual(
    [await socket.ask(), await namesIn(socket.directory)],
    [undefined, []],
  );
});

Deno.test("a socket can be reached again once it was given back", async () => {
  await using socket = await withSocket();
  await socket.bed.reach(socket.reach).release();
  socket.bed.reach(socket.reach);
  assert.equal(await socket.ask(), "ok");
});

Deno.test("drain() ends sockets", async () => {
  await using socket = await withSocket();
  socket.bed.reach(socket.reach);
  await socket.bed.listeners.drain(0);
  assert.equal(await socket.ask(), undefined);
});

Deno.test("reach() refuses a path that no socket can have", async () => {
  await using socket = await withSocket();
  const path = join(socket.directory, "x".repeat(108));
  const reach = { ...socket.reach, path };
  assert.throws(() => socket.bed.reach(reach), { code: "path-too-long" });
});

Deno.test("reach() tells that a socket cannot be made where there is no directory", async () => {
  await using socket = await withSocket();
  const path = join(socket.directory, "missing", "s");
  const reach = { ...socket.reach, path };
  assert.throws(() => socket.bed.reach(reach), { code: "cannot-write" });
});
