/** Choosing among files, and reading them anew when they change. */

import assert from "node:assert/strict";
import { MoatError } from "$core/errors.ts";
import { Secret } from "$core/secret.ts";
import {
  joinFiles,
  makeCertificate,
  makeKey,
  noOpenssl,
  openssl,
  PKI_NOW,
  pkiPath,
} from "../../../tests/support/anywhere_pki.ts";
import { testUnless } from "../../../tests/support/conditional.ts";
import type { Anywhere } from "../settings.ts";
import { subjectText } from "./certificate.ts";
import { checkIdentity, identityStamp, loadIdentity } from "./identity.ts";
import { readMaterial } from "./material.ts";

const DAY = 24 * 60 * 60_000;
const now = PKI_NOW;
const SERVICE = { trustAnchorArn: "", profileArn: "", region: "" };

/** Root, two intermediates and a leaf. */
async function makeFamily(): Promise<void> {
  await makeCertificate("root", { isAuthority: true });
  await makeCertificate("upper", { issuer: "root", isAuthority: true });
  await makeCertificate("lower", {
    ...{ issuer: "upper", isAuthority: true, days: 20 },
  });
  await makeCertificate("leaf", { issuer: "lower", serial: "0xff" });
}

/** Files as settings name them; made anew by each test. */
async function settings(more: Partial<Anywhere> = {}): Promise<Anywhere> {
  await makeFamily();
  const certificates = [pkiPath("leaf.crt")];
  return { ...SERVICE, certificates, privateKey: pkiPath("leaf.key"), ...more };
}

async function codeOf(anywhere: Anywhere, at = now): Promise<string> {
  const error = await loadIdentity(anywhere, undefined, at)
    .catch((error) => error);
  assert.ok(error instanceof MoatError, String(error));
  return error.code;
}

const names = ({ chain }: Awaited<ReturnType<typeof loadIdentity>>) =>
  chain.map(subjectText);

testUnless(
  noOpenssl,
  "loadIdentity() takes a full chain in one file, in any order",
  async () => {
    const anywhere = await settings();
    const file = await joinFiles(
      ...[
        "full.pem",
        "upper.crt",
        "root.crt",
        "leaf.crt",
        "lower.crt",
      ] as const,
    );
    const found = await loadIdentity(
      { ...anywhere, certificates: [file] },
      ...[undefined, now] as const,
    );
    assert.equal(subjectText(found.leaf), "CN=leaf");
    assert.deepEqual(names(found), ["CN=lower", "CN=upper"]);
  },
);

testUnless(
  noOpenssl,
  "loadIdentity() takes a chain from several files, PEM and DER",
  async () => {
    const anywhere = await settings();
    const der = pkiPath("lower.der");
    await openssl("x509", "-in", "lower.crt", "-outform", "DER", "-out", der);
    const found = await loadIdentity(
      { ...anywhere, intermediates: [pkiPath("upper.crt"), der] },
      ...[undefined, now] as const,
    );
    assert.deepEqual(names(found), ["CN=lower", "CN=upper"]);
  },
);

testUnless(noOpenssl, "loadIdentity() sends no certificate twice", async () => {
  const anywhere = await settings();
  const twice = await joinFiles(
    ...["twice.pem", "lower.crt", "leaf.crt", "lower.crt", "leaf.crt"] as const,
  );
  const intermediates = [pkiPath("lower.crt"), pkiPath("upper.crt")];
  const found = await loadIdentity(
    { ...anywhere, certificates: [twice], intermediates },
    ...[undefined, now] as const,
  );
  assert.deepEqual(names(found), ["CN=lower", "CN=upper"]);
});

testUnless(
  noOpenssl,
  "readMaterial() keeps each certificate once",
  async () => {
    const anywhere = await settings({ intermediates: [pkiPath("leaf.crt")] });
    const { pool } = await readMaterial(anywhere, undefined);
    assert.equal(pool.length, 1);
  },
);

testUnless(
  noOpenssl,
  "loadIdentity() takes key, leaf and chain from PKCS#12",
  async () => {
    await makeFamily();
    const chain = await joinFiles("p12-chain.pem", "upper.crt", "lower.crt");
    const path = pkiPath("identity.p12");
    await openssl(
      ...["pkcs12", "-export", "-inkey", "leaf.key", "-in", "leaf.crt"],
      ...["-certfile", chain, "-out", path, "-passout", "pass:secret"],
    );
    const found = await loadIdentity(
      { ...SERVICE, certificates: [path] },
      ...[new Secret("secret"), now] as const,
    );
    assert.equal(subjectText(found.leaf), "CN=leaf");
    assert.deepEqual(names(found), ["CN=lower", "CN=upper"]);
  },
);

testUnless(
  noOpenssl,
  "loadIdentity() refuses a certificate of another key",
  async () => {
    const privateKey = await makeKey("another");
    assert.equal(await codeOf(await settings({ privateKey })), "key-mismatch");
  },
);

testUnless(
  noOpenssl,
  "loadIdentity() refuses an expired certificate",
  async () => {
    const code = await codeOf(await settings(), now + 31 * DAY);
    assert.equal(code, "certificate-expired");
  },
);

testUnless(
  noOpenssl,
  "loadIdentity() refuses a certificate that is not valid yet",
  async () => {
    const code = await codeOf(await settings(), now - DAY);
    assert.equal(code, "certificate-not-yet-valid");
  },
);

testUnless(
  noOpenssl,
  "loadIdentity() refuses an expired intermediate, by its name",
  async () => {
    const anywhere = await settings({ intermediates: [pkiPath("lower.crt")] });
    await assert.rejects(
      loadIdentity(anywhere, undefined, now + 25 * DAY),
      (error) =>
        error instanceof MoatError && error.code === "certificate-expired" &&
        error.message.includes('"CN=lower"'),
    );
  },
);

testUnless(
  noOpenssl,
  "loadIdentity() refuses a chain with a gap below what was given",
  async () => {
    const anywhere = await settings({ intermediates: [pkiPath("upper.crt")] });
    assert.equal(await codeOf(anywhere), "chain-incomplete");
  },
);

testUnless(
  noOpenssl,
  "loadIdentity() takes a leaf alone, since the anchor may have issued it",
  async () => {
    const found = await loadIdentity(await settings(), undefined, now);
    assert.deepEqual(names(found), []);
  },
);

const UNREADABLE: [name: string, content: string | undefined][] = [
  ["a file that is not there", undefined],
  ["an empty file", ""],
  ["text", "hello"],
  ["a key", "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"],
  [
    "a damaged one",
    "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
  ],
];
for (const [name, content] of UNREADABLE) {
  for (const member of ["certificates", "intermediates"] as const) {
    testUnless(
      noOpenssl,
      `loadIdentity() refuses ${name} among the ${member}`,
      async () => {
        const path = pkiPath(`unreadable ${name}`);
        if (content !== undefined) await Deno.writeTextFile(path, content);
        const anywhere = await settings({ [member]: [path] });
        const error = await loadIdentity(anywhere, undefined, now)
          .catch((error) => error);
        assert.equal(error.code, "certificate-unreadable");
        assert.ok(error.message.includes(`"${path}"`));
      },
    );
  }
}

testUnless(noOpenssl, "loadIdentity() refuses a directory", async () => {
  const anywhere = await settings({ certificates: [pkiPath("")] });
  assert.equal(await codeOf(anywhere), "certificate-unreadable");
});

/** A leaf with its own key, below a copy of the files' directory. */
async function renewable(name: string): Promise<Anywhere> {
  await makeFamily();
  const [certificate, key] = [pkiPath(`${name}.crt`), pkiPath(`${name}.key`)];
  await Deno.copyFile(pkiPath("leaf.crt"), certificate);
  await Deno.copyFile(pkiPath("leaf.key"), key);
  return { ...SERVICE, certificates: [certificate], privateKey: key };
}

testUnless(
  noOpenssl,
  "loadIdentity() keeps the key as long as the files are the same",
  async () => {
    const anywhere = await renewable("kept");
    const first = await loadIdentity(anywhere, undefined, now);
    const second = await loadIdentity(anywhere, undefined, now);
    assert.equal(second.key, first.key);
  },
);

testUnless(
  noOpenssl,
  "loadIdentity() reads renewed files, with no restart",
  async () => {
    const anywhere = await renewable("renewed");
    await loadIdentity(anywhere, undefined, now);
    await makeCertificate("next", { issuer: "lower" });
    await Deno.copyFile(pkiPath("next.crt"), pkiPath("renewed.crt"));
    await Deno.copyFile(pkiPath("next.key"), pkiPath("renewed.key"));
    const found = await loadIdentity(anywhere, undefined, now);
    assert.equal(subjectText(found.leaf), "CN=next");
  },
);

testUnless(
  noOpenssl,
  "loadIdentity() recovers after half a renewal",
  async () => {
    const anywhere = await renewable("half");
    await makeCertificate("next", { issuer: "lower" });
    await Deno.copyFile(pkiPath("next.crt"), pkiPath("half.crt"));
    assert.equal(await codeOf(anywhere), "key-mismatch");
    await Deno.copyFile(pkiPath("next.key"), pkiPath("half.key"));
    const found = await loadIdentity(anywhere, undefined, now);
    assert.equal(subjectText(found.leaf), "CN=next");
  },
);

testUnless(
  noOpenssl,
  "loadIdentity() does not lend an opened key to another passphrase",
  async () => {
    const anywhere = await renewable("locked");
    await openssl(
      ...["pkcs8", "-topk8", "-in", "leaf.key", "-out", "locked.key"],
      ...["-v2", "aes-256-cbc", "-passout", "pass:right"],
    );
    await loadIdentity(anywhere, new Secret("right"), now);
    await assert.rejects(loadIdentity(anywhere, new Secret("wrong"), now));
    await assert.rejects(loadIdentity(anywhere, undefined, now));
  },
);

const CHANGES: [name: string, change: (path: string) => Promise<void>][] = [
  ["is written", (path) => Deno.writeTextFile(path, "x")],
  ["is replaced", async (path) => {
    await Deno.copyFile(path, `${path}.new`);
    await Deno.rename(`${path}.new`, path);
  }],
  ["gets another time", (path) => Deno.utime(path, 1, 1)],
  ["disappears", (path) => Deno.remove(path)],
];
const MEMBERS = [
  ["certificates", (path: string) => [path]],
  ["intermediates", (path: string) => [path]],
  ["privateKey", (path: string) => path],
  ["passphraseFile", (path: string) => path],
] as const;
for (const [name, change] of CHANGES) {
  for (const [member, value] of MEMBERS) {
    testUnless(
      noOpenssl,
      `identityStamp() changes when ${member} ${name}`,
      async () => {
        const path = pkiPath(`stamp ${member} ${name}`);
        await Deno.writeTextFile(path, "before");
        const anywhere = await settings({ [member]: value(path) });
        const before = await identityStamp(anywhere);
        await change(path);
        assert.notEqual(await identityStamp(anywhere), before);
      },
    );
  }
}

testUnless(
  noOpenssl,
  "identityStamp() stays the same without a change",
  async () => {
    const anywhere = await settings();
    const before = await identityStamp(anywhere);
    await loadIdentity(anywhere, undefined, now);
    assert.equal(await identityStamp(anywhere), before);
  },
);

testUnless(
  noOpenssl,
  "checkIdentity() tells of subject, serial and chain",
  async () => {
    const intermediates = ["lower.crt", "upper.crt"].map(pkiPath);
    const anywhere = await settings({ intermediates });
    const { subject, serial, chainLength } = await checkIdentity(
      ...[anywhere, undefined, now] as const,
    );
    assert.deepEqual({ subject, serial, chainLength }, {
      ...{ subject: "CN=leaf", serial: "255", chainLength: 2 },
    });
  },
);

testUnless(
  noOpenssl,
  "checkIdentity() counts the first certificate to end",
  async () => {
    const intermediates = ["lower.crt", "upper.crt"].map(pkiPath);
    const whole = await settings({ intermediates });
    const alone = await settings();
    const [first, last] = await Promise.all(
      [whole, alone].map((anywhere) => checkIdentity(anywhere, undefined, now)),
    );
    const days = Math.round(
      ((last?.expiresAt ?? 0) - (first?.expiresAt ?? 0)) / DAY,
    );
    assert.equal(days, 10);
  },
);

testUnless(noOpenssl, "checkIdentity() fails as the call would", async () => {
  const privateKey = await makeKey("another");
  const anywhere = await settings({ privateKey });
  await assert.rejects(checkIdentity(anywhere, undefined, now), {
    code: "key-mismatch",
  });
});
