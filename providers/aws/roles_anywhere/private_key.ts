/**
 * Private keys of RSA and the NIST curves, in every form that OpenSSL writes.
 *
 * They are read by `node:crypto`, which knows the forms, and used by
 * WebCrypto, because `node:crypto` of this runtime cannot sign with P-521 and
 * SHA-256, and because WebCrypto signs without blocking the event loop.
 *
 * **Security:** no message holds a part of a key or a passphrase.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { MoatError } from "$core/errors.ts";
import type { Secret } from "$core/secret.ts";
import { shellWord } from "$core/text.ts";
import { failure } from "../errors.ts";
import { type Bytes, ecdsaToDer, readDer, readSequence, TAG } from "./der.ts";
import { isKnownEncryption } from "./encryption.ts";
import type { PemBlock } from "./pem.ts";

/** A private key as it was stored. */
export interface StoredKey {
  /** How it is wrapped. */
  readonly form: "pkcs1" | "sec1" | "pkcs8" | "encrypted" | "legacy-encrypted";
  /** Its bytes; empty when nothing could decrypt them. */
  readonly der: Bytes;
}

/** A private key that can sign. */
export interface PrivateKey {
  /** As in the name of the signature's algorithm. */
  readonly kind: "RSA" | "ECDSA";
  /** SubjectPublicKeyInfo in DER. */
  readonly publicKey: Bytes;
  /** Signs with SHA-256: PKCS#1 v1.5, or ECDSA in DER. */
  sign(data: Bytes): Promise<Bytes>;
}

/** Gives the passphrase, if there is one. */
export type AskPassphrase = () => Promise<Secret | undefined>;

const FORMS: Readonly<Record<string, StoredKey["form"]>> = {
  "RSA PRIVATE KEY": "pkcs1",
  "EC PRIVATE KEY": "sec1",
  "PRIVATE KEY": "pkcs8",
  "ENCRYPTED PRIVATE KEY": "encrypted",
};

/**
 * Finds the key in a block of PEM.
 *
 * @param block Any block.
 * @returns The key, or undefined if it holds something else.
 */
export function keyOfPem(
  { label, der, isLegacyEncrypted }: PemBlock,
): StoredKey | undefined {
  const form = FORMS[label];
  if (!form) return undefined;
  return isLegacyEncrypted
    ? { form: "legacy-encrypted", der: new Uint8Array() }
    : { form, der };
}

/**
 * Finds out which key some DER is, by its first elements.
 *
 * @param der Any.
 * @returns The key, or undefined if it is something else.
 * @throws {SyntaxError} If it is no DER.
 */
export function keyOfDer(der: Bytes): StoredKey | undefined {
  const tags = readSequence(readDer(der)).map(({ tag }) => tag);
  const [first, second] = tags;
  if (first === TAG.sequence && second === TAG.octetString) {
    return tags.length === 2 ? { form: "encrypted", der } : undefined;
  }
  if (first !== TAG.integer) return undefined;
  switch (second) {
    case TAG.sequence:
      // PKCS#12 has version 3 and then a SEQUENCE as well.
      return tags[2] === TAG.octetString ? { form: "pkcs8", der } : undefined;
    case TAG.octetString:
      return { form: "sec1", der };
    case TAG.integer:
      return { form: "pkcs1", der };
    default:
      return undefined;
  }
}

/**
 * Makes a stored key ready to sign.
 *
 * @param stored The key.
 * @param path Its file, for errors.
 * @param askPassphrase Asked for an encrypted key only.
 * @returns The key.
 * @throws {MoatError} `key-encrypted` or `key-unreadable`.
 */
export async function openKey(
  stored: StoredKey,
  path: string,
  askPassphrase: AskPassphrase,
): Promise<PrivateKey> {
  const key = await decode(stored, path, askPassphrase);
  const { kind, algorithm } = algorithmOf(key, path);
  try {
    // Writing a key of EC again takes as long as half a signature.
    const pkcs8 = stored.form === "pkcs8"
      ? stored.der
      : new Uint8Array(key.export({ type: "pkcs8", format: "der" }));
    return await makeSigner(key, pkcs8, kind, algorithm);
  } catch (cause) {
    throw damaged(path, cause);
  }
}

async function makeSigner(
  key: KeyObject,
  pkcs8: Bytes,
  kind: PrivateKey["kind"],
  algorithm: RsaHashedImportParams | EcKeyImportParams,
): Promise<PrivateKey> {
  const publicKey = createPublicKey(key).export({
    type: "spki",
    format: "der",
  });
  const signer = await crypto.subtle.importKey(
    "pkcs8",
    pkcs8,
    algorithm,
    false,
    ["sign"],
  );
  const how = { name: algorithm.name, hash: "SHA-256" };
  return {
    kind,
    publicKey: new Uint8Array(publicKey),
    async sign(data) {
      const bytes = new Uint8Array(await crypto.subtle.sign(how, signer, data));
      return kind === "RSA" ? bytes : ecdsaToDer(bytes);
    },
  };
}

const CURVES = new Map([
  ["prime256v1", "P-256"],
  ["secp384r1", "P-384"],
  ["secp521r1", "P-521"],
]);

function algorithmOf(key: KeyObject, path: string): {
  kind: PrivateKey["kind"];
  algorithm: RsaHashedImportParams | EcKeyImportParams;
} {
  const { asymmetricKeyType, asymmetricKeyDetails } = key;
  if (asymmetricKeyType === "rsa") {
    return {
      kind: "RSA",
      algorithm: { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" },
    };
  }
  const curve = asymmetricKeyDetails?.namedCurve ?? "";
  const namedCurve = CURVES.get(curve);
  if (asymmetricKeyType === "ec" && namedCurve) {
    return { kind: "ECDSA", algorithm: { name: "ECDSA", namedCurve } };
  }
  throw badKey(
    path,
    `wanted RSA, or EC on P-256, P-384 or P-521, found ${
      asymmetricKeyType === "ec" ? `EC on ${curve}` : asymmetricKeyType
    }`,
    "make a key of one of those kinds, and have it certified",
  );
}

async function decode(
  { form, der }: StoredKey,
  path: string,
  askPassphrase: AskPassphrase,
): Promise<KeyObject> {
  if (form === "legacy-encrypted") throw unknownEncryption(path);
  if (form === "encrypted") return await decrypt(der, path, askPassphrase);
  try {
    return createPrivateKey({
      ...{ key: Buffer.from(der), format: "der", type: form },
    });
  } catch (cause) {
    throw damaged(path, cause);
  }
}

async function decrypt(
  der: Bytes,
  path: string,
  askPassphrase: AskPassphrase,
): Promise<KeyObject> {
  try {
    if (!isKnownEncryption(der)) throw unknownEncryption(path);
  } catch (error) {
    throw error instanceof MoatError ? error : damaged(path, error);
  }
  const passphrase = (await askPassphrase())?.reveal();
  if (!passphrase) throw missingPassphrase(path);
  try {
    return createPrivateKey({
      ...{ key: Buffer.from(der), format: "der", type: "pkcs8", passphrase },
    });
  } catch (cause) {
    throw wrongPassphrase(path, cause);
  }
}

function unknownEncryption(path: string): MoatError {
  const [from, to] = [shellWord(path), shellWord(`${path}.pk8`)];
  return failure(
    "key-encrypted",
    `Cannot use the private key "${path}": wanted PKCS#8 with AES, found an older kind of encryption`,
    {
      hint:
        `openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256 -in ${from} -out ${to}, then give --private-key ${to}`,
    },
  );
}

function damaged(path: string, cause: unknown): MoatError {
  const hint = `openssl pkey -noout -in ${shellWord(path)} shows what it is`;
  return badKey(path, "it is damaged, or of an unknown kind", hint, cause);
}

/**
 * Makes the error for an encrypted file without a passphrase.
 *
 * @param path The file.
 * @returns A `key-encrypted`.
 */
export function missingPassphrase(path: string): MoatError {
  return failure(
    "key-encrypted",
    `Cannot use the private key "${path}": it is encrypted, and there is no passphrase`,
    { hint: "grant again and type it, or give --passphrase-file FILE" },
  );
}

/**
 * Makes the error for a passphrase that opens nothing.
 *
 * @param path The file.
 * @param cause The error underneath.
 * @returns A `key-encrypted`.
 */
export function wrongPassphrase(path: string, cause?: unknown): MoatError {
  return failure(
    "key-encrypted",
    `Cannot use the private key "${path}": the passphrase does not open it`,
    { hint: "grant again with the right passphrase", cause },
  );
}

/**
 * Makes the error for a key that cannot be used.
 *
 * @param path The file.
 * @param fault What is wrong with it.
 * @param hint What to do.
 * @param cause The error underneath.
 * @returns A `key-unreadable`.
 */
export function badKey(
  path: string,
  fault: string,
  hint: string,
  cause?: unknown,
): MoatError {
  return failure(
    "key-unreadable",
    `Cannot use the private key "${path}": ${fault}`,
    { hint, cause },
  );
}
