/**
 * What a root certificate of moat says. Keeping it is the matter of `root.ts`.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import {
  BACKDATE_MS,
  commonName,
  EXTENSION,
  extension,
  keyIds,
  makeKey,
  signCertificate,
  wholeSeconds,
} from "./certificate.ts";
import { bitString, type Bytes, integer, pem, sequence, TRUE } from "./der.ts";

/** Ten years: a client trusts a root only while it runs, so that a change costs little at any time. */
const LIFETIME_MS = 3650 * 24 * 60 * 60_000;

/** A key and a certificate for it, signed by itself. */
export interface RootPair {
  /** PEM, PKCS#8. */
  readonly key: string;
  /** PEM. */
  readonly certificate: string;
}

/**
 * Makes a root.
 *
 * @param now In ms since the Unix epoch; it begins 24 h before.
 * @returns Both, not written anywhere.
 */
export async function makeRoot(now: number): Promise<RootPair> {
  const { signer, pem: key, publicKey, keyId } = await makeKey();
  const name = commonName(rootName(keyId));
  const notBefore = wholeSeconds(now - BACKDATE_MS);
  const certificate = await signCertificate({
    subject: name,
    issuer: name,
    notBefore,
    expiresAt: notBefore + LIFETIME_MS,
    publicKey,
    extensions: rootExtensions(keyId),
  }, signer);
  return { key, certificate: pem("CERTIFICATE", certificate) };
}

/** It signs leaves and lists of revoked ones; it certifies no further CA. */
function rootExtensions(keyId: Bytes): Bytes[] {
  const isAuthority = sequence(TRUE, integer(Uint8Array.of(0)));
  const certSignCrlSign = bitString(Uint8Array.of(0b0000_0110), 1);
  return [
    extension(EXTENSION.basicConstraints, true, isAuthority),
    extension(EXTENSION.keyUsage, true, certSignCrlSign),
    ...keyIds(keyId, keyId),
  ];
}

/**
 * The common name of a root.
 *
 * @param keyId Its key's identifier.
 * @returns Such as `moat root 1a2b3c4d`.
 */
export function rootName(keyId: Bytes): string {
  return `moat root ${Buffer.from(keyId.subarray(0, 4)).toString("hex")}`;
}
