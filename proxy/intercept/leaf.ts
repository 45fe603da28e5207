/**
 * Leaf certificates: what moat shows to a client in place of a host's own.
 *
 * All leaves of a process share one key, made in advance, so that a new host
 * costs one signature. Whoever had that key could pretend to be any of these
 * hosts; it never leaves the process, and all of them are this process anyway.
 *
 * @module
 */

import type { Clock } from "$core/clock.ts";
import { MoatError } from "$core/errors.ts";
import { addressBytes, canonicalHost } from "$core/host.ts";
import {
  BACKDATE_MS,
  commonName,
  EXTENSION,
  extension,
  keyIds,
  makeKey,
  type NewKey,
  signCertificate,
  wholeSeconds,
} from "./certificate.ts";
import { bitString, type Bytes, oid, pem, sequence, tagged } from "./der.ts";
import { checkValidity, type Root, type RootStore } from "./root.ts";

/** Short, because nothing revokes a leaf. Counted from its back-dated begin. */
const LIFETIME_MS = 7 * 24 * 60 * 60_000;

/** How long a root is used before its file is looked at again. */
const CHECK_MS = 1000;

/** RFC 5280 appendix A.1, ub-common-name. */
const MAX_COMMON_NAME = 64;

/** RFC 5280 section 4.2.1.12, id-kp-serverAuth. */
const SERVER_AUTH = sequence(oid("1.3.6.1.5.5.7.3.1"));

/** The same in all leaves. */
const FIXED_EXTENSIONS: readonly Bytes[] = [
  extension(EXTENSION.basicConstraints, true, sequence()),
  extension(
    EXTENSION.keyUsage,
    true,
    bitString(Uint8Array.of(0b1000_0000), 7),
  ),
  extension(EXTENSION.extendedKeyUsage, false, SERVER_AUTH),
];

/** A certificate for one host, as `Deno.listenTls` takes it. */
export interface Leaf {
  /** PEM: leaf, then root. */
  readonly cert: string;
  /** PEM, PKCS#8; the same for all leaves of a {@link LeafMinter}. */
  readonly key: string;
  /** In ms since the Unix epoch, whole seconds. */
  readonly notBefore: number;
  /** In ms since the Unix epoch, whole seconds. */
  readonly expiresAt: number;
}

/** Makes leaves, always under the root that is on disk. Keeps none. */
export class LeafMinter {
  readonly #roots: Pick<RootStore, "loadOrCreate" | "stamp">;
  readonly #clock: Clock;
  #key: Promise<NewKey> | undefined;
  #root: Root | undefined;
  #checkedAt = 0;
  #checking: Promise<Root> | undefined;

  /** Makes a minter; nothing is read or created yet. */
  constructor(roots: Pick<RootStore, "loadOrCreate" | "stamp">, clock: Clock) {
    this.#roots = roots;
    this.#clock = clock;
  }

  /**
   * Looks whether the root was changed, at most once a second, and makes the
   * leaf key if there is none yet. To be called before a kept leaf is used,
   * and at start, so that the first client does not wait.
   *
   * @returns The root's {@link RootStore.stamp}: leaves made under another one
   * are to be dropped.
   * @throws {MoatError} As {@link RootStore.loadOrCreate}: then no leaf may be used.
   */
  async checkRoot(): Promise<string> {
    const [root] = await Promise.all([this.#current(), this.#leafKey()]);
    return root.stamp;
  }

  /**
   * Makes a leaf.
   *
   * Begins 24 h in the past, lasts 7 days at most, and ends with the root.
   *
   * @param host Canonical, see `core/host.ts`: A-labels, IPv4 or IPv6.
   * @returns A new leaf.
   * @throws {MoatError} `bad-host` if no certificate can name it, and as
   * {@link RootStore.loadOrCreate}.
   */
  async mint(host: string): Promise<Leaf> {
    const alternativeName = generalName(host);
    const [root, key] = await Promise.all([this.#current(), this.#leafKey()]);
    const now = this.#clock.now();
    checkValidity(root, now);
    const notBefore = Math.max(
      wholeSeconds(now - BACKDATE_MS),
      root.notBefore,
    );
    const expiresAt = Math.min(notBefore + LIFETIME_MS, root.expiresAt);
    const hasName = host.length <= MAX_COMMON_NAME;
    const certificate = await signCertificate({
      subject: hasName ? commonName(host) : sequence(),
      issuer: commonName(root.subject),
      notBefore,
      expiresAt,
      publicKey: key.publicKey,
      extensions: [
        ...FIXED_EXTENSIONS,
        // Without a subject it is what names the host (RFC 5280 section 4.2.1.6).
        extension(
          EXTENSION.subjectAltName,
          !hasName,
          sequence(alternativeName),
        ),
        ...keyIds(key.keyId, root.keyId),
      ],
    }, root.signer);
    const cert = pem("CERTIFICATE", certificate) + root.certificate;
    return { cert, key: key.pem, notBefore, expiresAt };
  }

  #current(): Promise<Root> | Root {
    const age = Math.abs(this.#clock.now() - this.#checkedAt);
    if (this.#root && age < CHECK_MS) return this.#root;
    return this.#checking ??= this.#check().finally(() => {
      this.#checking = undefined;
    });
  }

  async #check(): Promise<Root> {
    const checkedAt = this.#clock.now();
    let root = this.#root;
    if (!root || root.stamp !== await this.#roots.stamp()) {
      root = await this.#roots.loadOrCreate();
    }
    this.#root = root;
    this.#checkedAt = checkedAt;
    return root;
  }

  #leafKey(): Promise<NewKey> {
    return this.#key ??= makeKey();
  }
}

/**
 * Tells whether a leaf is to be replaced: less than a third of its life is
 * left, or the clock was set so that it is not valid.
 *
 * @param leaf The leaf.
 * @param now In ms since the Unix epoch.
 * @returns Whether to mint anew.
 */
export function needsRenewal(
  { notBefore, expiresAt }: Pick<Leaf, "notBefore" | "expiresAt">,
  now: number,
): boolean {
  // Near the root's end lives get shorter; each still lasts two thirds.
  const life = expiresAt - (notBefore + BACKDATE_MS);
  return now < notBefore || expiresAt - now < life / 3;
}

/** RFC 5280 section 4.2.1.6: dNSName is [2], iPAddress [7]. */
function generalName(host: string): Bytes {
  if (canonicalHost(host) !== host) {
    throw new MoatError(
      "bad-host",
      `Cannot make a certificate for ${JSON.stringify(host)}: wanted a DNS ` +
        "name in lower case, or an IP address",
    );
  }
  const address = addressBytes(host);
  return address
    ? tagged(7, [address], false)
    : tagged(2, [new TextEncoder().encode(host)], false);
}
