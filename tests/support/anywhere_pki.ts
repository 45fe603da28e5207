/**
 * Keys and certificates by openssl, which is independent of what is tested.
 * Each is made once in a test process, since RSA keys take a while.
 *
 * @module
 */

import { join } from "node:path";

/** Why there can be no certificates; undefined if there can. */
export const noOpenssl: string | undefined = findOpenssl()
  ? undefined
  : "not installed: openssl";

/** Holds all files; removed with the test process. */
export const pkiDirectory: string = Deno.makeTempDirSync({
  prefix: "moat-pki-",
});
addEventListener(
  "unload",
  () => Deno.removeSync(pkiDirectory, { recursive: true }),
);

/** A time, in ms, when all certificates are valid: they begin as they are made. */
export const PKI_NOW: number = Math.ceil(Date.now() / 1000) * 1000 +
  60 * 60_000;

/** What a test's certificate has. */
export interface CertificateWish {
  /** Name of the key. Default: the certificate's own name. */
  readonly key?: string;
  /** Kind of a new key. Default: P-256. */
  readonly kind?: KeyKind;
  /** Name of the issuer's certificate. Default: itself. */
  readonly issuer?: string;
  /** Common name. Default: the certificate's name. */
  readonly subject?: string;
  /** Whether it may issue others. */
  readonly isAuthority?: boolean;
  /** From its making on. Default: 30. */
  readonly days?: number;
  /** Decimal or 0x… Default: random. */
  readonly serial?: string;
  /** Whether it has key identifiers. Default: yes. */
  readonly hasKeyIds?: boolean;
  /** Subject alternative names, such as `DNS:localhost,IP:127.0.0.1`. Default: none. */
  readonly names?: string;
  /** What its key is for, such as `digitalSignature`. Default: it does not say. */
  readonly usage?: string;
  /** First and last instant, in ms since the Unix epoch; in place of `days`, with an issuer. */
  readonly valid?: readonly [from: number, to: number];
}

/** The kinds of key that Roles Anywhere takes. */
export const KEY_KINDS = ["RSA-2048", "P-256", "P-384", "P-521"] as const;

/** One of {@link KEY_KINDS}. */
export type KeyKind = typeof KEY_KINDS[number];

/** The path of a file among the others. */
export function pkiPath(name: string): string {
  return join(pkiDirectory, name);
}

/**
 * Runs openssl among the files.
 *
 * @param args Its arguments.
 * @returns What it printed.
 * @throws {Error} If it fails, with what it said.
 */
export async function openssl(...args: string[]): Promise<Uint8Array> {
  const { success, stdout, stderr } = await new Deno.Command("openssl", {
    args,
    cwd: pkiDirectory,
    stdin: "null",
    signal: AbortSignal.timeout(30_000),
  }).output();
  if (success) return stdout;
  throw new Error(`openssl ${args[0]}: ${new TextDecoder().decode(stderr)}`);
}

const made = new Map<string, Promise<string>>();

function once(path: string, make: () => Promise<unknown>): Promise<string> {
  const known = made.get(path) ?? make().then(() => pkiPath(path));
  made.set(path, known);
  return known;
}

/**
 * Makes a key.
 *
 * @param name Of the key.
 * @param kind Its kind, if it is not there yet.
 * @returns The path of its PKCS#8 in PEM, NAME.key.
 */
export function makeKey(
  name: string,
  kind: KeyKind = "P-256",
): Promise<string> {
  const [algorithm, option] = kind === "RSA-2048"
    ? ["RSA", "rsa_keygen_bits:2048"] as const
    : ["EC", `ec_paramgen_curve:${kind}`] as const;
  return once(
    `${name}.key`,
    () =>
      openssl(
        ...["genpkey", "-algorithm", algorithm, "-pkeyopt", option],
        ...["-out", `${name}.key`],
      ),
  );
}

/**
 * Makes a certificate and, if need be, its key.
 *
 * @param name Of the certificate; its issuer's must have been made before.
 * @param wish What it has.
 * @returns The path of its PEM, NAME.crt.
 */
export function makeCertificate(
  name: string,
  wish: CertificateWish = {},
): Promise<string> {
  return once(`${name}.crt`, async () => {
    const { key = name, issuer, subject = name, days = 30 } = wish;
    await makeKey(key, wish.kind);
    const extensions = [
      `basicConstraints=critical,CA:${wish.isAuthority ? "TRUE" : "FALSE"}`,
      ...wish.hasKeyIds === false
        ? ["subjectKeyIdentifier=none", "authorityKeyIdentifier=none"]
        : ["subjectKeyIdentifier=hash", "authorityKeyIdentifier=keyid"],
      ...wish.names ? [`subjectAltName=${wish.names}`] : [],
      ...wish.usage ? [`keyUsage=critical,${wish.usage}`] : [],
    ];
    await Deno.writeTextFile(pkiPath(`${name}.ext`), extensions.join("\n"));
    await openssl(
      ...["req", "-new", "-key", `${key}.key`, "-out", `${name}.csr`],
      ...["-subj", `/CN=${subject}`],
    );
    if (wish.valid) return await issueDated(name, issuer ?? "", wish.valid);
    await openssl(
      ...["x509", "-req", "-in", `${name}.csr`, "-out", `${name}.crt`],
      ...["-days", String(days), "-extfile", `${name}.ext`],
      ...wish.serial ? ["-set_serial", wish.serial] : [],
      ...issuer
        ? ["-CA", `${issuer}.crt`, "-CAkey", `${issuer}.key`]
        : ["-signkey", `${key}.key`],
      ...issuer && !wish.serial ? ["-CAcreateserial"] : [],
    );
  });
}

/** Signs with dates of its own, which only openssl's CA can do in all versions. */
async function issueDated(
  name: string,
  issuer: string,
  [from, to]: readonly [number, number],
): Promise<void> {
  const config = `[ca]
default_ca = this
[this]
database = ${name}.index
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
[any]
commonName = supplied
`;
  await Deno.writeTextFile(pkiPath(`${name}.cnf`), config);
  await Deno.writeTextFile(pkiPath(`${name}.index`), "");
  const date = (instant: number) =>
    new Date(instant).toISOString().replaceAll(/\.\d+|[-:T]/g, "");
  await openssl(
    ...["ca", "-batch", "-notext", "-config", `${name}.cnf`],
    ...["-in", `${name}.csr`, "-out", `${name}.crt`],
    ...["-cert", `${issuer}.crt`, "-keyfile", `${issuer}.key`],
    ...["-startdate", date(from), "-enddate", date(to)],
    ...["-extfile", `${name}.ext`],
  );
}

/**
 * Puts files after each other.
 *
 * @param name Of the new file.
 * @param parts Names of the others.
 * @returns Its path.
 */
export async function joinFiles(
  name: string,
  ...parts: string[]
): Promise<string> {
  const texts = await Promise.all(
    parts.map((part) => Deno.readTextFile(pkiPath(part))),
  );
  await Deno.writeTextFile(pkiPath(name), texts.join(""));
  return pkiPath(name);
}

function findOpenssl(): boolean {
  try {
    return new Deno.Command("openssl", { args: ["version"] }).outputSync()
      .success;
  } catch {
    return false;
  }
}
