/**
 * A workload's identity: private key, certificate and chain, from files that
 * are read anew when they change.
 *
 * @module
 */

import type { MoatError } from "$core/errors.ts";
import type { Secret } from "$core/secret.ts";
import { failure } from "../errors.ts";
import { stampFiles } from "../files.ts";
import type { Anywhere } from "../settings.ts";
import {
  type Certificate,
  checkValidity,
  orderChain,
  pickLeaf,
  subjectText,
} from "./certificate.ts";
import { type Material, readMaterial } from "./material.ts";
import type { PrivateKey } from "./private_key.ts";

/** What signs a request. */
export interface Identity {
  /** The private key. */
  readonly key: PrivateKey;
  /** The certificate of that key. */
  readonly leaf: Certificate;
  /** Its issuers from the leaf's own upwards, without the root. */
  readonly chain: readonly Certificate[];
}

/** What a person may know of an identity. */
export interface IdentitySummary {
  /** Subject of the certificate. */
  readonly subject: string;
  /** Its serial number in decimal. */
  readonly serial: string;
  /** When the first certificate of the chain ends, in ms since the Unix epoch. */
  readonly expiresAt: number;
  /** How long the leaf is valid in all, in ms. */
  readonly lifeMs: number;
  /** Number of certificates between the leaf and its root. */
  readonly chainLength: number;
}

/** More identities than one host has. */
const MAX_CACHED = 64;

interface Cached {
  readonly stamp: string;
  readonly passphrase: Secret | undefined;
  readonly material: Material;
}

const cache = new Map<string, Cached>();

/**
 * Checks key and certificates without asking the service.
 *
 * @param anywhere The files.
 * @param passphrase Of the key, unless a file has it.
 * @param now In ms since the Unix epoch.
 * @returns What was found.
 * @throws {MoatError} As {@link loadIdentity}.
 */
export async function checkIdentity(
  anywhere: Anywhere,
  passphrase: Secret | undefined,
  now: number,
): Promise<IdentitySummary> {
  const { leaf, chain } = await loadIdentity(anywhere, passphrase, now);
  return {
    subject: subjectText(leaf),
    serial: leaf.serial,
    expiresAt: Math.min(...[leaf, ...chain].map((c) => c.notAfter)),
    lifeMs: leaf.notAfter - leaf.notBefore,
    chainLength: chain.length,
  };
}

/**
 * Loads what signs a request; from memory as long as no file has changed.
 *
 * @param anywhere The files.
 * @param passphrase Of the key, unless a file has it.
 * @param now In ms since the Unix epoch.
 * @returns Key, leaf and chain, all of them valid now.
 * @throws {MoatError} `key-encrypted`, `key-unreadable`,
 * `certificate-unreadable`, `key-mismatch`, `certificate-expired`,
 * `certificate-not-yet-valid` or `chain-incomplete`.
 */
export async function loadIdentity(
  anywhere: Anywhere,
  passphrase: Secret | undefined,
  now: number,
): Promise<Identity> {
  const files = filesOf(anywhere);
  const id = JSON.stringify([files, anywhere.privateKey]);
  // Before reading, so that a change meanwhile counts as one.
  const stamp = await identityStamp(anywhere);
  const cached = cache.get(id);
  const isFresh = cached?.stamp === stamp &&
    cached.passphrase?.reveal() === passphrase?.reveal();
  const material = isFresh
    ? cached.material
    : await readMaterial(anywhere, passphrase);
  cache.delete(id);
  cache.set(id, { stamp, passphrase, material });
  for (const [oldest] of cache) {
    if (cache.size > MAX_CACHED) cache.delete(oldest);
  }
  return chooseIdentity(material, anywhere, now);
}

/**
 * Tells whether the files are still the same.
 *
 * @param anywhere The files.
 * @returns Changes with any of them, also when one disappears.
 */
export async function identityStamp(anywhere: Anywhere): Promise<string> {
  return await stampFiles(filesOf(anywhere));
}

function filesOf(anywhere: Anywhere): string[] {
  const { certificates, intermediates = [] } = anywhere;
  const { privateKey = [], passphraseFile = [] } = anywhere;
  return [certificates, intermediates, privateKey, passphraseFile].flat();
}

function chooseIdentity(
  { key, pool }: Material,
  anywhere: Anywhere,
  now: number,
): Identity {
  const leaf = pickLeaf(pool, key.publicKey, now);
  if (!leaf) throw mismatch(anywhere, pool.length);
  checkValidity(leaf, now);
  const chain = orderChain(leaf, pool, now);
  for (const issuer of chain) checkValidity(issuer, now);
  return { key, leaf, chain };
}

function mismatch(
  { certificates, privateKey }: Anywhere,
  count: number,
): MoatError {
  const key = privateKey ?? certificates[0] ?? "";
  return failure(
    "key-mismatch",
    `Cannot use the private key "${key}": none of the ${count} certificates given belongs to it`,
    {
      hint:
        `give the certificate that was issued for this key; openssl pkey -pubout -in FILE shows a key's public half, openssl x509 -pubkey -noout -in FILE a certificate's`,
    },
  );
}
