import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import { systemClock } from "$core/clock.ts";
import { testUnless } from "../../tests/support/conditional.ts";
import { FakeClock } from "../../tests/support/fake_clock.ts";
import { run, which } from "../../tests/support/run.ts";
import {
  modeOf,
  namesIn,
  type TempHome,
  tempHome,
} from "../../tests/support/temp_home.ts";
import { endingSoon, RootStore } from "./root.ts";

const DAY_MS = 24 * 60 * 60_000;
const noOpenssl = which("openssl") ? undefined : "not installed: openssl";

/** A home with a root, and where its files are. */
async function rootedHome() {
  const home = await tempHome();
  const clock = new FakeClock();
  const store = new RootStore(home.paths, clock);
  const root = await store.loadOrCreate();
  return {
    home,
    clock,
    store,
    root,
    key: join(home.paths.ca, "root.key"),
    [Symbol.asyncDispose]: () => home[Symbol.asyncDispose](),
  };
}

async function contentOf(directory: string): Promise<string[]> {
  const names = await namesIn(directory);
  return names.map((name) => Deno.readTextFileSync(join(directory, name)));
}

async function openssl(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(["openssl", ...args]);
  assert.equal(code, 0, stderr);
  return stdout;
}

// Making

Deno.test("loadOrCreate() makes certificate and key for this user alone", async () => {
  await using bed = await rootedHome();
  const { ca } = bed.home.paths;
  assert.deepEqual(
    [await namesIn(ca), await modeOf(ca), await modeOf(bed.key)],
    [["root.key", "root.pem"], 0o700, 0o600],
  );
});

Deno.test("loadOrCreate() gives the same root again", async () => {
  await using bed = await rootedHome();
  const again = await new RootStore(bed.home.paths, bed.clock).loadOrCreate();
  assert.equal(again.fingerprint, bed.root.fingerprint);
});

Deno.test("loadOrCreate() begins a day ago and ends within ten years", async () => {
  await using bed = await rootedHome();
  const { notBefore, expiresAt } = bed.root;
  assert.deepEqual(
    [notBefore - bed.clock.now(), expiresAt - notBefore],
    [-DAY_MS, 3650 * DAY_MS],
  );
});

Deno.test("loadOrCreate() tells what the certificate says", async () => {
  await using bed = await rootedHome();
  const parsed = new X509Certificate(Deno.readTextFileSync(bed.store.path));
  const { subject, fingerprint, notBefore, expiresAt } = bed.root;
  assert.deepEqual(
    [`CN=${subject}`, fingerprint, notBefore, expiresAt],
    [
      parsed.subject,
      parsed.fingerprint256,
      parsed.validFromDate.getTime(),
      parsed.validToDate.getTime(),
    ],
  );
});

Deno.test("loadOrCreate() names the roots of two homes differently", async () => {
  await using one = await rootedHome();
  await using two = await rootedHome();
  assert.notEqual(one.root.subject, two.root.subject);
});

Deno.test("loadOrCreate() hands out a key that cannot be exported", async () => {
  await using bed = await rootedHome();
  await assert.rejects(crypto.subtle.exportKey("pkcs8", bed.root.signer));
});

const TEXT: [what: string, wanted: RegExp][] = [
  ["a CA of path length 0", /Basic Constraints: critical\s+CA:TRUE, pathlen:0/],
  [
    "the usage of a CA",
    /Key Usage: critical\s+Certificate Sign, CRL Sign\n/,
  ],
  ["a key on P-256", /NIST CURVE: P-256/],
  ["ECDSA with SHA-256", /Signature Algorithm: ecdsa-with-SHA256/],
  [
    "one key identifier for both roles",
    /Subject Key Identifier:\s+((?:[0-9A-F]{2}:?){20})\s+X509v3 Authority Key Identifier:\s+\1\s/,
  ],
  ["its key identifier in its name", /Subject: CN = moat root [0-9a-f]{8}\n/],
];
for (const [what, wanted] of TEXT) {
  testUnless(noOpenssl, `loadOrCreate() makes ${what}`, async () => {
    await using bed = await rootedHome();
    const { path } = bed.store;
    assert.match(await openssl("x509", "-in", path, "-noout", "-text"), wanted);
  });
}

Deno.test("loadOrCreate() makes one root for processes that begin together", async () => {
  await using home = await tempHome();
  const child = new URL("../../tests/support/root_child.ts", import.meta.url);
  const results = await Promise.all(
    Array.from({ length: 4 }, () =>
      run([
        ...[Deno.execPath(), "run", "--allow-all", "--no-check"],
        child.pathname,
        home.directory,
      ])),
  );
  const printed = results.map(({ stdout, stderr }) => stdout.trim() || stderr);
  const { fingerprint } = await new RootStore(home.paths, systemClock)
    .loadOrCreate();
  assert.deepEqual(printed, Array(4).fill(fingerprint));
});

// Refusing

/** What is wrong with a home, and how it is told. */
const REFUSED: {
  name: string;
  spoil: (bed: Awaited<ReturnType<typeof rootedHome>>) => unknown;
  code: string;
  message: RegExp;
}[] = [
  {
    name: "a key that others can read",
    spoil: ({ key }) => Deno.chmod(key, 0o640),
    code: "insecure-file",
    message: /root\.key": mode is 0640, must be 0600$/,
  },
  {
    name: "a directory that others can enter",
    spoil: ({ home }) => Deno.chmod(home.paths.ca, 0o755),
    code: "insecure-directory",
    message: /mode is 0755/,
  },
  {
    name: "a certificate without its key",
    spoil: ({ key }) => Deno.remove(key),
    code: "bad-root",
    message: /its key is missing in ".*root\.key"$/,
  },
  {
    name: "a key without its certificate",
    spoil: ({ store }) => Deno.remove(store.path),
    code: "bad-root",
    message: /root\.pem" is missing$/,
  },
  {
    name: "the key of another home",
    spoil: async ({ key }) => {
      await using other = await rootedHome();
      Deno.writeTextFileSync(key, Deno.readTextFileSync(other.key));
    },
    code: "bad-root",
    message: /root\.key" is not the key of ".*root\.pem"$/,
  },
  {
    name: "a file that holds no certificate",
    spoil: ({ store }) => Deno.writeTextFile(store.path, "nothing"),
    code: "bad-root",
    message: /root\.pem" holds no certificate$/,
  },
  {
    name: "an empty certificate",
    spoil: ({ store }) => Deno.writeTextFile(store.path, ""),
    code: "bad-root",
    message: /root\.pem" holds no certificate$/,
  },
  {
    name: "a file that holds no key",
    spoil: ({ key }) => Deno.writeTextFile(key, "CANARY"),
    code: "bad-root",
    message: /root\.key" holds no P-256 key$/,
  },
  {
    name: "a damaged key",
    spoil: ({ key }) =>
      Deno.writeTextFile(
        key,
        "-----BEGIN PRIVATE KEY-----\nQ0FOQVJZ\n-----END PRIVATE KEY-----\n",
      ),
    code: "bad-root",
    message: /root\.key" holds no P-256 key$/,
  },
  {
    name: "an expired root",
    spoil: ({ clock }) => clock.advance(3650 * DAY_MS),
    code: "root-expired",
    message: /it ended 2035-12-29T00:00:00Z$/,
  },
  {
    name: "a root from the future",
    spoil: ({ clock }) => clock.advance(-2 * DAY_MS),
    code: "root-not-yet-valid",
    message: /begins 2025-12-31T00:00:00Z, and .* says 2025-12-30T00:00:00Z$/,
  },
];
for (const { name, spoil, code, message } of REFUSED) {
  Deno.test(`loadOrCreate() refuses ${name}`, async () => {
    await using bed = await rootedHome();
    await spoil(bed);
    await assert.rejects(bed.store.loadOrCreate(), { code, message });
  });

  Deno.test(`loadOrCreate() names moat ca rotate or chmod for ${name}`, async () => {
    await using bed = await rootedHome();
    await spoil(bed);
    await assert.rejects(bed.store.loadOrCreate(), {
      hint: /moat ca rotate|chmod 700/,
    });
  });

  Deno.test(`loadOrCreate() changes nothing for ${name}`, async () => {
    await using bed = await rootedHome();
    await spoil(bed);
    const before = await contentOf(bed.home.paths.ca);
    await bed.store.loadOrCreate().catch(() => {});
    assert.deepEqual(await contentOf(bed.home.paths.ca), before);
  });
}

/** Puts a pair in the place of a home's root. */
async function replaceRoot(home: TempHome, ...kind: string[]): Promise<void> {
  const [key, path] = ["root.key", "root.pem"].map((name) =>
    join(home.paths.ca, name)
  ) as [string, string];
  await openssl(
    ...["req", "-x509", "-newkey", ...kind, "-nodes", "-keyout", key],
    ...["-out", path, "-days", "3650", "-subj", "/CN=other"],
  );
  await Deno.chmod(key, 0o600);
}

const FOREIGN: [name: string, kind: string[], message: RegExp][] = [
  [
    "a CA that moat did not make",
    ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    /root\.pem" was not made by moat$/,
  ],
  ["a CA of RSA", ["rsa:2048"], /root\.key" holds no P-256 key$/],
];
for (const [name, kind, message] of FOREIGN) {
  testUnless(noOpenssl, `loadOrCreate() refuses ${name}`, async () => {
    await using bed = await rootedHome();
    await replaceRoot(bed.home, ...kind);
    const store = new RootStore(bed.home.paths, systemClock);
    await assert.rejects(store.loadOrCreate(), { code: "bad-root", message });
  });
}

// Rotating

Deno.test("rotate() makes another root and tells the old one's fingerprint", async () => {
  await using bed = await rootedHome();
  const { before, root } = await bed.store.rotate();
  assert.deepEqual(
    [before, root.fingerprint === before],
    [bed.root.fingerprint, false],
  );
});

Deno.test("rotate() leaves nothing of the old root", async () => {
  await using bed = await rootedHome();
  const old = await contentOf(bed.home.paths.ca);
  await bed.store.rotate();
  const now = await contentOf(bed.home.paths.ca);
  assert.deepEqual(
    [now.length, now.filter((text) => old.includes(text))],
    [2, []],
  );
});

Deno.test("rotate() removes what a killed one left behind", async () => {
  await using bed = await rootedHome();
  const { ca } = bed.home.paths;
  await Deno.writeTextFile(join(ca, ".root.key.0123456789abcdef.tmp"), "");
  await bed.store.rotate();
  assert.deepEqual(await namesIn(ca), ["root.key", "root.pem"]);
});

Deno.test("rotate() makes the first root, too", async () => {
  await using home = await tempHome();
  const store = new RootStore(home.paths, new FakeClock());
  const { before, root } = await store.rotate();
  const loaded = await store.loadOrCreate();
  assert.deepEqual([before, loaded.fingerprint], [undefined, root.fingerprint]);
});

for (const { name, spoil } of REFUSED) {
  if (name.startsWith("a directory")) continue;
  Deno.test(`rotate() cures ${name}`, async () => {
    await using bed = await rootedHome();
    await spoil(bed);
    const { root } = await bed.store.rotate();
    const loaded = await bed.store.loadOrCreate();
    assert.deepEqual(
      [loaded.fingerprint, await modeOf(bed.key)],
      [root.fingerprint, 0o600],
    );
  });
}

Deno.test("rotate() shows nobody a key with the certificate of another", async () => {
  await using home = await tempHome();
  const store = new RootStore(home.paths, systemClock);
  await store.loadOrCreate();
  let isDone = false;
  const rotating = (async () => {
    for (let count = 0; count < 10; count++) await store.rotate();
    isDone = true;
  })();
  while (!isDone) await store.loadOrCreate();
  await rotating;
});

Deno.test("stamp() is empty without a root", async () => {
  await using home = await tempHome();
  assert.equal(await new RootStore(home.paths, systemClock).stamp(), "");
});

Deno.test("stamp() changes with the root", async () => {
  await using bed = await rootedHome();
  const { root } = await bed.store.rotate();
  assert.deepEqual(
    [root.stamp === bed.root.stamp, root.stamp],
    [false, await bed.store.stamp()],
  );
});

// Warning

const ENDINGS: [left: string, ms: number, warns: boolean][] = [
  ["31 days", 31 * DAY_MS, false],
  ["30 days", 30 * DAY_MS, true],
  ["nothing", -1, true],
];
for (const [left, ms, warns] of ENDINGS) {
  Deno.test(`endingSoon() ${warns ? "warns" : "is silent"} with ${left} left`, () => {
    const found = endingSoon({ expiresAt: 100 * DAY_MS }, 100 * DAY_MS - ms);
    assert.equal(found !== undefined, warns);
  });
}
