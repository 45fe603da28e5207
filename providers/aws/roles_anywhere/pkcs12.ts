/**
 * PKCS#12, by a library. Imported dynamically, since hardly anyone needs it.
 *
 * The MAC is checked before anything is decrypted; keys and certificates are
 * handed on as DER, so that nothing else of the library is used.
 *
 * @module
 * @see {@link https://www.rfc-editor.org/rfc/rfc7292.html | RFC 7292}
 */

// @ts-types="./node_forge.d.ts"
import forge from "node-forge";
import type { Asn1, Bag, Binary } from "./node_forge.d.ts";
import { Buffer } from "node:buffer";
import { type Bytes, TAG, toDecimal } from "./der.ts";

/** What a file holds. */
export interface Pkcs12 {
  /** Private keys in PKCS#8. */
  readonly keys: readonly Bytes[];
  /** Certificates. */
  readonly certificates: readonly Bytes[];
}

/** Some seconds, since most of it is done in JavaScript. */
const MAX_ITERATIONS = 1_000_000;

const UNDECRYPTED = /(Unable|Failed) to decrypt/;
const WRONG_PASSPHRASE = /MAC could not be verified|(Unable|Failed) to decrypt/;

/**
 * Opens a PKCS#12 file.
 *
 * @param der The file.
 * @param passphrase May be empty.
 * @returns What it holds; undefined if the passphrase does not open it.
 * @throws {SyntaxError} If it is damaged, or encrypted in an unknown way.
 */
export function openPkcs12(der: Bytes, passphrase: string): Pkcs12 | undefined {
  let bags: readonly Bag[];
  try {
    bags = openBags(der, passphrase);
  } catch (error) {
    if (WRONG_PASSPHRASE.test(String(error))) return undefined;
    throw new SyntaxError("malformed PKCS#12", { cause: error });
  }
  const { oids } = forge.pki;
  const keyBags: string[] = [oids.keyBag, oids.pkcs8ShroudedKeyBag];
  return {
    keys: bags.filter(({ type }) => keyBags.includes(type)).map(keyOf),
    certificates: bags.filter(({ type }) => type === oids.certBag)
      .map(certificateOf),
  };
}

function openBags(der: Bytes, passphrase: string): readonly Bag[] {
  const open = (asn1: Asn1, text: string) =>
    forge.pkcs12.pkcs12FromAsn1(asn1, text).safeContents
      .flatMap(({ safeBags }) => safeBags);
  const asn1 = forge.asn1.fromDer(toBinary(der));
  checkWork(asn1);
  try {
    return open(asn1, passphrase);
  } catch (error) {
    const utf8 = Buffer.from(passphrase).toString("binary");
    if (utf8 === passphrase || !UNDECRYPTED.test(String(error))) throw error;
    // The MAC, which was right, takes UTF-16, but PBES2 takes UTF-8, which the
    // library does not know: again without the MAC, and in UTF-8.
    return open({ ...asn1, value: asn1.value.slice(0, 2) as Asn1[] }, utf8);
  }
}

/**
 * Deriving a key cannot be broken off, and nothing else runs meanwhile. Every
 * count of iterations is an INTEGER behind an OCTET STRING, the salt.
 */
function checkWork({ type, value }: Asn1): void {
  if (typeof value === "string") {
    const inner = type === TAG.octetString ? parse(value) : undefined;
    if (inner) checkWork(inner);
    return;
  }
  value.forEach((element, i) => {
    const isCount = element.type === TAG.integer &&
      value[i - 1]?.type === TAG.octetString;
    if (isCount && numberOf(element) > MAX_ITERATIONS) {
      throw new SyntaxError("a key derivation that hardly ends");
    }
    checkWork(element);
  });
}

function numberOf({ value }: Asn1): number {
  return Number(toDecimal(Buffer.from(String(value), "binary")));
}

/** What an OCTET STRING holds, if that is ASN.1 as well. */
function parse(binary: string): Asn1 | undefined {
  try {
    return forge.asn1.fromDer(forge.util.createBuffer(binary));
  } catch {
    return undefined;
  }
}

/** The library parses what it knows, such as RSA, and leaves the rest as it is. */
function keyOf({ key, asn1 }: Bag): Bytes {
  const { pki } = forge;
  if (key) return toDer(pki.wrapRsaPrivateKey(pki.privateKeyToAsn1(key)));
  return toDer(asn1);
}

function certificateOf({ cert, asn1 }: Bag): Bytes {
  return toDer(cert ? forge.pki.certificateToAsn1(cert) : asn1);
}

function toDer(asn1: Asn1 | null | undefined): Bytes {
  if (!asn1) throw new SyntaxError("an empty bag of PKCS#12");
  return new Uint8Array(
    Buffer.from(forge.asn1.toDer(asn1).getBytes(), "binary"),
  );
}

function toBinary(der: Bytes): Binary {
  return forge.util.createBuffer(Buffer.from(der).toString("binary"));
}
