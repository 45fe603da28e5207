import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { join } from "node:path";
import { testUnless } from "../../tests/support/conditional.ts";
import { FakeClock } from "../../tests/support/fake_clock.ts";
import { run, which } from "../../tests/support/run.ts";
import { tempHome } from "../../tests/support/temp_home.ts";
import { type Leaf, LeafMinter, needsRenewal } from "./leaf.ts";
import { type Root, RootStore } from "./root.ts";

const HOUR_MS = 60 * 60_000;
const DAY_MS = 24 * HOUR_MS;
const noOpenssl = which("openssl") ? undefined : "not installed: openssl";

/** A name of 130 characters. */
const LONG = `${"a".repeat(60)}.${"b".repeat(56)}.example.test`;

/** A minter with a home of its own. */
async function mintingHome(now?: number) {
  const clock = new FakeClock(now);
  const home = await tempHome();
  const store = new RootStore(home.paths, clock);
  return {
    home,
    clock,
    store,
    minter: new LeafMinter(store, clock),
    [Symbol.asyncDispose]: () => home[Symbol.asyncDispose](),
  };
}

/** Counts what is asked of it; its root can be changed. */
class CountingRoots {
  readonly #store: RootStore;
  change: Partial<Root> = {};
  stamps = 0;
  loads = 0;

  constructor(store: RootStore) {
    this.#store = store;
  }

  stamp(): Promise<string> {
    this.stamps++;
    return this.#store.stamp();
  }

  async loadOrCreate(): Promise<Root> {
    this.loads++;
    return { ...await this.#store.loadOrCreate(), ...this.change };
  }
}

/** The certificates of a chain, parsed. */
function chainOf({ cert }: Leaf): X509Certificate[] {
  return cert.split(/(?<=-----END CERTIFICATE-----\n)/)
    .filter((text) => text !== "").map((text) => new X509Certificate(text));
}

const leafOf = (leaf: Leaf) => chainOf(leaf)[0] as X509Certificate;

/** What openssl says about a new leaf. */
async function describe(host: string): Promise<string> {
  await using bed = await mintingHome();
  const file = join(bed.home.directory, "leaf.pem");
  await Deno.writeTextFile(file, (await bed.minter.mint(host)).cert);
  const { code, stdout, stderr } = await run(
    ["openssl", "x509", "-in", file, "-noout", "-text"],
  );
  assert.equal(code, 0, stderr);
  return stdout;
}

// What it says

const HOSTS: [kind: string, host: string, names: string, subject: string][] = [
  ["a DNS name", "a.example.test", "DNS:a.example.test", "CN = a.example.test"],
  ["a single label", "localhost", "DNS:localhost", "CN = localhost"],
  ["an A-label", "xn--bcher-kva.test", "DNS:xn--bcher-kva.test", ""],
  ["an underscore", "a_b.example.test", "DNS:a_b.example.test", ""],
  ["IPv4", "192.0.2.7", "IP Address:192.0.2.7", "CN = 192.0.2.7"],
  ["IPv6", "2001:db8::7", "IP Address:2001:DB8:0:0:0:0:0:7", ""],
  ["IPv6 loopback", "::1", "IP Address:0:0:0:0:0:0:0:1", "CN = ::1"],
  [
    "IPv6 with its gap at the end",
    "fd00::",
    "IP Address:FD00:0:0:0:0:0:0:0",
    "",
  ],
  [
    "IPv6 without a gap",
    "1:2:3:4:5:6:7:8",
    "IP Address:1:2:3:4:5:6:7:8",
    "",
  ],
  [
    "IPv4 in IPv6",
    "::ffff:c000:207",
    "IP Address:0:0:0:0:0:FFFF:C000:207",
    "",
  ],
];
for (const [kind, host, names, subject] of HOSTS) {
  testUnless(noOpenssl, `mint() names ${kind}`, async () => {
    const text = await describe(host);
    const [, found] = text.match(/Alternative Name:\s+(.*)\n/) ?? [];
    assert.equal(found, names);
  });

  testUnless(noOpenssl, `mint() makes ${kind} the common name`, async () => {
    const [, found] = (await describe(host)).match(/Subject: (.*)\n/) ?? [];
    assert.equal(found, subject || `CN = ${host}`);
  });
}

testUnless(
  noOpenssl,
  "mint() names a long host in a critical extension alone",
  async () => {
    const text = await describe(LONG);
    assert.match(
      text,
      new RegExp(
        `Subject: \\n[^]*Alternative Name: critical\\s+DNS:${LONG}\\n`,
      ),
    );
  },
);

testUnless(
  noOpenssl,
  "mint() still makes 64 characters a common name",
  async () => {
    const host = `${"a".repeat(51)}.example.test`;
    assert.match(await describe(host), new RegExp(`Subject: CN = ${host}\\n`));
  },
);

const TEXT: [what: string, wanted: RegExp][] = [
  ["no CA", /Basic Constraints: critical\s+CA:FALSE\n/],
  [
    "nothing but signatures and servers",
    /Key Usage: critical\s+Digital Signature\s+X509v3 Extended Key Usage: *\n\s+TLS Web Server Authentication\n/,
  ],
  ["a key on P-256", /NIST CURVE: P-256/],
  ["ECDSA with SHA-256", /Signature Algorithm: ecdsa-with-SHA256/],
  ["version 3", /Version: 3 \(0x2\)/],
];
for (const [what, wanted] of TEXT) {
  testUnless(noOpenssl, `mint() makes ${what}`, async () => {
    assert.match(await describe("a.example.test"), wanted);
  });
}

for (const host of ["a.example.test", LONG, "192.0.2.7", "::1"]) {
  testUnless(
    noOpenssl,
    `mint() makes what openssl verifies strictly: ${host.slice(0, 20)}`,
    async () => {
      await using bed = await mintingHome(Date.now());
      const file = join(bed.home.directory, "leaf.pem");
      await Deno.writeTextFile(file, (await bed.minter.mint(host)).cert);
      const { stdout, stderr } = await run([
        ...["openssl", "verify", "-x509_strict", "-check_ss_sig"],
        ...["-purpose", "sslserver", "-CAfile", bed.store.path, file],
      ]);
      assert.equal(stdout, `${file}: OK\n`, stderr);
    },
  );
}

Deno.test("mint() puts the root behind the leaf", async () => {
  await using bed = await mintingHome();
  const chain = chainOf(await bed.minter.mint("a.test"));
  const { fingerprint } = await bed.store.loadOrCreate();
  assert.deepEqual([chain.length, chain[1]?.fingerprint256], [2, fingerprint]);
});

Deno.test("mint() signs with the root's key", async () => {
  await using bed = await mintingHome();
  const [leaf, root] = chainOf(await bed.minter.mint("a.test"));
  assert(leaf && root);
  assert(leaf.verify(root.publicKey) && leaf.issuer === root.subject);
});

Deno.test("mint() gives the key of its certificate", async () => {
  await using bed = await mintingHome();
  const leaf = await bed.minter.mint("a.test");
  assert(leafOf(leaf).checkPrivateKey(createPrivateKey(leaf.key)));
});

Deno.test("mint() never gives the root's key", async () => {
  await using bed = await mintingHome();
  const leaf = await bed.minter.mint("a.test");
  const root = Deno.readTextFileSync(join(bed.home.paths.ca, "root.key"));
  assert(!(leaf.cert + leaf.key).includes(root.split("\n")[2] ?? ""));
});

Deno.test("mint() has one key for all hosts", async () => {
  await using bed = await mintingHome();
  const one = await bed.minter.mint("a.test");
  const two = await bed.minter.mint("b.test");
  assert.equal(one.key, two.key);
});

Deno.test("mint() has another key in another process", async () => {
  await using bed = await mintingHome();
  const other = new LeafMinter(bed.store, bed.clock);
  const one = await bed.minter.mint("a.test");
  const two = await other.mint("a.test");
  assert.notEqual(one.key, two.key);
});

Deno.test("mint() makes serial numbers that are positive and not repeated", async () => {
  await using bed = await mintingHome();
  const serials: string[] = [];
  for (let count = 0; count < 50; count++) {
    serials.push(leafOf(await bed.minter.mint("a.test")).serialNumber);
  }
  const isFine = (text: string) => /^[0-9A-F]{1,32}$/.test(text);
  assert.deepEqual(
    [new Set(serials).size, serials.filter((text) => !isFine(text))],
    [50, []],
  );
});

// How long it lasts

Deno.test("mint() begins a day ago and lasts seven days", async () => {
  await using bed = await mintingHome();
  const leaf = leafOf(await bed.minter.mint("a.test"));
  const [from, to] = [leaf.validFromDate, leaf.validToDate];
  assert.deepEqual(
    [from.getTime() - bed.clock.now(), to.getTime() - from.getTime()],
    [-DAY_MS, 7 * DAY_MS],
  );
});

Deno.test("mint() tells the times of the certificate", async () => {
  await using bed = await mintingHome(Date.UTC(2026, 0) + 1234);
  const leaf = await bed.minter.mint("a.test");
  const { validFromDate, validToDate } = leafOf(leaf);
  assert.deepEqual(
    [leaf.notBefore, leaf.expiresAt],
    [validFromDate.getTime(), validToDate.getTime()],
  );
});

Deno.test("mint() ends with the root", async () => {
  await using bed = await mintingHome();
  const { expiresAt } = await bed.store.loadOrCreate();
  await bed.clock.advance(expiresAt - bed.clock.now() - HOUR_MS);
  assert.equal((await bed.minter.mint("a.test")).expiresAt, expiresAt);
});

Deno.test("mint() refuses a root that ended meanwhile", async () => {
  await using bed = await mintingHome();
  const { expiresAt } = await bed.store.loadOrCreate();
  await bed.clock.advance(expiresAt - bed.clock.now() - 1);
  await bed.minter.mint("a.test");
  await bed.clock.advance(1);
  await assert.rejects(bed.minter.mint("a.test"), { code: "root-expired" });
});

const LIVES: [name: string, at: number, wanted: boolean][] = [
  ["is false for a new leaf", 0, false],
  ["is false until two thirds of its life are gone", 4 * DAY_MS, false],
  ["is true in its last third", 4 * DAY_MS + 1, true],
  ["is true at its end", 6 * DAY_MS, true],
  ["is false when the clock went back an hour", -HOUR_MS, false],
  ["is true when the clock went back before its begin", -DAY_MS - 1, true],
];
for (const [name, at, wanted] of LIVES) {
  Deno.test(`needsRenewal() ${name}`, () => {
    const leaf = { notBefore: -DAY_MS, expiresAt: 6 * DAY_MS };
    assert.equal(needsRenewal(leaf, at), wanted);
  });
}

Deno.test("needsRenewal() is false for a new leaf that ends in a minute, with its root", () => {
  assert(!needsRenewal({ notBefore: -DAY_MS, expiresAt: 60_000 }, 0));
});

// Which hosts

const REFUSED: [name: string, host: string][] = [
  ["nothing", ""],
  ["a wildcard", "*.example.test"],
  ["upper case", "A.example.test"],
  ["a final dot", "a.example.test."],
  ["an empty label", "a..test"],
  ["a label of 64 characters", `${"a".repeat(64)}.test`],
  ["a name of 254 characters", `${"a.".repeat(126)}ab`],
  ["a port", "a.example.test:443"],
  ["brackets", "[::1]"],
  ["IPv6 with a dotted part", "::ffff:192.0.2.7"],
  ["a zone", "fe80::1%eth0"],
  ["a U-label", "bücher.test"],
  ["a NUL", "a.test\0.example.test"],
  ["a line feed", "a.test\n"],
  ["a comma", "a.test,DNS:b.test"],
];
for (const [name, host] of REFUSED) {
  Deno.test(`mint() refuses ${name}`, async () => {
    await using bed = await mintingHome();
    await assert.rejects(bed.minter.mint(host), { code: "bad-host" });
  });
}

// Which root

Deno.test("mint() uses a new root after a second", async () => {
  await using bed = await mintingHome();
  await bed.minter.mint("a.test");
  const { root } = await bed.store.rotate();
  await bed.clock.advance(1000);
  const chain = chainOf(await bed.minter.mint("a.test"));
  assert.equal(chain[1]?.fingerprint256, root.fingerprint);
});

Deno.test("mint() looks at the root's file at most once a second", async () => {
  await using bed = await mintingHome();
  const roots = new CountingRoots(bed.store);
  const minter = new LeafMinter(roots, bed.clock);
  await minter.mint("a.test");
  roots.stamps = 0;
  for (let count = 0; count < 10; count++) {
    await bed.clock.advance(250);
    await minter.mint("a.test");
  }
  assert.deepEqual([roots.stamps, roots.loads], [2, 1]);
});

Deno.test("mint() looks at the root's file when the clock went back", async () => {
  await using bed = await mintingHome();
  const roots = new CountingRoots(bed.store);
  const minter = new LeafMinter(roots, bed.clock);
  await minter.mint("a.test");
  await bed.clock.advance(-HOUR_MS);
  await minter.mint("a.test");
  assert.equal(roots.stamps, 1);
});

Deno.test("mint() loads the root once for many at the same time", async () => {
  await using bed = await mintingHome();
  const roots = new CountingRoots(bed.store);
  const minter = new LeafMinter(roots, bed.clock);
  await Promise.all(["a.test", "b.test", "c.test"].map((h) => minter.mint(h)));
  assert.equal(roots.loads, 1);
});

Deno.test("mint() makes nothing while the root is not to be used", async () => {
  await using bed = await mintingHome();
  await bed.minter.mint("a.test");
  await Deno.writeTextFile(bed.store.path, "nothing");
  await bed.clock.advance(1000);
  await assert.rejects(bed.minter.mint("a.test"), { code: "bad-root" });
});

Deno.test("mint() goes on when the root can be used again", async () => {
  await using bed = await mintingHome();
  await bed.minter.mint("a.test");
  const text = await Deno.readTextFile(bed.store.path);
  await Deno.writeTextFile(bed.store.path, "nothing");
  await bed.clock.advance(1000);
  await bed.minter.mint("a.test").catch(() => {});
  await Deno.writeTextFile(bed.store.path, text);
  await bed.minter.mint("a.test");
});

Deno.test("checkRoot() gives the stamp of the root", async () => {
  await using bed = await mintingHome();
  assert.equal(await bed.minter.checkRoot(), await bed.store.stamp());
});

Deno.test("checkRoot() sees a new root after a second", async () => {
  await using bed = await mintingHome();
  const before = await bed.minter.checkRoot();
  const { root } = await bed.store.rotate();
  const soon = await bed.minter.checkRoot();
  await bed.clock.advance(1000);
  const later = await bed.minter.checkRoot();
  assert.deepEqual([soon, later], [before, root.stamp]);
});
