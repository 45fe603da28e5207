import assert from "node:assert/strict";
import fc from "fast-check";
import { type Authority, parseAuthority } from "$core/host.ts";
import { FakeClock, settle } from "../../tests/support/fake_clock.ts";
import { type Dial, Egress, type EgressOptions } from "./egress.ts";
import type { ProxyFailure } from "./failure.ts";

const PUBLIC = "93.184.215.14";
const PUBLIC_SIX = "2606:2800:21f:cb07:6820:80da:af6b:8b2c";
const HOST: Authority = { host: "api.example.com", port: 443 };

function make(options: Partial<EgressOptions> = {}): Egress {
  return new Egress({
    lookup: () => Promise.reject(new Error("no look-up expected")),
    dial: () => Promise.reject(new Error("no dialling expected")),
    isOurs: () => false,
    clock: new FakeClock(),
    ...options,
  });
}

function answering(...addresses: string[]): () => Promise<string[]> {
  return () => Promise.resolve(addresses);
}

/** A connection that remembers whether it was closed. */
function fakeConn(): Deno.TcpConn & { isClosed: boolean; noDelay: boolean } {
  const conn = {
    isClosed: false,
    noDelay: false,
    close: () => void (conn.isClosed = true),
    setNoDelay: (on: boolean) => void (conn.noDelay = on),
  };
  return conn as unknown as Deno.TcpConn & typeof conn;
}

function systemError(code: string): Error {
  return Object.assign(new Error(`${code} at 10.1.2.3`), { code });
}

async function failureOf(work: Promise<unknown>): Promise<ProxyFailure> {
  return await work.then(
    () => assert.fail("wanted a failure"),
    (error) => error,
  );
}

const codeOf = async (work: Promise<unknown>) => (await failureOf(work)).code;

// What a name resolves to: closed, and opened by allow_hosts.
const REFUSED: readonly (readonly [address: string, what: string])[] = [
  ["0.0.0.0", "this host"],
  ["0.1.2.3", "this network"],
  ["10.1.2.3", "RFC 1918"],
  ["100.64.0.1", "CGNAT"],
  ["127.0.0.1", "loopback"],
  ["127.255.255.254", "loopback's end"],
  ["169.254.1.1", "link-local"],
  ["172.16.0.1", "RFC 1918"],
  ["172.31.255.255", "RFC 1918"],
  ["192.0.0.1", "protocol assignments"],
  ["192.0.2.1", "documentation"],
  ["192.168.1.1", "RFC 1918"],
  ["198.18.0.1", "benchmarks"],
  ["198.51.100.1", "documentation"],
  ["203.0.113.1", "documentation"],
  ["224.0.0.1", "multicast"],
  ["240.0.0.1", "reserved"],
  ["255.255.255.255", "broadcast"],
  ["::", "this host"],
  ["::1", "loopback"],
  ["::127.0.0.1", "IPv4-compatible"],
  ["::ffff:127.0.0.1", "IPv4-mapped loopback"],
  ["::ffff:7f00:1", "IPv4-mapped loopback in hex"],
  ["::ffff:10.0.0.1", "IPv4-mapped RFC 1918"],
  ["::ffff:0:7f00:1", "IPv4-translated"],
  ["64:ff9b::7f00:1", "NAT64 of loopback"],
  ["64:ff9b::10.0.0.1", "NAT64 of RFC 1918"],
  ["64:ff9b:1::1", "local NAT64"],
  ["2002:7f00:1::", "6to4 of loopback"],
  ["2001::1", "Teredo"],
  ["2001:db8::1", "documentation"],
  ["fc00::1", "unique local"],
  ["fd12:3456::1", "unique local"],
  ["fe80::1", "link-local"],
  ["fec0::1", "site-local"],
  ["ff02::1", "multicast"],
];

for (const [address, what] of REFUSED) {
  Deno.test(`addresses() refuses ${address} (${what})`, async () => {
    const egress = make({ lookup: answering(address) });
    assert.equal(
      await codeOf(egress.addresses(HOST, false)),
      "private-address",
    );
  });
  Deno.test(`addresses() gives ${address} (${what}) where the host is opened`, async () => {
    const egress = make({ lookup: answering(address) });
    assert.deepEqual(await egress.addresses(HOST, true), [address]);
  });
}

const METADATA = [
  "169.254.169.254",
  "169.254.170.2",
  "169.254.170.23",
  "100.100.100.200",
  "168.63.129.16",
  "fd00:ec2::254",
  "fd00:ec2::23",
  "::ffff:169.254.169.254",
  "::ffff:a9fe:a9fe",
  "64:ff9b::a9fe:a9fe",
];

for (const address of METADATA) {
  for (const opensPrivate of [false, true]) {
    Deno.test(`addresses() refuses metadata at ${address}${opensPrivate ? ", also where the host is opened" : ""}`, async () => {
      const egress = make({ lookup: answering(address) });
      assert.equal(
        await codeOf(egress.addresses(HOST, opensPrivate)),
        "metadata-address",
      );
    });
  }
}

for (const address of [PUBLIC, PUBLIC_SIX, `::ffff:${PUBLIC}`, "8.8.8.8"]) {
  Deno.test(`addresses() gives ${address}`, async () => {
    const egress = make({ lookup: answering(address) });
    assert.deepEqual(await egress.addresses(HOST, false), [address]);
  });
}

// As a client may write an address; parseAuthority() is what makes it canonical.
const SPELLED = [
  "127.0.0.1",
  "127.1",
  "0177.0.0.1",
  "0x7f.0.0.1",
  "0x7f000001",
  "2130706433",
  "017700000001",
  "127.0.0.1.",
  "0",
  "0.0.0.0",
  "[::1]",
  "[0:0:0:0:0:0:0:1]",
  "[::ffff:127.0.0.1]",
  "[::ffff:7f00:1]",
  "[64:ff9b::127.0.0.1]",
  "[::]",
];

for (const text of SPELLED) {
  Deno.test(`addresses() refuses ${text} without a look-up`, async () => {
    const authority = parseAuthority(text, 443) ?? assert.fail("not parsed");
    const egress = make();
    assert.equal(
      await codeOf(egress.addresses(authority, false)),
      "private-address",
    );
  });
}

Deno.test("addresses() gives only what is permitted of a mixed answer", async () => {
  const egress = make({
    lookup: answering("10.0.0.1", PUBLIC, "169.254.169.254", "::1"),
  });
  assert.deepEqual(await egress.addresses(HOST, false), [PUBLIC]);
});

Deno.test("addresses() never gives metadata of a mixed answer", async () => {
  const egress = make({ lookup: answering("169.254.169.254", "10.0.0.1") });
  assert.deepEqual(await egress.addresses(HOST, true), ["10.0.0.1"]);
});

Deno.test("addresses() refuses an address that it cannot read, also where the host is opened", async () => {
  const egress = make({ lookup: answering("fe80::1%eth0") });
  assert.equal(await codeOf(egress.addresses(HOST, true)), "private-address");
});

Deno.test("addresses() takes families by turns, beginning with the first answer's (RFC 8305 section 4)", async () => {
  const egress = make({
    lookup: answering("2606::1", "2606::2", "2606::3", "8.8.8.8", "8.8.4.4"),
  });
  assert.deepEqual(
    await egress.addresses(HOST, false),
    ["2606::1", "8.8.8.8", "2606::2", "8.8.4.4", "2606::3"],
  );
});

Deno.test("addresses() gives each address once, and eight at most", async () => {
  const many = Array.from({ length: 20 }, (_, i) => `8.8.8.${i}`);
  const egress = make({ lookup: answering(...many, ...many) });
  assert.deepEqual(await egress.addresses(HOST, false), many.slice(0, 8));
});

Deno.test("addresses() gives only public addresses, whatever is answered", async () => {
  const octet = fc.oneof(fc.nat(255), fc.constantFrom(0, 10, 127, 169, 192));
  const four = fc.tuple(octet, octet, octet, octet).map((o) => o.join("."));
  const six = fc.tuple(fc.constantFrom("::ffff:", "64:ff9b::", "::"), four)
    .map(([prefix, address]) => prefix + address);
  const isInside = /^(0|10|127|22[4-9]|2[3-5]\d)\.|^192\.168\.|^169\.254\./;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(four, six), { minLength: 1, maxLength: 6 }),
      async (answer) => {
        const given = await make({ lookup: answering(...answer) })
          .addresses(HOST, false).catch(() => []);
        const plain = given.map((a) => a.replace("::ffff:", ""));
        assert.deepEqual(plain.filter((a) => isInside.test(a)), []);
        assert.deepEqual(plain.filter((a) => a.includes(":")), []);
      },
    ),
    { numRuns: 300 },
  );
});

for (const opensPrivate of [false, true]) {
  Deno.test(`addresses() refuses a listener of ours as a loop${opensPrivate ? ", also where the host is opened" : ""}`, async () => {
    const egress = make({
      lookup: answering("127.0.0.1"),
      isOurs: (address, port) => address === "127.0.0.1" && port === 443,
    });
    const { status, code, error } = await failureOf(
      egress.addresses(HOST, opensPrivate),
    );
    assert.deepEqual(
      [status, code, error],
      [400, "own-address", "proxy_loop_detected"],
    );
  });
}

Deno.test("addresses() names what opens an address that is not public", async () => {
  const egress = make({ lookup: answering("10.9.8.7") });
  const { status, error, message } = await failureOf(
    egress.addresses(HOST, false),
  );
  assert.deepEqual([status, error, message], [
    403,
    "destination_ip_prohibited",
    '"api.example.com" resolves to an address that is not public; --allow-private api.example.com:443 opens it',
  ]);
});

const LOOKUPS: readonly (readonly [string, () => Promise<string[]>, string])[] =
  [
    [
      "a name that does not exist",
      () => Promise.reject(systemError("ENOTFOUND")),
      "no-such-host",
    ],
    ["a name without an address", answering(), "no-such-host"],
    [
      "a name service that does not answer",
      () => Promise.reject(systemError("EAI_AGAIN")),
      "name-not-resolved",
    ],
  ];
for (const [what, lookup, code] of LOOKUPS) {
  Deno.test(`addresses() fails with ${code} for ${what}`, async () => {
    const failure = await failureOf(make({ lookup }).addresses(HOST, false));
    assert.deepEqual(
      [failure.status, failure.code, failure.error],
      [502, code, "dns_error"],
    );
  });
}

Deno.test("addresses() asks the system, with its hosts file", async () => {
  const egress = new Egress({ isOurs: () => false, clock: new FakeClock() });
  const found = await egress.addresses({ host: "localhost", port: 1 }, true);
  assert(found.every((address) => ["127.0.0.1", "::1"].includes(address)));
});

Deno.test("addresses() tells a name that the system does not know", async () => {
  const egress = new Egress({ isOurs: () => false, clock: new FakeClock() });
  const authority = { host: "moat-test.invalid", port: 1 };
  assert.match(
    await codeOf(egress.addresses(authority, true)),
    /no-such-host|name-not-resolved/,
  );
});

Deno.test("connect() dials the address that it checked, although the name changes (rebinding)", async () => {
  let lookups = 0;
  const dialled: string[] = [];
  const egress = make({
    lookup: () => Promise.resolve([lookups++ === 0 ? PUBLIC : "127.0.0.1"]),
    dial: ({ hostname }) => {
      dialled.push(hostname);
      return Promise.resolve(fakeConn());
    },
  });
  await egress.connect(HOST, false);
  assert.deepEqual([lookups, dialled], [1, [PUBLIC]]);
});

Deno.test("connect() dials nothing when it refuses", async () => {
  let dialled = 0;
  const egress = make({
    lookup: answering("10.0.0.1"),
    dial: () => Promise.reject(dialled++),
  });
  await codeOf(egress.connect(HOST, false));
  assert.equal(dialled, 0);
});

Deno.test("connect() switches Nagle's algorithm off", async () => {
  const conn = fakeConn();
  const egress = make({
    lookup: answering(PUBLIC),
    dial: () => Promise.resolve(conn),
  });
  await egress.connect(HOST, false);
  assert.equal(conn.noDelay, true);
});

/** Dials that end when the test says so, by address. */
class Dials {
  readonly begun: string[] = [];
  readonly aborted: string[] = [];
  readonly #ends = new Map<string, PromiseWithResolvers<Deno.TcpConn>>();

  readonly dial: Dial = ({ hostname, signal }) => {
    this.begun.push(hostname);
    const end = Promise.withResolvers<Deno.TcpConn>();
    this.#ends.set(hostname, end);
    signal.addEventListener("abort", () => {
      this.aborted.push(hostname);
      end.reject(signal.reason);
    });
    return end.promise;
  };

  succeed(hostname: string): ReturnType<typeof fakeConn> {
    const conn = fakeConn();
    this.#ends.get(hostname)?.resolve(conn);
    return conn;
  }

  fail(hostname: string, code: string): void {
    this.#ends.get(hostname)?.reject(systemError(code));
  }
}

function race(...addresses: string[]): {
  dials: Dials;
  clock: FakeClock;
  egress: Egress;
} {
  const dials = new Dials();
  const clock = new FakeClock();
  const egress = make({
    lookup: answering(...addresses),
    dial: dials.dial,
    clock,
  });
  return { dials, clock, egress };
}

Deno.test("connect() dials the next address after 250 ms", async () => {
  const { dials, clock, egress } = race("8.8.8.8", "8.8.4.4");
  const done = egress.connect(HOST, false);
  await settle();
  await clock.advance(249);
  const before = [...dials.begun];
  await clock.advance(1);
  dials.succeed("8.8.4.4");
  await done;
  assert.deepEqual([before, dials.begun], [["8.8.8.8"], [
    "8.8.8.8",
    "8.8.4.4",
  ]]);
});

Deno.test("connect() dials the next address at once when one is refused", async () => {
  const { dials, egress } = race("8.8.8.8", "8.8.4.4");
  const done = egress.connect(HOST, false);
  await settle();
  dials.fail("8.8.8.8", "ECONNREFUSED");
  await settle();
  const conn = dials.succeed("8.8.4.4");
  assert.equal(await done, conn);
});

Deno.test("connect() takes the first that answers, and ends the others", async () => {
  const { dials, clock, egress } = race("8.8.8.8", "8.8.4.4");
  const done = egress.connect(HOST, false);
  await settle();
  await clock.advance(250);
  const conn = dials.succeed("8.8.8.8");
  assert.equal(await done, conn);
  assert.deepEqual([dials.aborted.includes("8.8.4.4"), conn.isClosed], [
    true,
    false,
  ]);
});

Deno.test("connect() closes a connection that comes too late", async () => {
  const { dials, clock, egress } = race("8.8.8.8", "8.8.4.4");
  const done = egress.connect(HOST, false);
  await settle();
  await clock.advance(250);
  const [won, late] = [dials.succeed("8.8.4.4"), dials.succeed("8.8.8.8")];
  assert.equal(await done, won);
  await settle();
  assert.equal(late.isClosed, true);
});

Deno.test("connect() gives up after 30 s, of which the look-up is a part", async () => {
  const clock = new FakeClock();
  const found = Promise.withResolvers<string[]>();
  const dials = new Dials();
  const egress = make({
    lookup: () => found.promise,
    dial: dials.dial,
    clock,
  });
  const failure = failureOf(egress.connect(HOST, false));
  await settle();
  await clock.advance(20_000);
  found.resolve([PUBLIC]);
  await settle();
  await clock.advance(10_000);
  const { status, code, error } = await failure;
  assert.deepEqual([status, code, error, dials.aborted], [
    504,
    "connection-timeout",
    "connection_timeout",
    [PUBLIC],
  ]);
});

Deno.test("connect() gives up on a name after 30 s", async () => {
  const clock = new FakeClock();
  const egress = make({ lookup: () => new Promise(() => {}), clock });
  const failure = failureOf(egress.connect(HOST, false));
  await settle();
  await clock.advance(30_000);
  const { status, code, error } = await failure;
  assert.deepEqual([status, code, error], [504, "dns-timeout", "dns_timeout"]);
});

Deno.test("connect() ends with its client's reason while a name is looked up", async () => {
  const gone = new AbortController();
  const egress = make({ lookup: () => new Promise(() => {}) });
  const failure = failureOf(egress.connect(HOST, false, gone.signal));
  gone.abort("gone");
  assert.equal(await failure, "gone");
});

Deno.test("connect() ends its attempts when its client goes", async () => {
  const gone = new AbortController();
  const { dials, clock, egress } = race("8.8.8.8", "8.8.4.4");
  const failure = failureOf(egress.connect(HOST, false, gone.signal));
  await settle();
  await clock.advance(250);
  gone.abort("gone");
  assert.deepEqual([await failure, dials.aborted], ["gone", [
    "8.8.8.8",
    "8.8.4.4",
  ]]);
});

Deno.test("connect() looks nothing up for a client that has gone", async () => {
  let lookups = 0;
  const egress = make({ lookup: () => Promise.reject(lookups++) });
  const work = egress.connect(HOST, false, AbortSignal.abort("gone"));
  assert.deepEqual([await failureOf(work), lookups], ["gone", 0]);
});

Deno.test("connect() leaves no listener at a signal that lives on", async () => {
  const { signal } = new AbortController();
  let listeners = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    listeners++;
    add(...args);
  };
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    listeners--;
    remove(...args);
  };
  const egress = make({
    lookup: answering(PUBLIC),
    dial: () => Promise.resolve(fakeConn()),
  });
  await egress.connect(HOST, false, signal);
  assert.equal(listeners, 0);
});

for (const end of ["success", "failure"]) {
  Deno.test(`connect() leaves no timer behind after ${end}`, async () => {
    let timers = 0;
    const egress = make({
      lookup: answering("8.8.8.8", "8.8.4.4"),
      dial: () =>
        end === "success"
          ? Promise.resolve(fakeConn())
          : Promise.reject(systemError("ECONNREFUSED")),
      clock: {
        now: () => 0,
        after: () => {
          timers++;
          let isOver = false;
          return () => {
            if (!isOver) timers--;
            isOver = true;
          };
        },
      },
    });
    await egress.connect(HOST, false).catch(() => {});
    assert.equal(timers, 0);
  });
}

const DIALS: readonly (readonly [
  system: string,
  status: number,
  code: string,
  error: string,
])[] = [
  ["ECONNREFUSED", 502, "connection-refused", "connection_refused"],
  ["ETIMEDOUT", 504, "connection-timeout", "connection_timeout"],
  ["EHOSTUNREACH", 502, "unroutable", "destination_ip_unroutable"],
  ["ENETUNREACH", 502, "unroutable", "destination_ip_unroutable"],
  ["EMFILE", 503, "connection-limit", "connection_limit_reached"],
  ["ECONNRESET", 502, "connection-failed", "destination_unavailable"],
];
for (const [system, ...expect] of DIALS) {
  Deno.test(`connect() fails with ${expect.join(" ")} on ${system}`, async () => {
    const egress = make({
      lookup: answering(PUBLIC),
      dial: () => Promise.reject(systemError(system)),
    });
    const failure = await failureOf(egress.connect(HOST, false));
    assert.deepEqual([failure.status, failure.code, failure.error], expect);
  });
}

Deno.test("connect() shows no address in any message", async () => {
  const lookups = [answering("10.1.2.3"), answering("169.254.169.254")];
  const failures = [
    ...lookups.map((lookup) => make({ lookup }).connect(HOST, false)),
    ...DIALS.map(([code]) =>
      make({
        lookup: answering("8.8.8.8"),
        dial: () => Promise.reject(systemError(code)),
      }).connect(HOST, false)
    ),
  ].map(failureOf);
  for (const failure of failures) {
    assert.doesNotMatch((await failure).message, /\d+\.\d+/);
  }
});

function real(): Egress {
  return new Egress({ isOurs: () => false, clock: new FakeClock() });
}

Deno.test("connect() reaches a listener", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  using conn = await real().connect({ host: "localhost", port }, true);
  using accepted = await listener.accept();
  assert.equal((accepted.remoteAddr as Deno.NetAddr).port, conn.localAddr.port);
});

Deno.test("connect() tells a port where nobody listens", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  assert.equal(
    await codeOf(real().connect({ host: "127.0.0.1", port }, true)),
    "connection-refused",
  );
});

Deno.test("connect() leaves a black hole when its client goes", async () => {
  // What the queue holds is never accepted: the next connection gets no answer.
  using listener = Deno.listen({
    hostname: "127.0.0.1",
    port: 0,
    tcpBacklog: 1,
  });
  const { port } = listener.addr;
  const gone = new AbortController();
  const works = Array.from(
    { length: 5 },
    () =>
      real().connect({ host: "127.0.0.1", port }, true, gone.signal).then(
        (conn) => {
          conn.close();
          return "connected";
        },
        (error) => error,
      ),
  );
  setTimeout(() => gone.abort("gone"), 50);
  assert((await Promise.all(works)).includes("gone"));
});
