/**
 * The key of the grants: 32 random bytes in the OS keyring or in a 0600 file.
 *
 * `key.json` records at first use which of the two, and the key's id. From
 * then on the record decides. When the key is not where the record says, that
 * is an error: a second key would make the grants of the first unreadable.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createHash, randomBytes } from "node:crypto";
import { basename, dirname, join } from "node:path";
import * as v from "valibot";
import type { Clock } from "../clock.ts";
import { MoatError, usageError } from "../errors.ts";
import {
  checkPrivateDir,
  ensurePrivateDir,
  fileNames,
  readPrivateFile,
  removeStaleTemps,
  withLock,
  writeFileAtomic,
} from "../files.ts";
import type { Paths } from "../paths.ts";
import { Secret } from "../secret.ts";
import { findKeyring, type Keyring } from "./keyring.ts";

/** AES-256. */
const KEY_BYTES = 32;

/** A key that grants are encrypted with. */
export interface GrantKey {
  /** 16 hexadecimal digits, safe to print. */
  readonly id: string;
  /** For AES-GCM; not extractable. */
  readonly cryptoKey: CryptoKey;
}

/** Gives the key of the grants. */
export interface KeyProvider {
  /**
   * The key, which must exist.
   *
   * @throws {MoatError} `key-unavailable` if it cannot be had now, `wrong-key`
   * if another one is in its place, `insecure-file` if others can read it,
   * `usage` if `MOAT_KEYRING` is neither `file` nor `os`.
   */
  load(): Promise<GrantKey>;
  /**
   * The key, made now if there is neither one nor a grant.
   *
   * @throws {MoatError} As {@link KeyProvider.load}.
   */
  loadOrCreate(): Promise<GrantKey>;
}

/** What {@link createKeyProvider} needs. */
export interface KeyOptions {
  /** Where record, key, grants and locks are. */
  readonly paths: Paths;
  /** Paces locks and limits the keyring's time. */
  readonly clock: Clock;
  /** `MOAT_KEYRING` forces `file` or `os` at first use. */
  readonly env: Readonly<Record<string, string>>;
  /** Default: this machine's keyring, if it has one. */
  readonly findKeyring?: () => Promise<Keyring | undefined>;
}

const KeyRecord = v.strictObject({
  version: v.literal(1),
  where: v.picklist(["file", "os"]),
  id: v.pipe(v.string(), v.regex(/^[0-9a-f]{16}$/)),
});
type KeyRecord = v.InferOutput<typeof KeyRecord>;

/**
 * Makes a key provider. Nothing is read, run or created until a key is needed.
 *
 * @param options Paths, clock, environment, keyring.
 * @returns A provider that keeps the key in memory while the record stays the same.
 */
export function createKeyProvider(options: KeyOptions): KeyProvider {
  return new RecordedKey(options);
}

/**
 * Gives a key's id.
 *
 * @param key The 32 bytes.
 * @returns The first 16 hexadecimal digits of SHA-256("moat key id\0" || key).
 */
export function keyId(key: Uint8Array): string {
  return createHash("sha256").update("moat key id\0").update(key)
    .digest("hex").slice(0, 16);
}

class RecordedKey implements KeyProvider {
  readonly #paths: Paths;
  readonly #clock: Clock;
  readonly #env: Readonly<Record<string, string>>;
  readonly #findKeyring: () => Promise<Keyring | undefined>;
  #current: GrantKey | undefined;

  constructor({ paths, clock, env, findKeyring: find }: KeyOptions) {
    this.#paths = paths;
    this.#clock = clock;
    this.#env = env;
    this.#findKeyring = find ?? (() => findKeyring({ env, clock }));
  }

  async load(): Promise<GrantKey> {
    forcedPlace(this.#env);
    const record = await this.#readRecord();
    if (!record) throw noRecord(this.#paths.keyRecord);
    return await this.#open(record);
  }

  async loadOrCreate(): Promise<GrantKey> {
    const place = forcedPlace(this.#env);
    const record = await this.#readRecord();
    if (record) return await this.#open(record);
    const lock = join(this.#paths.locks, "key.lock");
    return await withLock(lock, this.#clock, async () => {
      const made = await this.#readRecord() ?? await this.#create(place);
      return await this.#open(made);
    });
  }

  async #readRecord(): Promise<KeyRecord | undefined> {
    const path = this.#paths.keyRecord;
    await checkPrivateDir(dirname(path));
    const bytes = await readPrivateFile(path);
    if (!bytes) return undefined;
    try {
      return v.parse(KeyRecord, JSON.parse(new TextDecoder().decode(bytes)));
    } catch {
      throw unavailable(`its record "${path}" is malformed`, RESTORE_HINT);
    }
  }

  async #open(record: KeyRecord): Promise<GrantKey> {
    if (this.#current?.id === record.id) return this.#current;
    const key = record.where === "file"
      ? await this.#fromFile()
      : await this.#fromKeyring(record.id);
    const found = keyId(key);
    if (found !== record.id) throw wrongKey(record.id, found);
    this.#current = { id: found, cryptoKey: await importKey(key) };
    key.fill(0);
    return this.#current;
  }

  async #fromFile(): Promise<Uint8Array<ArrayBuffer>> {
    const path = this.#paths.keyFile;
    const bytes = await readPrivateFile(path);
    if (!bytes) {
      throw unavailable(`wanted it in "${path}", found no file`, RESTORE_HINT);
    }
    const text = new TextDecoder().decode(bytes).replace(/\n$/, "");
    bytes.fill(0);
    return decodeKey(text, `"${path}"`);
  }

  async #fromKeyring(id: string): Promise<Uint8Array<ArrayBuffer>> {
    const keyring = await this.#findKeyring();
    if (!keyring) {
      throw unavailable(
        "it is in the OS keyring, whose program is not on PATH",
        "install secret-tool (package libsecret-tools), then run it again",
      );
    }
    const text = await keyring.lookup(account(id));
    if (text === undefined) {
      throw unavailable(
        "it is in the OS keyring, which is locked, not running or without it",
        "unlock the keyring of your desktop session, then run it again",
      );
    }
    return decodeKey(text, "the OS keyring");
  }

  async #create(place: Place): Promise<KeyRecord> {
    const { grants, keyFile, keyRecord } = this.#paths;
    const names = await fileNames(grants);
    if (names.some((name) => name.endsWith(".grant"))) {
      throw noRecord(keyRecord);
    }
    await ensurePrivateDir(dirname(keyRecord));
    const ours = [basename(keyFile), basename(keyRecord)];
    await removeStaleTemps(dirname(keyRecord), (name) => ours.includes(name));
    const record = await this.#keep(place);
    await writeFileAtomic(keyRecord, JSON.stringify(record) + "\n");
    return record;
  }

  async #keep(place: Place): Promise<KeyRecord> {
    const id = place === "file" ? undefined : await this.#keepInKeyring();
    if (id !== undefined) return { version: 1, where: "os", id };
    if (place === "os") throw noKeyring();
    return { version: 1, where: "file", id: await this.#keepInFile() };
  }

  /** Its id, or undefined if no keyring here gives back what it was given. */
  async #keepInKeyring(): Promise<string | undefined> {
    const keyring = await this.#findKeyring();
    if (!keyring) return undefined;
    const key = randomBytes(KEY_BYTES);
    const text = new Secret(key.toString("base64"));
    const id = keyId(key);
    key.fill(0);
    if (!await keyring.store(account(id), text.reveal())) return undefined;
    const stored = await keyring.lookup(account(id));
    return stored === text.reveal() ? id : undefined;
  }

  async #keepInFile(): Promise<string> {
    // A first use that was cut short may have left a key; keep it, in case.
    if (!await readPrivateFile(this.#paths.keyFile)) {
      const text = randomBytes(KEY_BYTES).toString("base64");
      await writeFileAtomic(this.#paths.keyFile, text + "\n");
    }
    return keyId(await this.#fromFile());
  }
}

type Place = "file" | "os" | undefined;

function forcedPlace(env: Readonly<Record<string, string>>): Place {
  const value = env["MOAT_KEYRING"];
  if (!value) return undefined;
  if (value === "file" || value === "os") return value;
  throw usageError(
    `Cannot use MOAT_KEYRING=${JSON.stringify(value)}: wanted file or os`,
    "unset MOAT_KEYRING to use the OS keyring where there is one",
  );
}

function account(id: string): string {
  return `grants-key-${id}`;
}

function decodeKey(text: string, where: string): Uint8Array<ArrayBuffer> {
  const key = Buffer.from(text, "base64");
  if (key.length === KEY_BYTES && key.toString("base64") === text) return key;
  throw unavailable(
    `wanted ${KEY_BYTES} bytes of base64 in ${where}, found something else`,
    RESTORE_HINT,
  );
}

async function importKey(key: Uint8Array<ArrayBuffer>): Promise<CryptoKey> {
  return await crypto.subtle.importKey("raw", key, "AES-GCM", false, [
    "encrypt",
    "decrypt",
  ]);
}

const RESTORE_HINT =
  "bring the key back from a backup, or revoke all grants and grant them anew";

function unavailable(fault: string, hint: string): MoatError {
  return new MoatError(
    "key-unavailable",
    `Cannot use the key of the grants: ${fault}`,
    { hint },
  );
}

function noRecord(path: string): MoatError {
  return unavailable(
    `there are grants, but no record of their key in "${path}"`,
    RESTORE_HINT,
  );
}

function noKeyring(): MoatError {
  return unavailable(
    "MOAT_KEYRING=os, but no OS keyring gives back what is stored in it",
    "unlock the keyring of your desktop session, or set MOAT_KEYRING=file",
  );
}

function wrongKey(wanted: string, found: string): MoatError {
  return new MoatError(
    "wrong-key",
    `Cannot use the key of the grants: wanted key ${wanted}, found key ${found}`,
    { hint: RESTORE_HINT },
  );
}
