/**
 * How a PKCS#8 key is encrypted. The runtime decrypts it, but tells an unknown
 * way from a wrong passphrase by nothing.
 *
 * @module
 * @see {@link https://www.rfc-editor.org/rfc/rfc8018.html | RFC 8018}
 */

import {
  type Bytes,
  type Der,
  expectDer,
  readDer,
  readSequence,
  TAG,
  toDecimal,
} from "./der.ts";

/** PBES2, PBKDF2 and scrypt (RFC 7914), in hex. */
const PBES2 = "2a864886f70d01050d";
const PBKDF2 = "2a864886f70d01050c";
const SCRYPT = "2b06010401da47040b";

/** hmacWithSHA224 to hmacWithSHA512; SHA-1, the default, is not among them. */
const HMAC_SHA2 = /^2a864886f70d020[89ab]$/;

/** Two seconds of PBKDF2. */
const MAX_ITERATIONS = 2_000_000;

/** 128 MiB of scrypt. */
const MAX_SCRYPT_BLOCKS = 2 ** 20;

/** AES-128, -192 and -256 in CBC mode. */
const AES_CBC = /^6086480165030401(02|16|2a)$/;

/**
 * Tells whether the runtime can decrypt a key; if not, no passphrase helps.
 *
 * @param der EncryptedPrivateKeyInfo.
 * @returns True for AES with a key from PBKDF2 and SHA-2, or from scrypt.
 * @throws {SyntaxError} If it is something else, or would take far too long.
 */
export function isKnownEncryption(der: Bytes): boolean {
  const scheme = readAlgorithm(readSequence(readDer(der))[0]);
  if (scheme.oid !== PBES2) return false;
  const [kdf, cipher] = readSequence(scheme.parameters).map(readAlgorithm);
  if (!kdf || !cipher || !AES_CBC.test(cipher.oid)) return false;
  if (kdf.oid === SCRYPT || kdf.oid === PBKDF2) checkWork(kdf);
  if (kdf.oid !== PBKDF2) return kdf.oid === SCRYPT;
  const prf = readSequence(kdf.parameters).at(-1);
  return prf?.tag === TAG.sequence && HMAC_SHA2.test(readAlgorithm(prf).oid);
}

/** Deriving a key cannot be broken off, and nothing else runs meanwhile. */
function checkWork({ oid, parameters }: Algorithm): void {
  const [first = 0, r = 1, p = 1] = readSequence(parameters)
    .filter(({ tag }) => tag === TAG.integer)
    .map(({ content }) => Number(toDecimal(content)));
  const isTooMuch = oid === SCRYPT
    ? first * r * p > MAX_SCRYPT_BLOCKS
    : first > MAX_ITERATIONS;
  if (isTooMuch) throw new SyntaxError("a key derivation that hardly ends");
}

interface Algorithm {
  readonly oid: string;
  readonly parameters: Der | undefined;
}

function readAlgorithm(element: Der | undefined): Algorithm {
  const [oid, parameters] = readSequence(element);
  return { oid: expectDer(oid, TAG.oid).content.toHex(), parameters };
}
