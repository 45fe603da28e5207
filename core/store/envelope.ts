/**
 * The encrypted form of a grant: JSON around AES-256-GCM.
 *
 * Version, provider and name are additional data, so a file that was renamed,
 * swapped or edited does not open.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import * as v from "valibot";
import { MoatError } from "../errors.ts";
import {
  type Grant,
  grantCommand,
  type JsonObject,
  parseGrantName,
} from "../grant.ts";
import { Secret } from "../secret.ts";
import type { GrantKey } from "./key.ts";

const VERSION = 1;

/**
 * 96 bits, random: one key may seal 2^32 grants before a repeat is likelier
 * than 2^-32 (NIST SP 800-38D section 8.3).
 */
const NONCE_BYTES = 12;

/** In the order in which {@link encode} writes it. */
const Envelope = v.strictObject({
  version: v.literal(VERSION),
  provider: v.string(),
  name: v.string(),
  keyId: v.string(),
  nonce: v.string(),
  ciphertext: v.string(),
});
type Envelope = v.InferOutput<typeof Envelope>;

const Plain = v.strictObject({
  provider: v.string(),
  name: v.string(),
  createdAt: v.pipe(v.number(), v.finite()),
  expiresAt: v.exactOptional(v.pipe(v.number(), v.finite())),
  settings: v.custom<JsonObject>(isObject),
  credential: v.exactOptional(v.string()),
});

/**
 * Encrypts a grant.
 *
 * @param key The current key.
 * @param grant Its name must be of its provider.
 * @returns The text of its file.
 * @throws {TypeError} If the grant could not be read back.
 */
export async function sealGrant(key: GrantKey, grant: Grant): Promise<string> {
  const plain = JSON.stringify({
    ...grant,
    // The one place where a stored secret is revealed.
    credential: grant.credential?.reveal(),
  });
  if (!parsePlain(plain, grant.name)) {
    throw new TypeError("The grant is not well-formed");
  }
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const ciphertext = await crypto.subtle.encrypt(
    gcm(nonce, grant.provider, grant.name),
    key.cryptoKey,
    new TextEncoder().encode(plain),
  );
  return encode({
    version: VERSION,
    provider: grant.provider,
    name: grant.name,
    keyId: key.id,
    nonce: Buffer.from(nonce).toString("base64"),
    ciphertext: Buffer.from(ciphertext).toString("base64"),
  });
}

/**
 * Decrypts a grant.
 *
 * @param key Gives the current key; called only for an envelope that is whole.
 * @param name The name that the file has.
 * @param bytes The file's content.
 * @returns The grant.
 * @throws {MoatError} `grant-damaged` or `wrong-key`, or what `key` throws.
 */
export async function openGrant(
  key: () => Promise<GrantKey>,
  name: string,
  bytes: Uint8Array,
): Promise<Grant> {
  const envelope = decode(bytes);
  if (!envelope) throw damaged(name, "its file is malformed");
  if (envelope.name !== name) {
    throw damaged(name, "its file belongs to another name");
  }
  const { id, cryptoKey } = await key();
  if (envelope.keyId !== id) throw wrongKey(name, envelope.keyId, id);
  const plain = await decrypt(cryptoKey, envelope);
  if (plain === undefined) throw damaged(name, "its file was changed");
  const grant = parsePlain(plain, name);
  if (!grant) throw damaged(name, "its content is not a grant");
  return grant;
}

function gcm(nonce: Uint8Array<ArrayBuffer>, provider: string, name: string) {
  const bound = JSON.stringify([VERSION, provider, name]);
  const additionalData = new TextEncoder().encode(bound);
  return { name: "AES-GCM", iv: nonce, additionalData };
}

async function decrypt(
  key: CryptoKey,
  envelope: Envelope,
): Promise<string | undefined> {
  const nonce = Buffer.from(envelope.nonce, "base64");
  if (nonce.length !== NONCE_BYTES) return undefined;
  try {
    const plain = await crypto.subtle.decrypt(
      gcm(nonce, envelope.provider, envelope.name),
      key,
      Buffer.from(envelope.ciphertext, "base64"),
    );
    return new TextDecoder().decode(plain);
  } catch {
    // Web Crypto gives no reason, and none would help an honest reader.
    return undefined;
  }
}

function encode(envelope: Envelope): string {
  return JSON.stringify(envelope) + "\n";
}

/** Accepts only the very bytes that {@link encode} writes. */
function decode(bytes: Uint8Array): Envelope | undefined {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
      .decode(bytes);
    const envelope = v.parse(Envelope, JSON.parse(text));
    const { nonce, ciphertext } = envelope;
    const canonical = encode({
      ...envelope,
      nonce: Buffer.from(nonce, "base64").toString("base64"),
      ciphertext: Buffer.from(ciphertext, "base64").toString("base64"),
    });
    return canonical === text ? envelope : undefined;
  } catch {
    return undefined;
  }
}

function parsePlain(text: string, name: string): Grant | undefined {
  try {
    const { credential, ...rest } = v.parse(Plain, JSON.parse(text));
    const { provider } = parseGrantName(name);
    if (rest.name !== name || rest.provider !== provider) return undefined;
    return credential === undefined
      ? rest
      : { ...rest, credential: new Secret(credential) };
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function damaged(name: string, fault: string): MoatError {
  return new MoatError(
    "grant-damaged",
    `Cannot read grant "${name}": ${fault}`,
    { hint: `moat revoke ${name}, then ${grantCommand(name)}` },
  );
}

function wrongKey(name: string, found: string, current: string): MoatError {
  // A damaged id is not repeated: it is a file's content.
  const used = /^[0-9a-f]{16}$/.test(found) ? `key ${found}` : "another key";
  return new MoatError(
    "wrong-key",
    `Cannot decrypt grant "${name}": wanted key ${current}, found ${used}`,
    { hint: `bring that key back, or moat revoke ${name} and grant it anew` },
  );
}
