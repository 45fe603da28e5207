/**
 * X.509 certificates, as much as Roles Anywhere looks at, and the signatures
 * of their keys.
 *
 * With WebCrypto, because node:crypto takes neither P-521 with SHA-256 nor
 * certificates that P-521 or P-384 signed with SHA-256.
 *
 * @module
 * @see {@link https://www.rfc-editor.org/rfc/rfc5280.html#section-4.1 | RFC 5280 section 4.1}
 */

import {
  childrenOf,
  contentOf,
  DER,
  type DerElement,
  DerError,
  readBits,
  readElement,
  readInteger,
  readOid,
  readTime,
} from "./der.ts";

/** A hash of SHA-2. */
export type Hash = "SHA-256" | "SHA-384" | "SHA-512";

/** A kind of key. */
export type KeyKind = "RSA" | "P-256" | "P-384" | "P-521";

/** What a certificate says. */
export interface Certificate {
  /** All of it, in DER. */
  readonly der: Uint8Array;
  /** What its issuer has signed. */
  readonly signed: Uint8Array;
  /** The issuer's signature. */
  readonly signature: Uint8Array;
  /** How the issuer has signed it; undefined for a way that is weak or not known here. */
  readonly signedWith: { kind: "RSA" | "EC"; hash: Hash } | undefined;
  /** 1, 2 or 3. */
  readonly version: number;
  /** As a number; may be negative, though RFC 5280 forbids it. */
  readonly serial: bigint;
  /** The issuer's name in DER, in hexadecimal. */
  readonly issuer: string;
  /** Its own name in DER, in hexadecimal. */
  readonly subject: string;
  /** The subject's common names, in their order. */
  readonly commonNames: readonly string[];
  /** In ms since the Unix epoch. */
  readonly notBefore: number;
  /** In ms since the Unix epoch. */
  readonly notAfter: number;
  /** The public key, in DER. */
  readonly publicKey: Uint8Array;
  /** The kind of the public key; undefined for one that is not known here. */
  readonly keyKind: KeyKind | undefined;
  /** Whether it may issue certificates. */
  readonly isCa: boolean;
  /** How many CAs may come between it and a leaf; undefined for any number. */
  readonly pathLength: number | undefined;
  /** What its key is for; undefined if it does not say. */
  readonly keyUsage: KeyUsage | undefined;
  /** OIDs of extensions that must be understood and are not. */
  readonly notUnderstood: readonly string[];
}

/** What a certificate's key is for. */
export interface KeyUsage {
  /** It signs data. */
  readonly digitalSignature: boolean;
  /** It signs certificates. */
  readonly keyCertSign: boolean;
}

const COMMON_NAME = "2.5.4.3";
const BASIC_CONSTRAINTS = "2.5.29.19";
const KEY_USAGE = "2.5.29.15";

/** Extensions that are looked at, or that do not matter here. */
const UNDERSTOOD: ReadonlySet<string> = new Set([
  BASIC_CONSTRAINTS,
  KEY_USAGE,
  "2.5.29.14",
  "2.5.29.17",
  "2.5.29.18",
  "2.5.29.31",
  "2.5.29.32",
  "2.5.29.35",
  "2.5.29.37",
]);

/** Roles Anywhere takes SHA-256 and stronger. */
const SIGNATURE_ALGORITHMS: ReadonlyMap<
  string,
  { kind: "RSA" | "EC"; hash: Hash }
> = new Map([
  ["1.2.840.113549.1.1.11", { kind: "RSA", hash: "SHA-256" }],
  ["1.2.840.113549.1.1.12", { kind: "RSA", hash: "SHA-384" }],
  ["1.2.840.113549.1.1.13", { kind: "RSA", hash: "SHA-512" }],
  ["1.2.840.10045.4.3.2", { kind: "EC", hash: "SHA-256" }],
  ["1.2.840.10045.4.3.3", { kind: "EC", hash: "SHA-384" }],
  ["1.2.840.10045.4.3.4", { kind: "EC", hash: "SHA-512" }],
]);

const CURVES: ReadonlyMap<string, KeyKind> = new Map([
  ["1.2.840.10045.3.1.7", "P-256"],
  ["1.3.132.0.34", "P-384"],
  ["1.3.132.0.35", "P-521"],
]);

/** Bytes of a coordinate, and of each half of a signature. */
const FIELD_BYTES = { "P-256": 32, "P-384": 48, "P-521": 66 } as const;

/**
 * Reads a certificate.
 *
 * @param der All of it, in DER.
 * @returns What it says.
 * @throws {DerError} If it is none.
 */
export function readCertificate(der: Uint8Array): Certificate {
  const [tbs, algorithm, signature] = childrenOf(
    readElement(der, DER.sequence),
  );
  const fields = childrenOf(tbs);
  const version = fields[0]?.tag === 0xa0 ? readVersion(fields.shift()) : 1;
  const [serial, , issuer, validity, subject, publicKey, ...optional] = fields;
  const [notBefore, notAfter] = childrenOf(validity);
  const extensions = readExtensions(optional.find(({ tag }) => tag === 0xa3));
  return {
    der,
    signed: tbs?.whole ?? der,
    signature: readBits(signature).bytes,
    signedWith: SIGNATURE_ALGORITHMS.get(readOid(childrenOf(algorithm)[0])),
    version,
    serial: readInteger(serial),
    issuer: hex(issuer),
    subject: hex(subject),
    commonNames: readCommonNames(subject),
    notBefore: readTime(notBefore),
    notAfter: readTime(notAfter),
    publicKey: publicKey?.whole ?? der,
    keyKind: readKeyKind(publicKey),
    ...readConstraints(extensions.get(BASIC_CONSTRAINTS)?.value),
    keyUsage: readKeyUsage(extensions.get(KEY_USAGE)?.value),
    notUnderstood: [...extensions]
      .filter(([oid, { isCritical }]) => isCritical && !UNDERSTOOD.has(oid))
      .map(([oid]) => oid),
  };
}

/**
 * Finds the certificates of a PEM text.
 *
 * @param text Any text around them is passed over.
 * @returns The certificates in their order; empty if there are none.
 * @throws {DerError} If one cannot be read.
 */
export function readPem(text: string): Certificate[] {
  const blocks = text.matchAll(
    /-----BEGIN CERTIFICATE-----([\sA-Za-z0-9+/=]*)-----END CERTIFICATE-----/g,
  );
  return [...blocks].map(([, base64 = ""]) =>
    readCertificate(decodeBase64(base64.replace(/\s/g, "")))
  );
}

/**
 * Decodes base64 with its padding.
 *
 * @param text The text.
 * @returns The bytes.
 * @throws {DerError} For anything else.
 */
export function decodeBase64(text: string): Uint8Array {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) {
    throw new DerError("malformed base64");
  }
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}

/**
 * Whether a certificate's key has made a signature.
 *
 * @param certificate Whose key is asked.
 * @param hash The hash that was signed.
 * @param signature PKCS#1 v1.5, or ECDSA in DER.
 * @param data What is said to be signed.
 * @returns False for a signature of any other form, too.
 */
export async function hasSigned(
  { keyKind, publicKey }: Certificate,
  hash: Hash,
  signature: Uint8Array,
  data: Uint8Array,
): Promise<boolean> {
  if (!keyKind) return false;
  const isRsa = keyKind === "RSA";
  const algorithm = isRsa
    ? { name: "RSASSA-PKCS1-v1_5", hash }
    : { name: "ECDSA", hash, namedCurve: keyKind };
  try {
    const key = await crypto.subtle.importKey(
      "spki",
      new Uint8Array(publicKey),
      algorithm,
      false,
      ["verify"],
    );
    return await crypto.subtle.verify(
      algorithm,
      key,
      new Uint8Array(isRsa ? signature : joinHalves(signature, keyKind)),
      new Uint8Array(data),
    );
  } catch {
    return false;
  }
}

/** From DER's two integers to the two halves that WebCrypto wants. */
function joinHalves(
  der: Uint8Array,
  curve: keyof typeof FIELD_BYTES,
): Uint8Array {
  const size = FIELD_BYTES[curve];
  const halves = childrenOf(readElement(der)).map((half) => {
    const digits = readInteger(half).toString(16).padStart(2 * size, "0");
    return Uint8Array.fromHex(digits);
  });
  const [r, s, ...more] = halves;
  if (r?.length !== size || s?.length !== size || more.length > 0) {
    throw new DerError("a malformed signature");
  }
  return Uint8Array.from([...r, ...s]);
}

function readVersion(element: DerElement | undefined): number {
  const inner = readElement(contentOf(element, 0xa0));
  return Number(readInteger(inner)) + 1;
}

function readExtensions(
  element: DerElement | undefined,
): Map<string, { isCritical: boolean; value: Uint8Array }> {
  const extensions = new Map<
    string,
    { isCritical: boolean; value: Uint8Array }
  >();
  if (!element) return extensions;
  for (const extension of childrenOf(readElement(element.content))) {
    const [id, ...rest] = childrenOf(extension);
    const isCritical = rest.length === 2 &&
      contentOf(rest.shift(), DER.boolean)[0] === 0xff;
    const oid = readOid(id);
    if (extensions.has(oid)) throw new DerError("an extension comes twice");
    const value = contentOf(rest[0], DER.octetString);
    extensions.set(oid, { isCritical, value });
  }
  return extensions;
}

function readConstraints(
  value: Uint8Array | undefined,
): Pick<Certificate, "isCa" | "pathLength"> {
  const fields = value ? childrenOf(readElement(value)) : [];
  const isCa = fields[0]?.tag === DER.boolean &&
    contentOf(fields.shift(), DER.boolean)[0] === 0xff;
  const pathLength = fields[0] ? Number(readInteger(fields[0])) : undefined;
  return { isCa, pathLength };
}

/** Bit 0 is the highest of the first byte. */
function readKeyUsage(value: Uint8Array | undefined): KeyUsage | undefined {
  if (!value) return undefined;
  const [first = 0] = readBits(readElement(value)).bytes;
  return {
    digitalSignature: (first & 0x80) !== 0,
    keyCertSign: (first & 0x04) !== 0,
  };
}

function readKeyKind(publicKey: DerElement | undefined): KeyKind | undefined {
  const [id, parameters] = childrenOf(childrenOf(publicKey)[0]);
  const oid = readOid(id);
  if (oid === "1.2.840.113549.1.1.1") return "RSA";
  const isNamedCurve = oid === "1.2.840.10045.2.1" &&
    parameters?.tag === DER.oid;
  return isNamedCurve ? CURVES.get(readOid(parameters)) : undefined;
}

function readCommonNames(name: DerElement | undefined): string[] {
  return childrenOf(name)
    .flatMap((relative) => childrenOf(relative, DER.set))
    .map((attribute) => childrenOf(attribute))
    .filter(([type]) => readOid(type) === COMMON_NAME)
    .map(([, value]) => readText(value));
}

/** UTF8String and the older kinds that are part of it; BMPString; else Latin-1. */
function readText(element: DerElement | undefined): string {
  const label = element?.tag === 0x0c
    ? "utf-8"
    : element?.tag === 0x1e
    ? "utf-16be"
    : "latin1";
  return new TextDecoder(label).decode(element?.content);
}

function hex(element: DerElement | undefined): string {
  return element?.whole.toHex() ?? "";
}
