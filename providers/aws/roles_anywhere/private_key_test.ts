/** Every kind of key in every form; openssl writes the key and checks the signature. */

import assert from "node:assert/strict";
import { MoatError } from "$core/errors.ts";
import { Secret } from "$core/secret.ts";
import {
  KEY_KINDS,
  type KeyKind,
  makeCertificate,
  makeKey,
  noOpenssl,
  openssl,
  pkiPath,
} from "../../../tests/support/anywhere_pki.ts";
import { assertNoCanary, CANARY } from "../../../tests/support/canary.ts";
import { testUnless } from "../../../tests/support/conditional.ts";
import type { Anywhere } from "../settings.ts";
import { readMaterial } from "./material.ts";

const SERVICE = {
  trustAnchorArn:
    "arn:aws:rolesanywhere:eu-central-1:123456789012:trust-anchor/1",
  profileArn: "arn:aws:rolesanywhere:eu-central-1:123456789012:profile/1",
  region: "eu-central-1",
};
const PASSPHRASE = new Secret(CANARY);
const AES = ["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA256"];
const PASS_OUT = ["-passout", `pass:${CANARY}`];

/** Writes a key anew; `$in` is its PKCS#8 in PEM, `$crt` its certificate. */
interface Form {
  readonly name: string;
  readonly isEncrypted?: boolean;
  readonly isPkcs12?: boolean;
  write(input: string, output: string, kind: KeyKind): string[];
}

const pkcs8 = (...more: string[]): Form["write"] => (input, output) => [
  ...["pkcs8", "-topk8", "-in", input, "-out", output, ...more],
];
const traditional = (form: string): Form["write"] => (input, output, kind) =>
  kind === "RSA-2048"
    ? ["rsa", "-traditional", "-in", input, "-out", output, "-outform", form]
    : ["ec", "-in", input, "-out", output, "-outform", form];
const pkcs12 = (...more: string[]): Form["write"] => (input, output) => [
  ...["pkcs12", "-export", "-inkey", input, "-out", output],
  ...["-in", input.replace(/key$/, "crt"), ...more],
];

const FORMS: readonly Form[] = [
  { name: "PKCS#1 or SEC1 in PEM", write: traditional("PEM") },
  { name: "PKCS#1 or SEC1 in DER", write: traditional("DER") },
  { name: "PKCS#8 in PEM", write: pkcs8("-nocrypt") },
  { name: "PKCS#8 in DER", write: pkcs8("-nocrypt", "-outform", "DER") },
  {
    name: "encrypted PKCS#8 in PEM",
    isEncrypted: true,
    write: pkcs8(...AES, ...PASS_OUT),
  },
  {
    name: "encrypted PKCS#8 in DER",
    isEncrypted: true,
    write: pkcs8(...AES, ...PASS_OUT, "-outform", "DER"),
  },
  {
    name: "PKCS#12 of today",
    isPkcs12: true,
    write: pkcs12(...PASS_OUT),
  },
  {
    name: "PKCS#12 with triple DES and SHA-1",
    isPkcs12: true,
    write: pkcs12(
      ...["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES"],
      ...["-macalg", "sha1", ...PASS_OUT],
    ),
  },
];

const DATA = new TextEncoder().encode("AWS4-X509-…\nwhat is signed");

/** The files of a key in a form, as settings name them. */
async function write(
  kind: KeyKind,
  { name, isPkcs12, write }: Form,
): Promise<Anywhere> {
  const key = await makeKey(kind, kind);
  const certificate = await makeCertificate(kind);
  const path = pkiPath(`${kind} ${name.replaceAll(/\W/g, "-")}`);
  await openssl(...write(key, path, kind));
  return isPkcs12
    ? { ...SERVICE, certificates: [path] }
    : { ...SERVICE, certificates: [certificate], privateKey: path };
}

for (const kind of KEY_KINDS) {
  for (const form of FORMS) {
    testUnless(noOpenssl, `a ${kind} key in ${form.name} signs`, async () => {
      const anywhere = await write(kind, form);
      const passphrase = form.isEncrypted || form.isPkcs12
        ? PASSPHRASE
        : undefined;
      const { key } = await readMaterial(anywhere, passphrase);
      assert.equal(key.kind, kind === "RSA-2048" ? "RSA" : "ECDSA");
      await assertVerifies(kind, await key.sign(DATA));
    });
  }
}

async function assertVerifies(
  kind: KeyKind,
  signature: Uint8Array,
): Promise<void> {
  const [data, proof, half] = ["data", "signature", "public"].map((name) =>
    pkiPath(`${name}-${crypto.randomUUID()}`)
  ) as [string, string, string];
  await Deno.writeFile(data, DATA);
  await Deno.writeFile(proof, signature);
  await openssl("pkey", "-in", `${kind}.key`, "-pubout", "-out", half);
  await openssl(
    ...["dgst", "-sha256", "-verify", half, "-signature", proof, data],
  );
}

for (const kind of KEY_KINDS) {
  testUnless(
    noOpenssl,
    `the public half of a ${kind} key is its certificate's`,
    async () => {
      const anywhere = {
        ...SERVICE,
        certificates: [await makeCertificate(kind, { kind })],
        privateKey: await makeKey(kind, kind),
      };
      const { key, pool: [certificate] } = await readMaterial(
        anywhere,
        undefined,
      );
      assert.deepEqual(certificate?.publicKey, key.publicKey);
    },
  );
}

testUnless(
  noOpenssl,
  "a key of EC signs differently each time, and right",
  async () => {
    const privateKey = await makeKey("P-521", "P-521");
    const certificates = [await makeCertificate("P-521")];
    const { key } = await readMaterial(
      { ...SERVICE, certificates, privateKey },
      undefined,
    );
    const signatures = [];
    for (let i = 0; i < 8; i++) {
      const signature = await key.sign(DATA);
      await assertVerifies("P-521", signature);
      signatures.push(signature.toHex());
    }
    assert.equal(new Set(signatures).size, signatures.length);
  },
);

/** More ways in which openssl writes a key of P-256. */
const MORE: [name: string, args: string[]][] = [
  ["parameters before it", ["ecparam", "-name", "prime256v1", "-genkey"]],
  ["a compressed point", ["ec", "-conv_form", "compressed"]],
  ["no public half", ["ec", "-no_public"]],
  ["scrypt", ["pkcs8", "-topk8", "-scrypt", ...PASS_OUT]],
  ["AES-128 and SHA-512", [
    ...["pkcs8", "-topk8", "-v2", "aes-128-cbc"],
    ...["-v2prf", "hmacWithSHA512", ...PASS_OUT],
  ]],
];
for (const [name, args] of MORE) {
  testUnless(noOpenssl, `a key with ${name} is read`, async () => {
    const input = args[0] === "ecparam" ? [] : ["-in", await makeKey("P-256")];
    const privateKey = pkiPath(`more ${name}`);
    await openssl(...args, ...input, "-out", privateKey);
    const certificates = [await makeCertificate("P-256")];
    const { key } = await readMaterial(
      { ...SERVICE, certificates, privateKey },
      PASSPHRASE,
    );
    assert.equal(key.kind, "ECDSA");
  });
}

/** What cannot be used. */
const REFUSED: {
  name: string;
  args: string[];
  passphrase?: string;
  code: string;
  says: RegExp;
}[] = [
  {
    name: "an encrypted key without a passphrase",
    args: ["pkcs8", "-topk8", "-in", "P-256.key", ...AES, ...PASS_OUT],
    code: "key-encrypted",
    says: /is encrypted, and there is no passphrase/,
  },
  {
    name: "an encrypted key with an empty passphrase",
    args: ["pkcs8", "-topk8", "-in", "P-256.key", ...AES, ...PASS_OUT],
    passphrase: "",
    code: "key-encrypted",
    says: /is encrypted, and there is no passphrase/,
  },
  {
    name: "an encrypted key with another passphrase",
    args: ["pkcs8", "-topk8", "-in", "P-256.key", ...AES, ...PASS_OUT],
    passphrase: `${CANARY}x`,
    code: "key-encrypted",
    says: /the passphrase does not open it/,
  },
  {
    name: "PKCS#12 without a passphrase",
    args: [
      ...["pkcs12", "-export", "-inkey", "P-256.key", "-in", "P-256.crt"],
      ...PASS_OUT,
    ],
    code: "key-encrypted",
    says: /is encrypted, and there is no passphrase/,
  },
  {
    name: "PKCS#12 with another passphrase",
    args: [
      ...["pkcs12", "-export", "-inkey", "P-256.key", "-in", "P-256.crt"],
      ...PASS_OUT,
    ],
    passphrase: "other",
    code: "key-encrypted",
    says: /the passphrase does not open it/,
  },
  {
    name: "legacy encryption of EC",
    args: ["ec", "-aes256", "-in", "P-256.key", ...PASS_OUT],
    passphrase: CANARY,
    code: "key-encrypted",
    says: /wanted PKCS#8 with AES, found an older kind of encryption/,
  },
  {
    name: "legacy encryption of RSA",
    args: [
      ...["rsa", "-traditional", "-aes256", "-in", "RSA-2048.key"],
      ...PASS_OUT,
    ],
    passphrase: CANARY,
    code: "key-encrypted",
    says: /wanted PKCS#8 with AES, found an older kind of encryption/,
  },
  {
    name: "PKCS#8 with triple DES",
    args: [
      ...["pkcs8", "-topk8", "-v2", "des3", "-in", "P-256.key", ...PASS_OUT],
    ],
    passphrase: CANARY,
    code: "key-encrypted",
    says: /wanted PKCS#8 with AES, found an older kind of encryption/,
  },
  {
    name: "PKCS#8 with SHA-1",
    args: [
      ...["pkcs8", "-topk8", "-v2prf", "hmacWithSHA1", "-in", "P-256.key"],
      ...PASS_OUT,
    ],
    passphrase: CANARY,
    code: "key-encrypted",
    says: /wanted PKCS#8 with AES, found an older kind of encryption/,
  },
  {
    name: "PKCS#8 with SHA-512 cut to 256 bits",
    args: [
      ...["pkcs8", "-topk8", "-v2prf", "hmacWithSHA512-256", "-in"],
      ...["P-256.key", ...PASS_OUT],
    ],
    passphrase: CANARY,
    code: "key-encrypted",
    says: /wanted PKCS#8 with AES, found an older kind of encryption/,
  },
  {
    name: "PKCS#8 of before PBES2",
    args: [
      ...["pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES", "-in", "P-256.key"],
      ...PASS_OUT,
    ],
    passphrase: CANARY,
    code: "key-encrypted",
    says: /wanted PKCS#8 with AES, found an older kind of encryption/,
  },
  {
    name: "a key of another curve",
    args: [
      "genpkey",
      "-algorithm",
      "EC",
      "-pkeyopt",
      "ec_paramgen_curve:secp256k1",
    ],
    code: "key-unreadable",
    says: /wanted RSA, or EC on P-256, P-384 or P-521, found EC on secp256k1/,
  },
  {
    name: "a key of another kind",
    args: ["genpkey", "-algorithm", "ed25519"],
    code: "key-unreadable",
    says: /wanted RSA, or EC on .*, found ed25519/,
  },
  {
    name: "a certificate",
    args: ["x509", "-in", "P-256.crt"],
    code: "key-unreadable",
    says: /found no private key in it/,
  },
];

async function refusal(anywhere: Anywhere, passphrase?: string) {
  const secret = passphrase === undefined ? undefined : new Secret(passphrase);
  const error = await readMaterial(anywhere, secret).catch((error) => error);
  assert.ok(error instanceof MoatError, String(error));
  assertNoCanary(error.message, error.hint ?? "");
  return error;
}

for (const { name, args, passphrase, code, says } of REFUSED) {
  testUnless(noOpenssl, `${name} is refused as ${code}`, async () => {
    await makeKey("RSA-2048", "RSA-2048");
    const certificates = [await makeCertificate("P-256")];
    const privateKey = pkiPath(`refused ${name}`);
    await openssl(...args, "-out", privateKey);
    const error = await refusal(
      { ...SERVICE, certificates, privateKey },
      passphrase,
    );
    assert.equal(error.code, code);
    assert.match(error.message, says);
    assert.ok(error.message.includes(privateKey));
  });
}

testUnless(
  noOpenssl,
  "the hint for legacy encryption is the command that converts it",
  async () => {
    const certificates = [await makeCertificate("P-256")];
    const privateKey = pkiPath("it's legacy.pem");
    await openssl(
      "ec",
      "-aes256",
      "-in",
      "P-256.key",
      "-out",
      privateKey,
      ...PASS_OUT,
    );
    const error = await refusal(
      { ...SERVICE, certificates, privateKey },
      CANARY,
    );
    const [command] = (error.hint ?? "").split(", then give ");
    const shell = await new Deno.Command("sh", {
      args: ["-c", `${command} -passin "$PASS" -passout "$PASS"`],
      env: { PASS: `pass:${CANARY}` },
    }).output();
    assert.ok(shell.success, new TextDecoder().decode(shell.stderr));
    const converted = {
      ...SERVICE,
      certificates,
      privateKey: `${privateKey}.pk8`,
    };
    const { key } = await readMaterial(converted, PASSPHRASE);
    await assertVerifies("P-256", await key.sign(DATA));
  },
);

const DAMAGED: [name: string, content: string][] = [
  ["an empty file", ""],
  ["text", `this is ${CANARY}`],
  ["zeros", "\0".repeat(100)],
  ["PEM without an end", "-----BEGIN PRIVATE KEY-----\nAQID\n"],
  [
    "PEM around nothing",
    "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
  ],
  [
    "an encrypted key that is none",
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
  ],
  ["a cut PKCS#12", "\x30\x09\x02\x01\x03\x30\x7f"],
  ["a file of more than 1 MiB", " ".repeat(1024 * 1024 + 1)],
];
for (const [name, content] of DAMAGED) {
  testUnless(noOpenssl, `${name} is refused as key-unreadable`, async () => {
    const certificates = [await makeCertificate("P-256")];
    const privateKey = pkiPath(`damaged ${name}`);
    await Deno.writeTextFile(privateKey, content);
    const error = await refusal({ ...SERVICE, certificates, privateKey }, "x");
    assert.equal(error.code, "key-unreadable");
  });
}

/** Work factors in DER, and what is put in their place. */
const ENDLESS: { name: string; options: string[]; put: [string, string] }[] = [
  {
    name: "PBKDF2",
    options: [...AES, "-iter", "1000000"],
    put: ["02030f4240", "02037fffff"],
  },
  {
    name: "scrypt",
    options: ["-scrypt"],
    put: ["02024000020108", "0202400002017f"],
  },
];
for (const { name, options, put } of ENDLESS) {
  testUnless(noOpenssl, `a key of endless ${name} is refused`, async () => {
    const certificates = [await makeCertificate("P-256")];
    const privateKey = pkiPath(`endless ${name}`);
    const input = await makeKey("P-256", "P-256");
    const write = pkcs8(...options, ...PASS_OUT, "-outform", "DER");
    await openssl(...write(input, privateKey, "P-256"));
    const hex = (await Deno.readFile(privateKey)).toHex();
    const bytes = Uint8Array.fromHex(hex.replace(...put));
    await Deno.writeFile(privateKey, bytes);
    const anywhere = { ...SERVICE, certificates, privateKey };
    assert.match((await refusal(anywhere, CANARY)).message, /damaged/);
  });
}

testUnless(noOpenssl, "PKCS#12 of endless work is refused", async () => {
  const input = await makeKey("P-256", "P-256");
  await makeCertificate("P-256");
  const file = pkiPath("endless.p12");
  const write = pkcs12("-iter", "1000000", ...PASS_OUT);
  await openssl(...write(input, file, "P-256"));
  const hex = (await Deno.readFile(file)).toHex();
  const bytes = hex.replaceAll("02030f4240", "02037fffff");
  await Deno.writeFile(file, Uint8Array.fromHex(bytes));
  const error = await refusal({ ...SERVICE, certificates: [file] }, CANARY);
  assert.match(error.message, /damaged/);
});

testUnless(
  noOpenssl,
  "a key that is not there is refused by its name",
  async () => {
    const certificates = [await makeCertificate("P-256")];
    const privateKey = pkiPath("absent.key");
    const error = await refusal({ ...SERVICE, certificates, privateKey });
    assert.equal(error.code, "key-unreadable");
    assert.equal(
      error.message,
      `Cannot use the private key "${privateKey}": there is no such file`,
    );
  },
);

testUnless(
  noOpenssl,
  "a passphrase comes from the first line of its file",
  async () => {
    const anywhere = await write("P-256", FORMS[4] as Form);
    const passphraseFile = pkiPath("passphrase");
    await Deno.writeTextFile(passphraseFile, `${CANARY}\r\nsecond line\n`);
    const { key } = await readMaterial(
      { ...anywhere, passphraseFile },
      undefined,
    );
    assert.equal(key.kind, "ECDSA");
  },
);

testUnless(
  noOpenssl,
  "a file of a passphrase that is not there is named",
  async () => {
    const anywhere = await write("P-256", FORMS[4] as Form);
    const passphraseFile = pkiPath("no passphrase");
    const error = await refusal({ ...anywhere, passphraseFile });
    assert.equal(error.code, "key-unreadable");
    assert.ok(error.message.includes(passphraseFile));
  },
);

testUnless(
  noOpenssl,
  "a file of a passphrase is not needed for a plain key",
  async () => {
    const anywhere = await write("P-256", FORMS[2] as Form);
    const passphraseFile = pkiPath("no passphrase");
    const { key } = await readMaterial(
      { ...anywhere, passphraseFile },
      undefined,
    );
    assert.equal(key.kind, "ECDSA");
  },
);

const PASSPHRASES: [name: string, passphrase: string][] = [
  ["no passphrase", ""],
  ["a passphrase beyond ASCII", "pässwörd ✓"],
];
for (const [name, passphrase] of PASSPHRASES) {
  testUnless(noOpenssl, `PKCS#12 with ${name} is opened`, async () => {
    const form = FORMS[6] as Form;
    const written = pkcs12("-passout", `pass:${passphrase}`);
    const anywhere = await write("P-256", { ...form, name, write: written });
    const { key } = await readMaterial(anywhere, new Secret(passphrase));
    assert.equal(key.kind, "ECDSA");
  });
}

for (const kind of ["RSA-2048", "P-521"] as const) {
  testUnless(
    noOpenssl,
    `PKCS#12 gives the ${kind} certificate byte for byte`,
    async () => {
      const anywhere = await write(kind, FORMS[6] as Form);
      const { pool } = await readMaterial(anywhere, PASSPHRASE);
      const der = await openssl(
        "x509",
        "-in",
        `${kind}.crt`,
        "-outform",
        "DER",
      );
      assert.deepEqual(pool.map((c) => c.der.toHex()), [der.toHex()]);
    },
  );
}

testUnless(
  noOpenssl,
  "a key in the certificate's PEM needs no file of its own",
  async () => {
    const together = pkiPath("together.pem");
    await makeCertificate("P-256");
    const parts = ["P-256.crt", "P-256.key"].map((name) =>
      Deno.readTextFileSync(pkiPath(name))
    );
    await Deno.writeTextFile(together, parts.join(""));
    const { key, pool } = await readMaterial(
      { ...SERVICE, certificates: [together] },
      undefined,
    );
    assert.deepEqual(pool[0]?.publicKey, key.publicKey);
  },
);
