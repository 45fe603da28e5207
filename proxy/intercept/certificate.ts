/**
 * What roots and leaves have in common: X.509 version 3, P-256, ECDSA with
 * SHA-256, and extensions that strict verifiers want to see.
 *
 * @module
 * @see {@link https://www.rfc-editor.org/rfc/rfc5280.html | RFC 5280}
 */

import {
  bitString,
  type Bytes,
  ecdsaSignature,
  integer,
  octetString,
  oid,
  pem,
  sequence,
  setOfOne,
  tagged,
  time,
  TRUE,
  utf8String,
} from "./der.ts";

/** Keys of roots and leaves, for WebCrypto. */
export const KEY_ALGORITHM: EcKeyGenParams = {
  name: "ECDSA",
  namedCurve: "P-256",
};

/** How long certificates are valid before they are made: for clients whose clocks are slow. */
export const BACKDATE_MS = 24 * 60 * 60_000;

const SIGNATURE: EcdsaParams = { name: "ECDSA", hash: "SHA-256" };
const ECDSA_WITH_SHA256 = sequence(oid("1.2.840.10045.4.3.2"));
const COMMON_NAME = oid("2.5.4.3");
const VERSION_3 = tagged(0, [integer(Uint8Array.of(2))]);

/** RFC 5280 section 4.1.2.2 allows 20; unguessable is what matters. */
const SERIAL_BYTES = 16;

/** As long as the SHA-1 that older certificates have. */
const KEY_ID_BYTES = 20;

/** What a certificate says. */
export interface Content {
  /** A name from {@link commonName}. */
  readonly subject: Bytes;
  /** The subject of whoever signs. */
  readonly issuer: Bytes;
  /** In ms since the Unix epoch; fractions of a second are cut off. */
  readonly notBefore: number;
  /** In ms since the Unix epoch; fractions of a second are cut off. */
  readonly expiresAt: number;
  /** SubjectPublicKeyInfo. */
  readonly publicKey: Bytes;
  /** From {@link extension}. */
  readonly extensions: readonly Bytes[];
}

/**
 * Signs a certificate. Its serial number is random, 128 bits.
 *
 * @param content What it says.
 * @param signer The issuer's P-256 key.
 * @returns DER.
 */
export async function signCertificate(
  content: Content,
  signer: CryptoKey,
): Promise<Bytes> {
  const toBeSigned = sequence(
    VERSION_3,
    integer(crypto.getRandomValues(new Uint8Array(SERIAL_BYTES))),
    ECDSA_WITH_SHA256,
    content.issuer,
    sequence(time(content.notBefore), time(content.expiresAt)),
    content.subject,
    content.publicKey,
    tagged(3, [sequence(...content.extensions)]),
  );
  const raw = await crypto.subtle.sign(SIGNATURE, signer, toBeSigned);
  const signature = ecdsaSignature(new Uint8Array(raw));
  return sequence(toBeSigned, ECDSA_WITH_SHA256, bitString(signature));
}

/**
 * Writes a name that is a common name and nothing else.
 *
 * @param text At most 64 characters (RFC 5280 appendix A.1, ub-common-name).
 */
export function commonName(text: string): Bytes {
  return sequence(setOfOne(sequence(COMMON_NAME, utf8String(text))));
}

/**
 * Writes an extension.
 *
 * @param id Its object identifier, from `oid()`.
 * @param isCritical Whether who does not know it must refuse the certificate.
 * @param value DER.
 */
export function extension(id: Bytes, isCritical: boolean, value: Bytes): Bytes {
  return sequence(id, ...isCritical ? [TRUE] : [], octetString(value));
}

/** Object identifiers of extensions (RFC 5280 section 4.2.1). */
export const EXTENSION = {
  subjectKeyId: oid("2.5.29.14"),
  keyUsage: oid("2.5.29.15"),
  subjectAltName: oid("2.5.29.17"),
  basicConstraints: oid("2.5.29.19"),
  authorityKeyId: oid("2.5.29.35"),
  extendedKeyUsage: oid("2.5.29.37"),
} as const;

/**
 * Writes who is certified and who certifies: strict verifiers refuse
 * certificates without.
 *
 * @param subject The subject's {@link keyIdOf}.
 * @param issuer The issuer's {@link keyIdOf}.
 * @returns subjectKeyIdentifier and authorityKeyIdentifier.
 */
export function keyIds(subject: Bytes, issuer: Bytes): Bytes[] {
  const authority = sequence(tagged(0, [issuer], false));
  return [
    extension(EXTENSION.subjectKeyId, false, octetString(subject)),
    extension(EXTENSION.authorityKeyId, false, authority),
  ];
}

/** A new key. */
export interface NewKey {
  /** Signs. */
  readonly signer: CryptoKey;
  /** The same, PEM of PKCS#8. */
  readonly pem: string;
  /** SubjectPublicKeyInfo. */
  readonly publicKey: Bytes;
  /** Its {@link keyIdOf}. */
  readonly keyId: Bytes;
}

/** Makes a key for a root, or for leaves. */
export async function makeKey(): Promise<NewKey> {
  const pair = await crypto.subtle.generateKey(KEY_ALGORITHM, true, [
    "sign",
    "verify",
  ]) as CryptoKeyPair;
  const [spki, pkcs8] = await Promise.all([
    crypto.subtle.exportKey("spki", pair.publicKey),
    crypto.subtle.exportKey("pkcs8", pair.privateKey),
  ]);
  const publicKey = new Uint8Array(spki);
  return {
    signer: pair.privateKey,
    pem: pem("PRIVATE KEY", new Uint8Array(pkcs8)),
    publicKey,
    keyId: await keyIdOf(publicKey),
  };
}

/**
 * Gives a key's identifier.
 *
 * @param publicKey SubjectPublicKeyInfo of a P-256 key.
 * @returns The first 160 bits of the SHA-256 of its point.
 * @see {@link https://www.rfc-editor.org/rfc/rfc7093.html#section-2 | RFC 7093 section 2}
 */
export async function keyIdOf(publicKey: Bytes): Promise<Bytes> {
  // The uncompressed point, 1 and twice 32 octets, is what comes last.
  const point = publicKey.subarray(-65);
  const hash = await crypto.subtle.digest("SHA-256", point);
  return new Uint8Array(hash, 0, KEY_ID_BYTES).slice();
}

/**
 * Cuts an instant to what a certificate can say.
 *
 * @param ms Since the Unix epoch.
 * @returns Whole seconds, in ms.
 */
export function wholeSeconds(ms: number): number {
  return Math.floor(ms / 1000) * 1000;
}
