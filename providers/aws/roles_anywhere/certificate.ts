/**
 * X.509 certificates, as far as choosing the leaf and ordering its chain
 * needs. Whether a chain can be trusted is the service's to decide.
 *
 * The runtime's own `X509Certificate` is used for the subject's text only: it
 * does not give the names' bytes, and fails on public keys of P-521.
 *
 * @module
 * @see {@link https://www.rfc-editor.org/rfc/rfc5280.html#section-4.1 | RFC 5280 section 4.1}
 */

import { X509Certificate } from "node:crypto";
import { formatTime } from "$core/clock.ts";
import { UNPRINTABLE } from "$core/text.ts";
import { failure } from "../errors.ts";
import {
  type Bytes,
  type Der,
  expectDer,
  isSame,
  readDer,
  readSequence,
  TAG,
  toDecimal,
} from "./der.ts";

/** A certificate, read. */
export interface Certificate {
  /** All of it. */
  readonly der: Bytes;
  /** Serial number as an unsigned decimal. */
  readonly serial: string;
  /** The issuer's Name. */
  readonly issuer: Bytes;
  /** The subject's Name. */
  readonly subject: Bytes;
  /** SubjectPublicKeyInfo. */
  readonly publicKey: Bytes;
  /** From when on it is valid, in ms since the Unix epoch. */
  readonly notBefore: number;
  /** Until when it is valid, in ms since the Unix epoch. */
  readonly notAfter: number;
  /** Subject key identifier in hex. */
  readonly keyId: string | undefined;
  /** Key identifier of the issuer, in hex. */
  readonly issuerKeyId: string | undefined;
  /** Whether it may issue others. */
  readonly isAuthority: boolean;
}

/** Object identifiers in hex: 2.5.29.14, .19 and .35. */
const EXTENSION = {
  subjectKeyId: "551d0e",
  basicConstraints: "551d13",
  authorityKeyId: "551d23",
} as const;

/**
 * Reads a certificate.
 *
 * @param bytes DER; what follows it, as in OpenSSL's "trusted" form, is left out.
 * @returns Its fields.
 * @throws {SyntaxError} If it is no certificate.
 */
export function parseCertificate(bytes: Bytes): Certificate {
  const whole = readDer(bytes);
  const [tbs] = readSequence(whole);
  const fields = readSequence(tbs);
  if (fields[0]?.tag === TAG.context0) fields.shift();
  const [serial, , issuer, validity, subject, publicKey, ...rest] = fields;
  const [notBefore, notAfter] = readSequence(validity);
  const extensions = readExtensions(
    rest.find(({ tag }) => tag === TAG.context3),
  );
  return {
    der: whole.raw,
    serial: toDecimal(expectDer(serial, TAG.integer).content),
    issuer: expectDer(issuer, TAG.sequence).raw,
    subject: expectDer(subject, TAG.sequence).raw,
    publicKey: expectDer(publicKey, TAG.sequence).raw,
    notBefore: parseTime(notBefore),
    notAfter: parseTime(notAfter),
    ...extensions,
  };
}

type Extensions = Pick<Certificate, "keyId" | "issuerKeyId" | "isAuthority">;

/** Values of unknown extensions are not looked at: they need not be DER. */
function readExtensions(extensions: Der | undefined): Extensions {
  const all = extensions ? readSequence(readDer(extensions.content)) : [];
  const values = new Map(
    all.map((extension) => {
      const [id, ...rest] = readSequence(extension);
      const { content } = expectDer(rest.at(-1), TAG.octetString);
      return [expectDer(id, TAG.oid).content.toHex(), content];
    }),
  );
  const read = (oid: string) => {
    const value = values.get(oid);
    return value && readDer(value);
  };
  const keyId = read(EXTENSION.subjectKeyId);
  const authority = read(EXTENSION.authorityKeyId);
  const constraints = read(EXTENSION.basicConstraints);
  return {
    keyId: keyId && expectDer(keyId, TAG.octetString).content.toHex(),
    // Its element [0]; the others name the issuer's own certificate.
    issuerKeyId: authority &&
      readSequence(authority).find(({ tag }) => tag === 0x80)?.content.toHex(),
    isAuthority: constraints !== undefined && isTrue(readSequence(constraints)),
  };
}

function isTrue([element]: readonly Der[]): boolean {
  return element?.tag === TAG.boolean && element.content[0] !== 0;
}

/** RFC 5280 section 4.1.2.5: whole seconds, in UTC; years up to 2049 in two digits. */
function parseTime(element: Der | undefined): number {
  const { tag, content } = expectDer(
    element,
    TAG.utcTime,
    TAG.generalizedTime,
  );
  const text = String.fromCharCode(...content);
  const match = /^(\d{2}|\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  const [year = NaN, month = 0, ...rest] = (match ?? []).slice(1).map(Number);
  const century = tag === TAG.generalizedTime ? 0 : year < 50 ? 2000 : 1900;
  const time = Date.UTC(century + year, month - 1, ...rest);
  if (Number.isNaN(time)) throw new SyntaxError("malformed time");
  return time;
}

/**
 * Shows whom a certificate names.
 *
 * @param certificate Any.
 * @returns Such as `O=Example, CN=host1`, on one line of printable characters.
 */
export function subjectText({ der, serial }: Certificate): string {
  try {
    const { subject } = new X509Certificate(new Uint8Array(der));
    return subject.trim().replaceAll("\n", ", ").replace(UNPRINTABLE, "?");
  } catch {
    return `serial number ${serial}`;
  }
}

/**
 * Picks the certificate that belongs to a private key. Of several, as after a
 * renewal with the same key, the one that is valid and ends last.
 *
 * @param pool All certificates.
 * @param publicKey SubjectPublicKeyInfo of the key.
 * @param now In ms since the Unix epoch.
 * @returns The leaf, or undefined if none matches.
 */
export function pickLeaf(
  pool: readonly Certificate[],
  publicKey: Bytes,
  now: number,
): Certificate | undefined {
  return best(pool.filter((c) => isSame(c.publicKey, publicKey)), now);
}

/**
 * Orders the certificates between a leaf and its root.
 *
 * Self-signed roots are left out, because the service has its own copy as the
 * trust anchor. Certificates that do not lead up from the leaf are left out.
 *
 * @param leaf Where the chain begins; not part of the result.
 * @param pool All certificates, in any order.
 * @param now In ms since the Unix epoch; of several issuers a valid one counts.
 * @returns Issuers, from the leaf's own upwards.
 * @throws {MoatError} `chain-incomplete` if authorities were given and none of
 * them issued the leaf: then one is missing in between. A leaf alone may come
 * from the trust anchor itself, which only the service knows.
 */
export function orderChain(
  leaf: Certificate,
  pool: readonly Certificate[],
  now: number,
): Certificate[] {
  // Another certificate of the same key is no issuer.
  const others = pool.filter((c) => !isSame(c.publicKey, leaf.publicKey));
  const chain: Certificate[] = [];
  for (let top: Certificate | undefined = leaf; top;) {
    const below: Certificate = top;
    const issuers = others.filter((c) =>
      isIssuer(c, below) && !chain.includes(c)
    );
    top = best(issuers, now);
    if (!top && below === leaf && !isSelfSigned(leaf)) {
      refuseGap(leaf, others.filter((c) => c.isAuthority));
    }
    if (!top || isSelfSigned(top)) break;
    chain.push(top);
  }
  return chain;
}

/** By key identifier where both have one, since a CA may renew its key. */
function isIssuer(issuer: Certificate, issued: Certificate): boolean {
  if (!isSame(issuer.subject, issued.issuer)) return false;
  return !issuer.keyId || !issued.issuerKeyId ||
    issuer.keyId === issued.issuerKeyId;
}

function isSelfSigned({ subject, issuer }: Certificate): boolean {
  return isSame(subject, issuer);
}

function best(
  candidates: readonly Certificate[],
  now: number,
): Certificate | undefined {
  const rank = (c: Certificate) => isValid(c, now) ? 1 : 0;
  return [...candidates].sort((a, b) =>
    rank(b) - rank(a) || b.notAfter - a.notAfter
  )[0];
}

function isValid({ notBefore, notAfter }: Certificate, now: number): boolean {
  return notBefore <= now && now <= notAfter;
}

/**
 * Refuses a certificate that is not valid now.
 *
 * @param certificate Leaf or issuer.
 * @param now In ms since the Unix epoch.
 * @throws {MoatError} `certificate-expired` or `certificate-not-yet-valid`.
 */
export function checkValidity(certificate: Certificate, now: number): void {
  if (isValid(certificate, now)) return;
  const isEarly = now < certificate.notBefore;
  const { notBefore, notAfter } = certificate;
  const bound = isEarly
    ? `is not valid before ${formatTime(notBefore)}`
    : `expired at ${formatTime(notAfter)}`;
  throw failure(
    isEarly ? "certificate-not-yet-valid" : "certificate-expired",
    `Cannot use the certificate of "${subjectText(certificate)}": it ${bound}`,
    {
      hint: isEarly
        ? `check this machine's clock, which says ${formatTime(now)}`
        : "renew it in place; no restart is needed",
    },
  );
}

function refuseGap(
  leaf: Certificate,
  authorities: readonly Certificate[],
): void {
  if (authorities.length === 0) return;
  const names = authorities.map((c) => `"${subjectText(c)}"`);
  const found = names.slice(0, 3).join(", ");
  throw failure(
    "chain-incomplete",
    `Cannot build the chain of "${
      subjectText(leaf)
    }": wanted the certificate of its issuer, found only ${found}${
      names.length > 3 ? " and more" : ""
    }`,
    {
      hint:
        "give the issuer's certificate with --intermediates FILE, or the leaf's alone if the trust anchor itself issued it",
    },
  );
}
