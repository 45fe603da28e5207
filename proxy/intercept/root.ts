/**
 * The root certificate of this moat home and its key, in `ca/root.pem` and
 * `ca/root.key`, made at first use.
 *
 * **Security:** whoever has the key can pretend to be any host to clients that
 * trust the root. It is written 0600 by the call that creates it, is never
 * mounted, printed or handed on, and is not extractable once it is loaded. A
 * key and a certificate that do not belong together are an error, never a
 * reason for a new root: somebody may trust the old one.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { join } from "node:path";
import { type Clock, formatTime } from "$core/clock.ts";
import { MoatError } from "$core/errors.ts";
import {
  checkPrivateDir,
  ensurePrivateDir,
  missingOk,
  readFileIfAny,
  readPrivateFile,
  removeStaleTemps,
  withLock,
  writeFileAtomic,
} from "$core/files.ts";
import type { Paths } from "$core/paths.ts";
import { KEY_ALGORITHM, keyIdOf } from "./certificate.ts";
import { type Bytes, pem } from "./der.ts";
import { makeRoot, rootName } from "./make_root.ts";

/** How long before its end a root is warned of. */
const WARN_AHEAD_MS = 30 * 24 * 60 * 60_000;

const KEY_FILE = "root.key";
const CERTIFICATE_FILE = "root.pem";
const ROTATE_HINT = "moat ca rotate makes a new root";

/** A root that can sign. */
export interface Root {
  /** PEM. */
  readonly certificate: string;
  /** Its common name, such as `moat root 1a2b3c4d`; two homes differ in it. */
  readonly subject: string;
  /** SHA-256 of the certificate: upper-case hexadecimal octets between colons. */
  readonly fingerprint: string;
  /** In ms since the Unix epoch. */
  readonly notBefore: number;
  /** In ms since the Unix epoch. */
  readonly expiresAt: number;
  /** Its subjectKeyIdentifier. */
  readonly keyId: Bytes;
  /** Signs; not extractable. */
  readonly signer: CryptoKey;
  /** Its {@link RootStore.stamp} when it was read. */
  readonly stamp: string;
}

/** What {@link RootStore.rotate} did. */
export interface Rotation {
  /** The old root's fingerprint, or undefined if its certificate could not be read. */
  readonly before: string | undefined;
  /** The new root. */
  readonly root: Root;
}

/** Keeps the root of one moat home. */
export class RootStore {
  /** Where the certificate is. */
  readonly path: string;
  readonly #directory: string;
  readonly #keyPath: string;
  readonly #lock: string;
  readonly #clock: Clock;

  /** Makes a store; nothing is read or created yet. */
  constructor(paths: Pick<Paths, "ca" | "locks">, clock: Clock) {
    this.#directory = paths.ca;
    this.path = join(paths.ca, CERTIFICATE_FILE);
    this.#keyPath = join(paths.ca, KEY_FILE);
    this.#lock = join(paths.locks, "ca.lock");
    this.#clock = clock;
  }

  /**
   * The root, made now if there is neither certificate nor key.
   *
   * @throws {MoatError} `bad-root` if certificate and key are not a pair of
   * moat's, or one is missing; `root-expired` or `root-not-yet-valid`;
   * `insecure-file` or `insecure-directory` if others could get at the key.
   */
  async loadOrCreate(): Promise<Root> {
    // Without the lock one may see half of a rotation; with it, never.
    const found = await this.#load().catch(() => undefined);
    return found ?? await withLock(
      this.#lock,
      this.#clock,
      async () => await this.#load() ?? await this.#create(),
    );
  }

  /**
   * Makes a new root in place of the one there is, whatever its state. The old
   * key is gone afterwards.
   *
   * @throws {MoatError} `insecure-directory`, `cannot-write`, `disk-full`, `locked`.
   */
  async rotate(): Promise<Rotation> {
    await checkPrivateDir(this.#directory);
    return await withLock(this.#lock, this.#clock, async () => {
      const old = await readFileIfAny(this.path);
      const before = old && parse(old)?.fingerprint256;
      return { before, root: await this.#create() };
    });
  }

  /**
   * Tells one certificate file from the next without reading it.
   *
   * @returns Changes when the root does; empty if there is none.
   */
  async stamp(): Promise<string> {
    const info = await missingOk(Deno.stat(this.path));
    return info ? `${info.ino}-${info.size}-${info.mtime?.getTime()}` : "";
  }

  async #load(): Promise<Root | undefined> {
    await checkPrivateDir(this.#directory);
    const stamp = await this.stamp();
    const key = await this.#readKey();
    const certificate = await readFileIfAny(this.path);
    if (!key && !certificate) return undefined;
    if (!key) throw badRoot(`its key is missing in "${this.#keyPath}"`);
    if (!certificate) throw badRoot(`"${this.path}" is missing`);
    const root = await this.#open(key, certificate, stamp);
    checkValidity(root, this.#clock.now());
    return root;
  }

  async #readKey(): Promise<Bytes | undefined> {
    try {
      return await readPrivateFile(this.#keyPath);
    } catch (error) {
      const isShared = error instanceof MoatError &&
        error.code === "insecure-file";
      if (!isShared) throw error;
      throw new MoatError(error.code, error.message, {
        hint: "moat ca rotate, because others may have the key",
      });
    }
  }

  async #open(key: Bytes, certificate: Bytes, stamp: string): Promise<Root> {
    const parsed = parse(certificate);
    if (!parsed) throw badRoot(`"${this.path}" holds no certificate`);
    const pkcs8 = decodeKey(key);
    if (!pkcs8) throw badRoot(`"${this.#keyPath}" holds no P-256 key`);
    const signer = await crypto.subtle.importKey(
      "pkcs8",
      pkcs8,
      KEY_ALGORITHM,
      false,
      ["sign"],
    ).catch(() => {
      throw badRoot(`"${this.#keyPath}" holds no P-256 key`);
    });
    if (!matches(parsed, pkcs8)) {
      throw badRoot(`"${this.#keyPath}" is not the key of "${this.path}"`);
    }
    const exported = parsed.publicKey.export({ type: "spki", format: "der" });
    const keyId = await keyIdOf(new Uint8Array(exported));
    const subject = rootName(keyId);
    if (!parsed.ca || parsed.subject !== `CN=${subject}`) {
      throw badRoot(`"${this.path}" was not made by moat`);
    }
    return {
      certificate: pem("CERTIFICATE", parsed.raw),
      subject,
      fingerprint: parsed.fingerprint256,
      notBefore: parsed.validFromDate.getTime(),
      expiresAt: parsed.validToDate.getTime(),
      keyId,
      signer,
      stamp,
    };
  }

  /** The certificate comes last: by it others see that there is a new root. */
  async #create(): Promise<Root> {
    await ensurePrivateDir(this.#directory);
    await removeStaleTemps(
      this.#directory,
      (name) => [KEY_FILE, CERTIFICATE_FILE].includes(name),
    );
    const { key, certificate } = await makeRoot(this.#clock.now());
    await writeFileAtomic(this.#keyPath, key);
    await writeFileAtomic(this.path, certificate);
    const root = await this.#load();
    if (!root) throw badRoot(`"${this.path}" is missing`);
    return root;
  }
}

/**
 * Checks that a root is valid now.
 *
 * @param root The root.
 * @param now In ms since the Unix epoch.
 * @throws {MoatError} `root-expired` or `root-not-yet-valid`.
 */
export function checkValidity(
  root: Pick<Root, "notBefore" | "expiresAt">,
  now: number,
): void {
  if (now >= root.expiresAt) {
    throw new MoatError(
      "root-expired",
      `Cannot use moat's root certificate: it ended ${
        formatTime(root.expiresAt)
      }`,
      { hint: ROTATE_HINT },
    );
  }
  if (now < root.notBefore) {
    throw new MoatError(
      "root-not-yet-valid",
      `Cannot use moat's root certificate: it begins ${
        formatTime(root.notBefore)
      }, and this host's clock says ${formatTime(now)}`,
      { hint: "set this host's clock, or else moat ca rotate" },
    );
  }
}

/**
 * Warns of a root that ends within 30 days.
 *
 * @param root The root.
 * @param now In ms since the Unix epoch.
 * @returns One sentence, or undefined if there is time left.
 */
export function endingSoon(
  root: Pick<Root, "expiresAt">,
  now: number,
): string | undefined {
  if (root.expiresAt - now > WARN_AHEAD_MS) return undefined;
  return `moat's root certificate ends ${formatTime(root.expiresAt)}; ` +
    ROTATE_HINT;
}

function parse(certificate: Bytes): X509Certificate | undefined {
  try {
    return new X509Certificate(certificate);
  } catch {
    return undefined;
  }
}

/** PKCS#8 out of PEM, undefined if it is something else. */
function decodeKey(text: Bytes): Bytes | undefined {
  const [, base64] = new TextDecoder().decode(text).match(
    /^-----BEGIN PRIVATE KEY-----\n([A-Za-z0-9+/=\n]+)-----END PRIVATE KEY-----\n?$/,
  ) ?? [];
  return base64 === undefined
    ? undefined
    : Uint8Array.from(Buffer.from(base64, "base64"));
}

function matches(certificate: X509Certificate, pkcs8: Bytes): boolean {
  const key = Buffer.from(pkcs8);
  return certificate.checkPrivateKey(
    createPrivateKey({ key, format: "der", type: "pkcs8" }),
  );
}

function badRoot(fault: string): MoatError {
  return new MoatError(
    "bad-root",
    `Cannot use moat's root certificate: ${fault}`,
    { hint: `bring it back from a backup; or else ${ROTATE_HINT}` },
  );
}
