/**
 * Reads private keys and certificates from files of every usual form.
 *
 * **Security:** no message holds anything of a file's content.
 *
 * @module
 */

import { MoatError } from "$core/errors.ts";
import { Secret } from "$core/secret.ts";
import { failure } from "../errors.ts";
import type { Anywhere } from "../settings.ts";
import { readSmallFile } from "../files.ts";
import { type Certificate, parseCertificate } from "./certificate.ts";
import { type Bytes, TAG } from "./der.ts";
import { readPem } from "./pem.ts";
import {
  type AskPassphrase,
  badKey,
  keyOfDer,
  keyOfPem,
  missingPassphrase,
  openKey,
  type PrivateKey,
  type StoredKey,
  wrongPassphrase,
} from "./private_key.ts";

/** Everything that was read. */
export interface Material {
  /** The private key. */
  readonly key: PrivateKey;
  /** All certificates, each once, in the order of the files. */
  readonly pool: readonly Certificate[];
}

/** A chain of certificates has some kilobytes. */
const MAX_FILE_BYTES = 1024 * 1024;

/**
 * Reads all files anew.
 *
 * @param anywhere The files.
 * @param passphrase Of the key, unless a file has it.
 * @returns Key and certificates, whether or not they fit.
 * @throws {MoatError} `key-encrypted`, `key-unreadable` or `certificate-unreadable`.
 */
export async function readMaterial(
  anywhere: Anywhere,
  passphrase: Secret | undefined,
): Promise<Material> {
  const { certificates, intermediates = [], privateKey } = anywhere;
  const ask = async () =>
    passphrase ?? await readPassphrase(anywhere.passphraseFile);
  const pool = new Map<string, Certificate>();
  const keys: { path: string; key: StoredKey }[] = [];
  for (const path of [...certificates, ...intermediates]) {
    const found = await readCertificates(path, ask);
    for (const one of found.certificates) pool.set(one.der.toBase64(), one);
    for (const key of found.keys) keys.push({ path, key });
  }
  const stored = privateKey
    ? { path: privateKey, key: await readKey(privateKey, ask) }
    : keys[0];
  if (!stored) throw noKey(certificates[0] ?? "");
  const key = await openKey(stored.key, stored.path, ask);
  return { key, pool: [...pool.values()] };
}

interface Contents {
  readonly keys: readonly StoredKey[];
  readonly certificates: readonly Certificate[];
}

async function readCertificates(
  path: string,
  ask: AskPassphrase,
): Promise<Contents> {
  try {
    const contents = await readContents(path, ask);
    if (contents.certificates.length > 0) return contents;
  } catch (error) {
    throw error instanceof MoatError ? error : badCertificate(path, error);
  }
  throw badCertificate(path);
}

async function readKey(path: string, ask: AskPassphrase): Promise<StoredKey> {
  try {
    const { keys: [key] } = await readContents(path, ask);
    if (key) return key;
  } catch (error) {
    if (error instanceof MoatError) throw error;
    throw badKey(path, faultOf(error), KEY_FORMS, error);
  }
  throw noKey(path);
}

/** Whatever a file holds: PEM, DER or PKCS#12. */
async function readContents(
  path: string,
  ask: AskPassphrase,
): Promise<Contents> {
  const bytes = await readFile(path);
  const blocks = readPem(bytes);
  if (blocks.length > 0) {
    return {
      keys: blocks.map(keyOfPem).filter((key) => key !== undefined),
      certificates: blocks.filter(({ label }) => CERTIFICATE.test(label))
        .map(({ der }) => parseCertificate(der)),
    };
  }
  if (isPkcs12(bytes)) return await readPkcs12(bytes, path, ask);
  const key = keyOfDer(bytes);
  if (key) return { keys: [key], certificates: [] };
  return { keys: [], certificates: [parseCertificate(bytes)] };
}

const CERTIFICATE = /^(X509 |TRUSTED )?CERTIFICATE$/;

/** By its beginning, which may be BER: version 3, and another SEQUENCE. */
function isPkcs12(bytes: Bytes): boolean {
  const [tag, length = 0] = bytes;
  const start = length > 0x80 ? 2 + (length & 0x7f) : 2;
  const [integer, size, version, next] = bytes.subarray(start);
  return tag === TAG.sequence && integer === TAG.integer && size === 1 &&
    version === 3 && next === TAG.sequence;
}

async function readPkcs12(
  bytes: Bytes,
  path: string,
  ask: AskPassphrase,
): Promise<Contents> {
  const { openPkcs12 } = await import("./pkcs12.ts");
  const passphrase = (await ask())?.reveal() ?? "";
  const opened = openPkcs12(bytes, passphrase);
  if (!opened) {
    throw passphrase ? wrongPassphrase(path) : missingPassphrase(path);
  }
  return {
    keys: opened.keys.map((der) => ({ form: "pkcs8", der })),
    certificates: opened.certificates.map(parseCertificate),
  };
}

async function readFile(path: string): Promise<Bytes> {
  const bytes = await readSmallFile(path, MAX_FILE_BYTES);
  if (bytes) return bytes;
  throw new SyntaxError("no file of at most 1 MiB");
}

async function readPassphrase(
  path: string | undefined,
): Promise<Secret | undefined> {
  if (path === undefined) return undefined;
  try {
    const text = new TextDecoder().decode(await readFile(path));
    const [line = ""] = text.split(/\r?\n/);
    return line ? new Secret(line) : undefined;
  } catch (cause) {
    throw failure(
      "key-unreadable",
      `Cannot read the passphrase in "${path}": ${faultOf(cause)}`,
      { hint: "grant again with --passphrase-file FILE", cause },
    );
  }
}

const KEY_FORMS =
  "give --private-key FILE with PKCS#8, PKCS#1 or SEC1, in PEM or DER, or PKCS#12";

/** What the system or a parser said, without any content of the file. */
function faultOf(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "there is no such file";
  if (error instanceof Deno.errors.PermissionDenied) {
    return "this user may not read it";
  }
  return error instanceof SyntaxError
    ? "it is damaged, or of an unknown kind"
    : "it cannot be read";
}

function noKey(path: string): MoatError {
  return badKey(path, "found no private key in it", KEY_FORMS);
}

function badCertificate(path: string, cause?: unknown): MoatError {
  const fault = cause === undefined
    ? "wanted certificates, found none"
    : faultOf(cause);
  return failure(
    "certificate-unreadable",
    `Cannot use the certificate "${path}": ${fault}`,
    { hint: "give --certificate FILE with PEM, DER or PKCS#12", cause },
  );
}
