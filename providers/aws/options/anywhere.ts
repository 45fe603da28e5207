/**
 * Reads the flags of IAM Roles Anywhere, which `moat grant aws` and
 * `moat credential-process` share.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/rolesanywhere/latest/userguide/authentication-create-session.html | CreateSession}
 */

import { resolve } from "node:path";
import { type MoatError, usageError } from "$core/errors.ts";
import type { FlagValues, GrantRequest } from "$core/provider.ts";
import type { Secret } from "$core/secret.ts";
import { readStart, valuesOf } from "./values.ts";
import { type Partition, pickRegion } from "../region.ts";
import type { Anywhere } from "../settings.ts";
import { isEndpoint } from "../source.ts";

/** Far more than any key has; bounds what is looked at. */
const MAX_KEY_BYTES = 65_536;

/**
 * Names the flags that Roles Anywhere cannot do without.
 *
 * @param flags What was given.
 * @param roleFlag The flag that names the role.
 * @param needsKey Whether a PEM certificate needs `--private-key`.
 * @throws {MoatError} `usage`, naming all that are missing.
 */
export function requireAnywhereFlags(
  flags: FlagValues,
  roleFlag: string,
  needsKey: boolean,
): void {
  const isKeyMissing = needsKey &&
    !valuesOf(flags, "certificate").some(isPkcs12);
  const missing = [
    roleFlag,
    "trust-anchor-arn",
    "profile-arn",
    "certificate",
    ...isKeyMissing ? ["private-key"] : [],
  ].filter((name) => !valuesOf(flags, name).length).map((name) => `--${name}`);
  if (missing.length === 0) return;
  throw usageError(
    `Cannot use Roles Anywhere: ${missing.join(", ")} ${
      missing.length > 1 ? "are" : "is"
    } missing`,
    "it needs the ARNs of role, trust anchor and profile, a certificate and its key",
  );
}

/**
 * Reads the flags of Roles Anywhere. No file is opened.
 *
 * @param flags What was given; checked by {@link requireAnywhereFlags}.
 * @param partition The role's partition.
 * @returns Where certificate, key and service are. Without `--private-key`
 * the certificate's file holds the key. The region is that of `--region`, else
 * the trust anchor's.
 * @throws {MoatError} `usage`.
 */
export function readAnywhere(
  flags: FlagValues,
  partition: Partition,
): Anywhere {
  const [trustAnchorArn = ""] = valuesOf(flags, "trust-anchor-arn");
  const [profileArn = ""] = valuesOf(flags, "profile-arn");
  const anchor = parseArn(trustAnchorArn, "trust-anchor", partition);
  const profile = parseArn(profileArn, "profile", partition);
  if (anchor.region !== profile.region) {
    throw usageError(
      `Cannot use this trust anchor with this profile: they are in the regions "${anchor.region}" and "${profile.region}"`,
      "Roles Anywhere wants both in one region",
    );
  }
  const endpoint = readEndpoint(flags);
  return {
    trustAnchorArn,
    profileArn,
    ...readFiles(flags),
    region: readRegion(flags, partition, anchor.region, endpoint),
    ...(endpoint !== undefined && { endpoint }),
    ...(flags["fips"] && { fips: true }),
    ...(flags["dual-stack"] && { dualStack: true }),
  };
}

/**
 * Asks for the passphrase of a key that has one.
 *
 * @param anywhere Where the key is.
 * @param ask Asks the person at the terminal; absent without one.
 * @returns The passphrase; undefined if the key needs none, or a file gives it.
 * @throws {MoatError} `usage` if there is no terminal.
 */
export async function askPassphrase(
  anywhere: Anywhere,
  ask: GrantRequest["ask"],
): Promise<Secret | undefined> {
  const { passphraseFile, privateKey, certificates } = anywhere;
  if (passphraseFile) return undefined;
  const file = certificates.find(isPkcs12) ?? privateKey ?? "";
  if (!isPkcs12(file) && !await isEncrypted(file)) return undefined;
  if (ask) return await ask(`Passphrase of ${file} (empty for none): `);
  throw encryptedKey(file);
}

/**
 * Whether a file is a PEM file with an encrypted PKCS#8 key.
 *
 * @param path The file; one that cannot be read is reported when it is used.
 */
export async function isEncrypted(path: string): Promise<boolean> {
  const bytes = await readStart(path, MAX_KEY_BYTES).catch(() => undefined);
  const text = new TextDecoder("latin1").decode(bytes);
  return text.includes("BEGIN ENCRYPTED PRIVATE KEY");
}

/**
 * Tells that a passphrase is needed.
 *
 * @param file The key's file.
 * @returns The error, to be thrown by the caller.
 */
export function encryptedKey(file: string): MoatError {
  return usageError(
    `Cannot use the key in ${
      JSON.stringify(file)
    }: it is encrypted, and there is no terminal to ask for its passphrase`,
    "give --passphrase-file FILE; an empty file stands for no passphrase",
  );
}

function readFiles(
  flags: FlagValues,
): Pick<
  Anywhere,
  "certificates" | "intermediates" | "privateKey" | "passphraseFile"
> {
  const files = (name: string) =>
    valuesOf(flags, name).map((path) => resolve(checkFile(name, path)));
  const certificates = files("certificate");
  const intermediates = files("intermediates");
  const pkcs12 = certificates.find(isPkcs12);
  const [privateKey = pkcs12 ?? certificates[0] ?? ""] = files("private-key");
  if (pkcs12 && privateKey !== pkcs12) throw twoKeys(pkcs12);
  const [passphraseFile] = files("passphrase-file");
  return {
    certificates,
    ...(intermediates.length > 0 && { intermediates }),
    ...(!pkcs12 && { privateKey }),
    ...(passphraseFile !== undefined && { passphraseFile }),
  };
}

/** Forms that aws_signing_helper takes in the place of a file. */
function checkFile(flag: string, path: string): string {
  const [, device] = /^(pkcs11|handle):/.exec(path) ?? [];
  if (!device) return path;
  throw usageError(
    `Cannot use --${flag} ${device}:…: moat reads ${
      device === "pkcs11" ? "no PKCS#11 tokens" : "no TPM keys"
    }, only files`,
    "keep aws_signing_helper for this key, as credential_process of a profile, and run moat grant aws --source direct --aws-profile PROFILE",
  );
}

function isPkcs12(path: string): boolean {
  return /\.(p12|pfx)$/i.test(path);
}

function twoKeys(pkcs12: string): MoatError {
  return usageError(
    `Cannot combine --private-key with the PKCS#12 file ${
      JSON.stringify(pkcs12)
    }: that holds a key itself`,
    "leave --private-key out",
  );
}

interface AnywhereArn {
  readonly region: string;
}

function parseArn(
  arn: string,
  resource: "trust-anchor" | "profile",
  partition: Partition,
): AnywhereArn {
  const match = /^arn:([\w-]+):rolesanywhere:([\w-]+):\d{12}:([a-z-]+)\/[\w-]+$/
    .exec(arn);
  const [, found, region = "", kind] = match ?? [];
  if (kind !== resource) {
    throw badArn(arn, resource, "the ARN as the console shows it");
  }
  if (found === partition) return { region };
  throw badArn(arn, resource, `the partition of the role, "${partition}"`);
}

function readRegion(
  flags: FlagValues,
  partition: Partition,
  anchorRegion: string,
  endpoint: string | undefined,
): string {
  const [wanted] = valuesOf(flags, "region");
  const region = pickRegion(partition, [
    { region: wanted, from: "--region" },
    { region: anchorRegion, from: "--trust-anchor-arn" },
  ]);
  if (region === anchorRegion || endpoint !== undefined) return region;
  throw usageError(
    `Cannot use --region ${region}: the trust anchor is in the region "${anchorRegion}"`,
    "leave --region out; AWS_REGION names the workload's region if it is another",
  );
}

function readEndpoint(flags: FlagValues): string | undefined {
  const [endpoint] = valuesOf(flags, "endpoint");
  if (endpoint === undefined) return undefined;
  if (!isEndpoint(endpoint)) {
    throw usageError(
      "Cannot use this --endpoint: wanted an http or https URL without a user",
      "give a URL such as https://rolesanywhere.eu-central-1.amazonaws.com",
    );
  }
  if (!flags["fips"] && !flags["dual-stack"]) return endpoint;
  throw usageError(
    "Cannot combine --endpoint with --fips or --dual-stack: each chooses the endpoint",
    "leave one of them out",
  );
}

function badArn(arn: string, resource: string, wanted: string): MoatError {
  return usageError(
    `Cannot use ${JSON.stringify(arn)} as --${resource}-arn: wanted ${wanted}`,
    `give an ARN such as arn:aws:rolesanywhere:eu-central-1:123456789012:${resource}/ID`,
  );
}
