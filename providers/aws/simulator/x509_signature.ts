/**
 * The verifying side of `AWS4-X509-RSA-SHA256` and `AWS4-X509-ECDSA-SHA256`.
 *
 * Shares nothing with moat's own signer, see `wire.ts`.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/rolesanywhere/latest/userguide/authentication-sign-process.html | The signing process}
 */

import {
  type Certificate,
  decodeBase64,
  hasSigned,
  readCertificate,
} from "./certificate.ts";
import { DerError } from "./der.ts";
import { accessDeniedException, Refusal } from "./refusal.ts";
import {
  bodyHashMatches,
  checkDate,
  doesNotMatch,
  headerValue,
  incomplete,
  mustBeSigned,
  type RawRequest,
  readFields,
  readSignedHeaders,
  readTimestamp,
  stringToSign,
} from "./wire.ts";

/** Who has signed a request, and where it is meant to go. */
export interface X509Signature {
  /** The certificate whose key has signed it. */
  readonly leaf: Certificate;
  /** The certificates that came along. */
  readonly chain: readonly Certificate[];
  /** Of the credential scope. */
  readonly region: string;
}

/** As credential scopes name it. */
const SERVICE = "rolesanywhere";

/** The service's tolerance for a client's clock. */
const MAX_SKEW_MINUTES = 5;

/** More than any chain needs. */
const MAX_CHAIN = 10;

const AUTHORIZATION = /^(AWS4-X509-(RSA|ECDSA)-SHA256) (.*)$/s;
const CREDENTIAL =
  /^(\d{1,64})\/(\d{8})\/([a-z0-9-]{1,64})\/([a-z0-9-]{1,64})\/aws4_request$/;
const SIGNATURE = /^(?:[0-9a-f]{2}){1,2048}$/;

/**
 * Checks a request's signature with the certificate that it came with. Whether
 * the certificate is to be trusted is another question.
 *
 * @param request The request.
 * @param now The instant, in ms since the Unix epoch.
 * @returns Who has signed it.
 * @throws {Refusal} `AccessDeniedException`.
 */
export async function verifyX509Signature(
  request: RawRequest,
  now: number,
): Promise<X509Signature> {
  try {
    return await verify(request, now);
  } catch (error) {
    if (error instanceof Refusal) throw accessDeniedException(error.message);
    throw error;
  }
}

async function verify(
  request: RawRequest,
  now: number,
): Promise<X509Signature> {
  const found = readAuthorization(request);
  const { algorithm, kind, serial, date, region, signature } = found;
  const timestamp = readTimestamp(request);
  checkDate(date, timestamp, now, MAX_SKEW_MINUTES);
  const leaf = readHeader(headerValue(request, "x-amz-x509"));
  const chain = readChain(headerValue(request, "x-amz-x509-chain"));
  if (serial !== leaf.serial.toString()) {
    throw doesNotMatch(
      "Credential should name the serial number of the certificate.",
    );
  }
  const signed = stringToSign(algorithm, request, {
    scope: [date, region, SERVICE],
    timestamp,
    signedHeaders: found.signedHeaders,
  });
  const isRight = (leaf.keyKind === "RSA") === (kind === "RSA") &&
    bodyHashMatches(request) &&
    await hasSigned(leaf, "SHA-256", signature, encode(signed));
  if (isRight) return { leaf, chain, region };
  throw doesNotMatch(
    "The request signature we calculated does not match the signature you provided.",
  );
}

/** The parts of the `Authorization` header, in the right form and scope. */
function readAuthorization(request: RawRequest) {
  const header = headerValue(request, "authorization") ?? "";
  const [, algorithm = "", kind, text = ""] = AUTHORIZATION.exec(header) ?? [];
  if (!kind) throw incomplete("the algorithm of an X.509 key");
  const fields = readFields(text);
  const credential = CREDENTIAL.exec(fields["Credential"] ?? "");
  if (!credential) throw incomplete("a valid 'Credential' parameter");
  const [, serial = "", date = "", region = "", service = ""] = credential;
  const signedHeaders = readSignedHeaders(fields["SignedHeaders"]);
  checkSigned(signedHeaders, request);
  const digits = fields["Signature"] ?? "";
  if (!SIGNATURE.test(digits)) {
    throw incomplete("a valid 'Signature' parameter");
  }
  if (service !== SERVICE) {
    throw doesNotMatch(
      `Credential should be scoped to correct service: '${SERVICE}'.`,
    );
  }
  const signature = Uint8Array.fromHex(digits);
  return { algorithm, kind, serial, date, region, signedHeaders, signature };
}

function checkSigned(names: readonly string[], request: RawRequest): void {
  const needed = ["Host", "X-Amz-Date", "X-Amz-X509"];
  const isChained = request.headers.some(([name]) =>
    name.toLowerCase() === "x-amz-x509-chain"
  );
  if (isChained) needed.push("X-Amz-X509-Chain");
  const missing = needed.find((name) => !names.includes(name.toLowerCase()));
  if (missing) throw mustBeSigned(missing);
}

function readChain(text: string | undefined): Certificate[] {
  const parts = text?.split(",") ?? [];
  if (parts.length > MAX_CHAIN) throw doesNotMatch("The chain is too long.");
  return parts.map(readHeader);
}

function readHeader(text: string | undefined): Certificate {
  try {
    return readCertificate(decodeBase64(text ?? ""));
  } catch (error) {
    if (error instanceof DerError) throw doesNotMatch("Invalid certificate.");
    throw error;
  }
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
