/**
 * Which certificate authorities upstreams may have, besides those that the
 * runtime brings along (Mozilla's): those of this host, and those of files
 * that an operator names.
 *
 * @module
 */

import { join } from "node:path";
import { rootCertificates } from "node:tls";
import type { Clock } from "$core/clock.ts";
import type { Log } from "$core/log.ts";
import { CERTIFICATE, SYSTEM_FILES } from "./trust.ts";

/** A look at the files costs less than a handshake; a client that retries sees the change. */
const CHECK_EVERY_MS = 1_000;

/** All the world's roots have a tenth of this. */
const MAX_BYTES = 4 * 1024 * 1024;

/** What OpenSSL reads in a directory of certificates. */
const HASHED_NAME = /^[0-9a-f]{8}\.\d+$/;

/** What {@link UpstreamRoots} reads, and whom it tells. */
export interface UpstreamRootsOptions {
  /**
   * `SSL_CERT_FILE` takes the place of the system's bundle; `SSL_CERT_DIR`
   * (several by `:`) and `DENO_CERT` are added.
   */
  readonly env: Readonly<Record<string, string>>;
  /** How often files are looked at. */
  readonly clock: Clock;
  /** Told of files that cannot be used. */
  readonly log: Log;
  /** Where the system's roots are. Default: the usual places of Linux, BSD and macOS. */
  readonly systemBundles?: readonly string[];
}

/**
 * The authorities of upstreams beyond Mozilla's.
 *
 * Each costs some microseconds per handshake; so those that the runtime trusts
 * anyway are left out, and nearly nothing is left on most hosts.
 */
export class UpstreamRoots {
  readonly #options: UpstreamRootsOptions;
  #extra: string[] = [];
  #state: string | undefined;
  #checkAt = -Infinity;

  /** Reads nothing yet. */
  constructor(options: UpstreamRootsOptions) {
    this.#options = options;
  }

  /**
   * The certificates as they are now, each in PEM, for `caCerts`.
   *
   * Files are looked at once a second at most, and read when they changed.
   * What cannot be used is logged and left out: less is trusted then, not more.
   */
  get certificates(): string[] {
    const now = this.#options.clock.now();
    if (now >= this.#checkAt) {
      this.#checkAt = now + CHECK_EVERY_MS;
      this.#refresh();
    }
    return this.#extra;
  }

  #refresh(): void {
    const sources = this.#sources();
    const state = sources.map(stateOf).join("\n");
    if (state === this.#state) return;
    this.#state = state;
    const known = new Set(rootCertificates.map(bodyOf));
    const extra = new Map<string, string>();
    for (const path of sources.flatMap(filesOf)) {
      for (const pem of this.#read(path).match(CERTIFICATE) ?? []) {
        const body = bodyOf(pem);
        if (!known.has(body)) extra.set(body, `${pem}\n`);
      }
    }
    this.#extra = this.#usable([...extra.values()]);
  }

  /** Files and directories. */
  #sources(): string[] {
    const { env, systemBundles = SYSTEM_FILES } = this.#options;
    const bundle = env["SSL_CERT_FILE"] ||
      systemBundles.find((path) => stateOf(path) !== ABSENT);
    const directories = env["SSL_CERT_DIR"]?.split(":") ?? [];
    return [bundle, ...directories, env["DENO_CERT"]]
      .flatMap((path) => path ? [path] : []);
  }

  #read(path: string): string {
    try {
      return readSmallFile(path);
    } catch (error) {
      this.#options.log.warn("upstream-roots-unreadable", {
        path,
        kind: error instanceof Error ? error.name : typeof error,
      });
      return "";
    }
  }

  /** One that the runtime cannot parse would break each handshake. */
  #usable(certificates: string[]): string[] {
    if (isUsable(certificates)) return certificates;
    const usable = certificates.filter((pem) => isUsable([pem]));
    this.#options.log.warn("upstream-roots-unusable", {
      count: certificates.length - usable.length,
    });
    return usable;
  }
}

const ABSENT = "absent";

/** Changes with what is there. */
function stateOf(path: string): string {
  try {
    const { mtime, size, ino } = Deno.statSync(path);
    return `${path} ${mtime?.getTime()} ${size} ${ino}`;
  } catch {
    return ABSENT;
  }
}

/** The certificates in a directory, or the one file that it is. */
function filesOf(path: string): string[] {
  try {
    return [...Deno.readDirSync(path)]
      .filter(({ name }) => HASHED_NAME.test(name))
      .map(({ name }) => join(path, name));
  } catch {
    return [path];
  }
}

function readSmallFile(path: string): string {
  const { isFile, size } = Deno.statSync(path);
  if (!isFile || size > MAX_BYTES) throw new TypeError("no file of this kind");
  return Deno.readTextFileSync(path);
}

/** The base64 alone, to compare. */
function bodyOf(pem: string): string {
  return pem.replaceAll(/-----[^-]+-----|\s/g, "");
}

/** Asks the runtime, which parses them as for a handshake. */
function isUsable(certificates: string[]): boolean {
  try {
    Deno.createHttpClient({ caCerts: certificates }).close();
    return true;
  } catch {
    return false;
  }
}
