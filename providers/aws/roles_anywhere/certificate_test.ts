/** Certificates that openssl made, and what openssl says of them. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { MoatError } from "$core/errors.ts";
import {
  makeCertificate,
  noOpenssl,
  openssl,
  PKI_NOW,
  pkiPath,
} from "../../../tests/support/anywhere_pki.ts";
import { testUnless } from "../../../tests/support/conditional.ts";
import {
  type Certificate,
  checkValidity,
  orderChain,
  parseCertificate,
  pickLeaf,
  subjectText,
} from "./certificate.ts";
import { readPem } from "./pem.ts";

const DAY = 24 * 60 * 60_000;
const now = PKI_NOW;

async function load(name: string): Promise<Certificate> {
  const [block] = readPem(await Deno.readFile(pkiPath(`${name}.crt`)));
  return parseCertificate(block?.der ?? new Uint8Array());
}

/** Root, two intermediates, a leaf, and a stranger. */
async function family(): Promise<Record<string, Certificate>> {
  await makeCertificate("root", { isAuthority: true });
  await makeCertificate("upper", { issuer: "root", isAuthority: true });
  await makeCertificate("lower", { issuer: "upper", isAuthority: true });
  await makeCertificate("leaf", { issuer: "lower" });
  await makeCertificate("stranger", { isAuthority: true });
  const names = ["root", "upper", "lower", "leaf", "stranger"];
  const all = await Promise.all(names.map(load));
  return Object.fromEntries(names.map((name, i) => [name, all[i]])) as Record<
    string,
    Certificate
  >;
}

/** The named members, which are all there. */
async function members<const N extends string>(
  ...names: N[]
): Promise<{ [K in N]: Certificate }> {
  const all = await family();
  return Object.fromEntries(names.map((name) => [name, all[name]])) as {
    [K in N]: Certificate;
  };
}

const subjects = (chain: readonly Certificate[]) => chain.map(subjectText);

async function x509(name: string, ...args: string[]): Promise<string> {
  const printed = await openssl(
    "x509",
    "-noout",
    "-in",
    `${name}.crt`,
    ...args,
  );
  return new TextDecoder().decode(printed);
}

const SERIALS = [
  "1",
  "127",
  "128",
  "255",
  "256",
  "0x7fffffffffffffff",
  "0x8000000000000000",
  "0x00ffffffffffffffffffffffffffffffffffffff",
  "0xffffffffffffffffffffffffffffffffffffffff",
];
for (const serial of SERIALS) {
  testUnless(
    noOpenssl,
    `parseCertificate() reads the serial number ${serial}`,
    async () => {
      await makeCertificate(`serial-${serial}`, { serial, key: "serial" });
      const certificate = await load(`serial-${serial}`);
      assert.equal(certificate.serial, BigInt(serial).toString());
    },
  );
}

for (const name of ["root", "leaf"]) {
  testUnless(
    noOpenssl,
    `parseCertificate() reads what openssl reads of a ${name}`,
    async () => {
      await family();
      const certificate = await load(name);
      const text = await x509(name, "-serial", "-startdate", "-enddate");
      const [, serial, start, end] =
        /serial=(\w+)\nnotBefore=(.*)\nnotAfter=(.*)\n/.exec(text) ?? [];
      assert.equal(certificate.serial, BigInt(`0x${serial}`).toString());
      assert.equal(certificate.notBefore, Date.parse(start ?? ""));
      assert.equal(certificate.notAfter, Date.parse(end ?? ""));
    },
  );
}

testUnless(
  noOpenssl,
  "parseCertificate() reads the key identifiers",
  async () => {
    const { leaf, lower } = await members("leaf", "lower");
    const text = await x509("leaf", "-ext", "subjectKeyIdentifier");
    const [, id] = /\n\s*([0-9A-F:]+)\s*$/.exec(text) ?? [];
    assert.equal(leaf.keyId, id?.replaceAll(":", "").toLowerCase());
    assert.equal(leaf.issuerKeyId, lower.keyId);
  },
);

testUnless(
  noOpenssl,
  "parseCertificate() reads dates of 2050 and later",
  async () => {
    await makeCertificate("far", { days: 36_500 });
    const far = await load("far");
    assert.ok(Math.abs(far.notAfter - now - 36_500 * DAY) < DAY);
  },
);

testUnless(
  noOpenssl,
  "parseCertificate() leaves out what follows, as in a trusted certificate",
  async () => {
    await family();
    const der = await openssl("x509", "-in", "leaf.crt", "-outform", "DER");
    const padded = Uint8Array.from([...der, 0x30, 0]);
    assert.equal(parseCertificate(padded).der.length, der.length);
  },
);

testUnless(noOpenssl, "parseCertificate() refuses every cut", async () => {
  const { leaf } = await members("leaf");
  fc.assert(fc.property(fc.nat(leaf.der.length - 1), (end) => {
    assert.throws(() => parseCertificate(leaf.der.slice(0, end)), SyntaxError);
  }));
});

testUnless(
  noOpenssl,
  "parseCertificate() throws nothing but SyntaxError, whatever is changed",
  async () => {
    const { leaf } = await members("leaf");
    const change = fc.tuple(fc.nat(leaf.der.length - 1), fc.nat(255));
    fc.assert(
      fc.property(change, ([at, byte]) => {
        const changed = leaf.der.slice();
        changed[at] = byte;
        try {
          parseCertificate(changed);
        } catch (error) {
          assert.ok(error instanceof SyntaxError, String(error));
        }
      }),
      { numRuns: 500 },
    );
  },
);

testUnless(
  noOpenssl,
  "subjectText() shows the subject without control characters",
  async () => {
    await makeCertificate("esc", { subject: "a\u001b[31mb" });
    assert.equal(subjectText(await load("esc")), "CN=a?[31mb");
  },
);

testUnless(
  noOpenssl,
  "orderChain() goes up from the leaf, from any order",
  async () => {
    const { root, upper, lower, leaf } = await members(
      ...["root", "upper", "lower", "leaf"] as const,
    );
    const all = [root, upper, lower, leaf];
    fc.assert(
      fc.property(fc.shuffledSubarray(all, { minLength: 4 }), (pool) => {
        const chain = orderChain(leaf, pool, now);
        assert.deepEqual(subjects(chain), ["CN=lower", "CN=upper"]);
      }),
    );
  },
);

const CHAINS: [name: string, pool: string[], expected: string[]][] = [
  ["the leaf alone gives none", ["leaf"], []],
  ["strangers that lead nowhere are left out", ["leaf", "lower", "stranger"], [
    "CN=lower",
  ]],
  ["a gap further up ends it", ["leaf", "lower", "root"], ["CN=lower"]],
];
for (const [name, pool, expected] of CHAINS) {
  testUnless(noOpenssl, `orderChain(): ${name}`, async () => {
    const all = await family();
    const given = pool.map((name) => all[name] as Certificate);
    const chain = orderChain(all["leaf"] as Certificate, given, now);
    assert.deepEqual(subjects(chain), expected);
  });
}

testUnless(
  noOpenssl,
  "orderChain() leaves out the root that issued the leaf",
  async () => {
    const { root } = await members("root");
    await makeCertificate("direct", { issuer: "root" });
    assert.deepEqual(orderChain(await load("direct"), [root], now), []);
  },
);

const GAPS = [["root"], ["upper"], ["upper", "root"], ["stranger"]];
for (const names of GAPS) {
  testUnless(
    noOpenssl,
    `orderChain() misses the issuer with only ${names.join(" and ")}`,
    async () => {
      const all = await family();
      const leaf = all["leaf"] as Certificate;
      const pool = [leaf, ...names.map((name) => all[name] as Certificate)];
      assert.throws(
        () => orderChain(leaf, pool, now),
        (error) =>
          error instanceof MoatError && error.code === "chain-incomplete" &&
          names.every((name) => error.message.includes(`"CN=${name}"`)),
      );
    },
  );
}

testUnless(
  noOpenssl,
  "orderChain() misses nothing when only another leaf is given",
  async () => {
    const { leaf } = await members("leaf");
    await makeCertificate("other-leaf");
    assert.deepEqual(
      orderChain(leaf, [leaf, await load("other-leaf")], now),
      [],
    );
  },
);

testUnless(
  noOpenssl,
  "orderChain() takes the issuer with the leaf's key identifier",
  async () => {
    const { lower, leaf } = await members("lower", "leaf");
    // The same name with a new key, as after a renewal of the CA.
    await makeCertificate("lower2", {
      ...{ issuer: "upper", subject: "lower", isAuthority: true, days: 60 },
    });
    const chain = orderChain(leaf, [await load("lower2"), lower], now);
    assert.deepEqual(chain.map((c) => c.serial), [lower.serial]);
  },
);

testUnless(
  noOpenssl,
  "orderChain() takes of two certificates of an issuer the valid one",
  async () => {
    const { lower, leaf } = await members("lower", "leaf");
    await makeCertificate("lower-short", {
      ...{ issuer: "upper", subject: "lower", key: "lower", isAuthority: true },
      days: 3,
    });
    const short = await load("lower-short");
    const later = now + 10 * DAY;
    const chain = orderChain(leaf, [short, lower], later);
    assert.deepEqual(chain.map((c) => c.serial), [lower.serial]);
  },
);

testUnless(
  noOpenssl,
  "orderChain() goes by names where there are no key identifiers",
  async () => {
    await makeCertificate("plain-root", {
      isAuthority: true,
      hasKeyIds: false,
    });
    await makeCertificate("plain", {
      ...{ issuer: "plain-root", isAuthority: true, hasKeyIds: false },
    });
    await makeCertificate("plain-leaf", { issuer: "plain", hasKeyIds: false });
    const [leaf, issuer] = await Promise.all(["plain-leaf", "plain"].map(load));
    const chain = orderChain(leaf as Certificate, [issuer as Certificate], now);
    assert.deepEqual(subjects(chain), ["CN=plain"]);
  },
);

testUnless(
  noOpenssl,
  "orderChain() ends where two authorities certify each other",
  async () => {
    await makeCertificate("a", { isAuthority: true });
    await makeCertificate("b", { isAuthority: true });
    await makeCertificate("a-by-b", {
      issuer: "b",
      subject: "a",
      key: "a",
      isAuthority: true,
    });
    await makeCertificate("b-by-a", {
      issuer: "a",
      subject: "b",
      key: "b",
      isAuthority: true,
    });
    await makeCertificate("a-leaf", { issuer: "a" });
    const [leaf, ...pool] = await Promise.all(
      ["a-leaf", "a-by-b", "b-by-a"].map(load),
    );
    const chain = orderChain(leaf as Certificate, pool, now);
    assert.deepEqual(subjects(chain), ["CN=a", "CN=b"]);
  },
);

testUnless(
  noOpenssl,
  "pickLeaf() is the certificate of the key, wherever it is",
  async () => {
    const { root, upper, lower, leaf } = await members(
      ...["root", "upper", "lower", "leaf"] as const,
    );
    const all = [root, upper, lower, leaf];
    fc.assert(
      fc.property(fc.shuffledSubarray(all, { minLength: 4 }), (pool) => {
        assert.equal(pickLeaf(pool, leaf.publicKey, now), leaf);
      }),
    );
  },
);

testUnless(
  noOpenssl,
  "pickLeaf() takes the renewal with the same key",
  async () => {
    const { leaf } = await members("leaf");
    await makeCertificate("renewed", {
      issuer: "lower",
      key: "leaf",
      days: 90,
    });
    const renewed = await load("renewed");
    assert.equal(pickLeaf([leaf, renewed], leaf.publicKey, now), renewed);
  },
);

testUnless(
  noOpenssl,
  "pickLeaf() waits for a renewal that is not valid yet",
  async () => {
    const { leaf } = await members("leaf");
    const early = { ...leaf, notBefore: now + DAY, notAfter: now + 90 * DAY };
    assert.equal(pickLeaf([early, leaf], leaf.publicKey, now), leaf);
  },
);

testUnless(noOpenssl, "pickLeaf() finds none for another key", async () => {
  const { leaf, root } = await members("leaf", "root");
  assert.equal(pickLeaf([leaf], root.publicKey, now), undefined);
});

const TIMES: [
  name: string,
  shift: (c: Certificate) => number,
  code?: string,
][] = [
  ["its first millisecond", (c) => c.notBefore],
  ["its last millisecond", (c) => c.notAfter],
  ["just before", (c) => c.notBefore - 1, "certificate-not-yet-valid"],
  ["just after", (c) => c.notAfter + 1, "certificate-expired"],
];
for (const [name, shift, code] of TIMES) {
  testUnless(
    noOpenssl,
    `checkValidity() at ${name} is ${code ?? "right"}`,
    async () => {
      const { leaf } = await members("leaf");
      const check = () => checkValidity(leaf, shift(leaf));
      if (!code) return check();
      assert.throws(
        check,
        (error) =>
          error instanceof MoatError && error.code === code &&
          error.message.includes('"CN=leaf"'),
      );
    },
  );
}
