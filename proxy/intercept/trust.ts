/**
 * What makes a client's programs trust moat's root: files, and the environment
 * variables that name them. Certificates only, never a key.
 *
 * Most variables replace what a program trusts, so that they get a bundle: the
 * host's system roots and ours. Some add to it, and get ours alone.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createHash, X509Certificate } from "node:crypto";
import { MoatError } from "$core/errors.ts";
import { readFileIfAny } from "$core/files.ts";
import type { MountedFile } from "$core/provider.ts";
import { pem } from "./der.ts";

/** System roots and ours, PEM. */
const BUNDLE_FILE = "ca.pem";

/** Ours alone, PEM. */
const ROOT_FILE = "ca-root.pem";

/** The bundle as a Java trust store. */
const JAVA_FILE = "ca.jks";

/** Java's own default: it protects nothing, the content is public. */
const JAVA_PASSWORD = "changeit";

/** Where systems keep their roots in one file, in the order of Go's crypto/x509. */
export const SYSTEM_FILES: readonly string[] = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/pki/tls/cacert.pem",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

/** A certificate in PEM; whatever else is in the file is passed over. */
export const CERTIFICATE =
  /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/** Variables that replace what a program trusts. */
const BUNDLE_VARIABLES: readonly string[] = [
  "SSL_CERT_FILE",
  "REQUESTS_CA_BUNDLE",
  "CURL_CA_BUNDLE",
  "GIT_SSL_CAINFO",
  "CARGO_HTTP_CAINFO",
  "PIP_CERT",
];

/** Variables that add to what a program trusts. */
const EXTRA_VARIABLES: readonly string[] = [
  "NODE_EXTRA_CA_CERTS",
  "DENO_CERT",
];

/** What this host trusts. */
export interface SystemRoots {
  /** PEM, one each. */
  readonly certificates: readonly string[];
  /** The file that they are from; undefined if there is none. */
  readonly path: string | undefined;
  /** What a person should know about them, if anything. */
  readonly note: string | undefined;
}

/**
 * Reads what this host trusts: the file that `SSL_CERT_FILE` names, else the
 * first there is of those that systems have.
 *
 * @param env The process's environment.
 * @param files Where to look without the variable. Default: the usual places.
 * @returns The certificates, each once; what is none is left out.
 * @throws {MoatError} `no-roots` if `SSL_CERT_FILE` names no certificates,
 * `cannot-read`.
 */
export async function systemRoots(
  env: Readonly<Record<string, string>>,
  files: readonly string[] = SYSTEM_FILES,
): Promise<SystemRoots> {
  const named = env["SSL_CERT_FILE"];
  for (const path of named ? [named] : files) {
    const bytes = await readFileIfAny(path);
    const certificates = certificatesIn(new TextDecoder().decode(bytes));
    if (certificates.length > 0) return { certificates, path, note: undefined };
  }
  if (named) {
    throw new MoatError(
      "no-roots",
      `Cannot use SSL_CERT_FILE="${named}": wanted certificates in PEM, found ` +
        "none",
      { hint: "unset SSL_CERT_FILE, or let it name the roots of this host" },
    );
  }
  return {
    certificates: [],
    path: undefined,
    note: "this host has no file of system roots, so that clients trust " +
      "moat's root alone; set SSL_CERT_FILE to one if hosts are tunnelled",
  };
}

/** Each one that `node:crypto` can read, once; comments and keys are not copied. */
function certificatesIn(text: string): string[] {
  const found = (text.match(CERTIFICATE) ?? []).flatMap((block) => {
    try {
      return [pem("CERTIFICATE", new X509Certificate(block).raw)];
    } catch {
      // A program that finds it in a bundle might refuse all of the bundle.
      return [];
    }
  });
  return [...new Set(found)];
}

/**
 * Joins what this host trusts and moat's root.
 *
 * @param system From {@link systemRoots}.
 * @param root Moat's root, PEM.
 * @returns PEM, one each, ours last.
 */
export function bundle(
  system: Pick<SystemRoots, "certificates">,
  root: string,
): readonly string[] {
  return [...system.certificates.filter((other) => other !== root), root];
}

/**
 * Makes a trust store of the form JKS, which every Java reads. PKCS#12 would
 * need an attribute of Java's own beside each certificate.
 *
 * @param certificates PEM, one each.
 * @returns The file, the same for the same certificates; its password is `changeit`.
 * @see {@link https://github.com/openjdk/jdk/blob/master/src/java.base/share/classes/sun/security/provider/JavaKeyStore.java | JavaKeyStore, engineStore}
 */
export function javaTrustStore(certificates: readonly string[]): Uint8Array {
  const entries = certificates.map((certificate, index) => {
    const der = Buffer.from(certificate.replace(/-----.*-----/g, ""), "base64");
    return Buffer.concat([
      uint32(2), // a trusted certificate
      text16(`moat-${index + 1}`),
      Buffer.alloc(8), // made at the epoch: the same input gives the same file
      text16("X.509"),
      uint32(der.length),
      der,
    ]);
  });
  const body = Buffer.concat([
    uint32(0xfeedfeed),
    uint32(2), // version
    uint32(entries.length),
    ...entries,
  ]);
  const password = Buffer.from(JAVA_PASSWORD, "utf16le").swap16();
  const digest = createHash("sha1").update(password)
    .update("Mighty Aphrodite").update(body).digest();
  return Buffer.concat([body, digest]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** As java.io.DataOutput.writeUTF does, which for ASCII is UTF-8. */
function text16(text: string): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(text.length);
  return Buffer.concat([length, Buffer.from(text)]);
}

/**
 * The files that make a client trust moat's root.
 *
 * @param system From {@link systemRoots}.
 * @param root Moat's root, PEM.
 * @returns Files for one directory, which {@link trustEnv} names.
 */
export function trustFiles(
  system: Pick<SystemRoots, "certificates">,
  root: string,
): readonly MountedFile[] {
  const all = bundle(system, root);
  return [
    { path: BUNDLE_FILE, mode: 0o444, content: all.join("") },
    { path: ROOT_FILE, mode: 0o444, content: root },
    { path: JAVA_FILE, mode: 0o444, content: javaTrustStore(all) },
  ];
}

/**
 * The variables that make a client's programs trust what {@link trustFiles}
 * made.
 *
 * npm is served by `NODE_EXTRA_CA_CERTS`: its own `cafile` would take the
 * place of one that the image's configuration names.
 *
 * @param directory Where the files are as the client sees it, without a final slash.
 * @param vendorVariables More that want a bundle, of vendors' own tools. Default: none.
 * @returns Variables for the client's environment.
 */
export function trustEnv(
  directory: string,
  vendorVariables: readonly string[] = [],
): Record<string, string> {
  const bundles = [...BUNDLE_VARIABLES, ...vendorVariables];
  const store = javaQuoted(`${directory}/${JAVA_FILE}`);
  return {
    ...Object.fromEntries(
      bundles.map((name) => [name, `${directory}/${BUNDLE_FILE}`]),
    ),
    ...Object.fromEntries(
      EXTRA_VARIABLES.map((name) => [name, `${directory}/${ROOT_FILE}`]),
    ),
    NODE_USE_ENV_PROXY: "1",
    JAVA_TOOL_OPTIONS: `-Djavax.net.ssl.trustStore=${store} ` +
      `-Djavax.net.ssl.trustStorePassword=${JAVA_PASSWORD}`,
  };
}

/** Java splits the variable at blanks outside quotes, and has no escapes. */
function javaQuoted(path: string): string {
  if (!/[\s"']/.test(path)) return path;
  const quote = path.includes('"') ? "'" : '"';
  return `${quote}${path}${quote}`;
}
