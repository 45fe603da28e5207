/**
 * The files of needroleshere, so that its directories are served as they are
 * and what moat writes there it can read.
 *
 * Two members are moat's own, and needroleshere passes over them:
 * `passphrase_file`, because a passphrase itself is never stored here, and
 * `next`, which is there while a token is changed.
 *
 * A path is kept as it was typed. One that is relative is looked for below the
 * directory in which the server was started, as needroleshere does.
 *
 * @module
 * @see {@link https://github.com/sorah/needroleshere | needroleshere}
 */

import * as v from "valibot";
import type { BindingFormat, StoredBinding } from "$core/binding_store.ts";
import { writeQuoted } from "$core/environment_format.ts";
import type { Grant } from "$core/grant.ts";
import { parseRoleArn } from "../arn.ts";
import { pickRegion } from "../region.ts";
import {
  type AwsSettings,
  readSettings,
  type Source,
  writeSettings,
} from "../settings.ts";

/** What `moat serve` may tell of a directory. */
export interface NeedroleshereOptions {
  /** Of Roles Anywhere, for a trust anchor whose ARN names none. */
  readonly region?: string;
  /** Where Roles Anywhere is, when it is not AWS's own. */
  readonly endpoint?: string;
  /** PEM file with further roots, from AWS_CA_BUNDLE. */
  readonly caBundle?: string;
}

/** The name of every grant that is kept in such a file, in logs and errors. */
const GRANT_NAME = "aws:needroleshere";

/** needroleshere's modes, by ours. Its `Empty` serves nobody. */
const KINDS: Readonly<Record<string, string>> = {
  "ecs-full": "EcsFull",
  "ecs-relative": "EcsRelative",
  "ecs-full-query": "EcsFullQuery",
  "ecs-relative-query": "EcsRelativeQuery",
};

/** Our modes that needroleshere has, the default first. */
export const NEEDROLESHERE_MODES: readonly string[] = Object.keys(KINDS);

/** A session name as needroleshere passes it on: no template. */
export const LITERAL_SESSION_NAME: RegExp = /^[\w+=,.@-]{2,64}$/;

/** What nothing is asked of: certificate and key open the role. */
const NO_SOURCE: Source = { order: [], configFile: "", credentialsFile: "" };

const TRUST_ANCHOR =
  /^arn:([\w-]+):rolesanywhere:([a-z0-9-]*):\d{12}:trust-anchor\/[\w-]+$/;
const PROFILE =
  /^arn:([\w-]+):rolesanywhere:([a-z0-9-]*):\d{12}:profile\/[\w-]+$/;

const PathSchema = v.pipe(v.string(), v.regex(/^[^\0]+$/));

/** Absent, or null as it writes it. */
const optional = <T>(schema: v.GenericSchema<T>) =>
  v.pipe(v.nullish(schema), v.transform((value) => value ?? undefined));

const FileSchema = v.object({
  name: v.string(),
  "secret_hash": v.pipe(v.string(), v.regex(/^[\w-]{64}$/)),
  "certificate_files": v.pipe(v.array(PathSchema), v.minLength(1)),
  "private_key_file": PathSchema,
  "passphrase_file": optional(PathSchema),
  request: v.object({
    durationSeconds: optional(v.pipe(v.number(), v.integer(), v.minValue(1))),
    profileArn: v.pipe(v.string(), v.regex(PROFILE)),
    roleArn: v.string(),
    sessionName: optional(v.pipe(v.string(), v.regex(LITERAL_SESSION_NAME))),
    trustAnchorArn: v.pipe(v.string(), v.regex(TRUST_ANCHOR)),
  }),
  mode: v.object({ kind: v.picklist(Object.values(KINDS)) }),
  next: optional(v.unknown()),
});

/** A file, or its `next`. */
type NeedroleshereFile = v.InferOutput<typeof FileSchema>;

/**
 * Makes the form of needroleshere's files.
 *
 * A binding's region is that of its trust anchor, so that one server serves
 * several. Its name is the file's, as for needroleshere.
 *
 * @param options What `moat serve` was told. Default: nothing.
 * @returns What reads and writes them; `decode` never throws.
 */
export function needroleshereFormat(
  options: NeedroleshereOptions = {},
): BindingFormat {
  return {
    tokenPrefix: "needroleshere",
    secretBytes: 64,
    directoryMode: 0o755,
    encode: (stored, next) =>
      JSON.stringify(
        { ...toFile(stored), ...(next && { next: toFile(next) }) },
        null,
        2,
      ) + "\n",
    decode(name, value) {
      const own = readFile(value);
      if (!own) return undefined;
      const files = own.next === undefined ? [own] : [own, readFile(own.next)];
      const stored = files.map((file) => file && toStored(name, file, options));
      return stored.every((one) => one !== undefined) ? stored : undefined;
    },
    writeEnvironment: writeQuoted,
  };
}

/**
 * Makes the grant that is kept with a binding, and nowhere else.
 *
 * @param settings With `anywhere`.
 * @returns The grant; it has no secret.
 */
export function ownGrant(settings: Omit<AwsSettings, "source">): Grant {
  return {
    provider: "aws",
    name: GRANT_NAME,
    // Part of the sessions' key: a new token needs no new session.
    createdAt: 0,
    settings: writeSettings({ ...settings, source: NO_SOURCE }),
  };
}

/** The members and their order are needroleshere's. */
function toFile({ binding, tokenDigest, ownGrants }: StoredBinding): object {
  const [grant] = ownGrants ?? [];
  const kind = KINDS[binding.mode ?? ""];
  const settings = grant && readSettings(grant);
  if (!kind || !settings?.anywhere) {
    throw new TypeError("not a binding of needroleshere");
  }
  const { durationSeconds = null, sessionName = null, roles } = settings;
  const { certificates, intermediates = [], ...rest } = settings.anywhere;
  const { privateKey, passphraseFile, profileArn, trustAnchorArn } = rest;
  return {
    name: binding.name,
    "secret_hash": tokenDigest,
    // It tells the leaf from its chain by the key.
    "certificate_files": [...certificates, ...intermediates],
    "private_key_file": privateKey,
    ...(passphraseFile !== undefined && { "passphrase_file": passphraseFile }),
    request: {
      durationSeconds,
      profileArn,
      roleArn: roles[0],
      sessionName,
      trustAnchorArn,
    },
    mode: { kind },
  };
}

function readFile(value: unknown): NeedroleshereFile | undefined {
  const result = v.safeParse(FileSchema, value);
  return result.success ? result.output : undefined;
}

function toStored(
  name: string,
  file: NeedroleshereFile,
  options: NeedroleshereOptions,
): StoredBinding | undefined {
  const settings = toSettings(file, options);
  const [mode] = Object.entries(KINDS)
    .find(([, kind]) => kind === file.mode.kind) ?? [];
  if (!settings || mode === undefined) return undefined;
  return {
    binding: { name, grants: [GRANT_NAME], mode },
    tokenDigest: file["secret_hash"],
    // Neither is kept: the environment file has the URL.
    createdAt: 0,
    url: "",
    tokenFile: false,
    ownGrants: [ownGrant(settings)],
  };
}

function toSettings(
  file: NeedroleshereFile,
  options: NeedroleshereOptions,
): Omit<AwsSettings, "source"> | undefined {
  const { profileArn, trustAnchorArn, roleArn, ...request } = file.request;
  const { endpoint, caBundle } = options;
  const region = regionOf(file, options);
  if (region === undefined) return undefined;
  return {
    roles: [roleArn],
    region,
    ...(request.durationSeconds !== undefined &&
      { durationSeconds: request.durationSeconds }),
    ...(request.sessionName !== undefined &&
      { sessionName: request.sessionName }),
    anywhere: {
      trustAnchorArn,
      profileArn,
      certificates: file["certificate_files"],
      privateKey: file["private_key_file"],
      ...(file["passphrase_file"] !== undefined &&
        { passphraseFile: file["passphrase_file"] }),
      region,
      ...(endpoint !== undefined && { endpoint }),
    },
    ...(caBundle !== undefined && { caBundle }),
  };
}

/** The region of a file whose ARNs fit each other. */
function regionOf(
  { request: { profileArn, trustAnchorArn, roleArn } }: NeedroleshereFile,
  { region }: NeedroleshereOptions,
): string | undefined {
  const [, ...anchor] = TRUST_ANCHOR.exec(trustAnchorArn) ?? [];
  const [, ...profile] = PROFILE.exec(profileArn) ?? [];
  if (anchor.join() !== profile.join()) return undefined;
  const choice = anchor[1] || region;
  if (!choice) return undefined;
  try {
    const { partition } = parseRoleArn(roleArn);
    if (anchor[0] !== partition) return undefined;
    return pickRegion(partition, [
      { region: choice, from: "the trust anchor" },
    ]);
  } catch {
    return undefined;
  }
}
