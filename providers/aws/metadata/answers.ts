/**
 * What an instance metadata service says, in the real service's shapes: JSON
 * with a blank before each colon, as plain text and without a final newline;
 * times in whole seconds. Whoever takes go-metadataproxy's place answers in its
 * shapes instead: JSON as Go writes a map.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html | Security credentials}
 */

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { formatTime } from "$core/clock.ts";
import type { ContainerFacts } from "$core/container.ts";
import { Answer } from "$core/provider.ts";
import type { Session } from "../session.ts";
import { VERSIONS } from "./paths.ts";

/** Who a session is for. */
export interface RoleIdentity {
  /** Such as `aws-cn`. */
  readonly partition: string;
  /** 12 digits. */
  readonly account: string;
  /** Without its path. */
  readonly name: string;
}

/** A body and how it is labelled. */
export interface Content {
  /** The whole body. */
  readonly body: string;
  /** Value of Content-Type. */
  readonly contentType: string;
}

/** The shapes in which a session is told. */
export interface Shapes {
  /** What `iam/info` says. `since` is when the session was obtained, in ms. */
  info(role: RoleIdentity, session: Session, since: number): Content;
  /** What `security-credentials/ROLE` says. */
  credentials(session: Session, since: number): Content;
  /** What is one line, such as a role's name. */
  text(line: string): Content;
}

/** AWS's own type for everything, JSON included. */
const PLAIN = "text/plain";

const HOUR_MS = 3_600_000;

type Fields = readonly (readonly [name: string, value: string | null])[];

/** The real service's. */
export const AWS_SHAPES: Shapes = {
  info(role, _session, since) {
    const arn = profileArn(role);
    return plain(awsJson([
      ["Code", "Success"],
      ["LastUpdated", formatTime(since)],
      ["InstanceProfileArn", arn],
      ["InstanceProfileId", uniqueId("AIPA", arn)],
    ]));
  },
  credentials: (session, since) =>
    plain(awsJson(credentialFields(session, since))),
  text: plain,
};

/**
 * go-metadataproxy's. It tells the assumed role as the instance profile, with
 * the id that STS gave; sessions keep no such id here, so there is one derived
 * from the ARN. It takes each session to be an hour old at its end.
 */
export const GO_SHAPES: Shapes = {
  info(role, { assumedRoleArn, expiresAt }) {
    const arn = assumedRoleArn || profileArn(role);
    const sessionName = arn.slice(arn.lastIndexOf("/") + 1);
    const parent = arn.slice(0, arn.lastIndexOf("/"));
    return goJson([
      ["Code", "Success"],
      ["LastUpdated", formatTime(expiresAt - HOUR_MS)],
      ["InstanceProfileArn", arn],
      ["InstanceProfileId", `${uniqueId("AROA", parent)}:${sessionName}`],
    ]);
  },
  credentials: (session) =>
    goJson(credentialFields(session, session.expiresAt - HOUR_MS)),
  text: (body) => ({ body, contentType: "text/plain; charset=utf-8" }),
};

function credentialFields(session: Session, updatedAt: number): Fields {
  return [
    ["Code", "Success"],
    ["LastUpdated", formatTime(updatedAt)],
    ["Type", "AWS-HMAC"],
    ["AccessKeyId", session.accessKeyId],
    ["SecretAccessKey", session.secretAccessKey.reveal()],
    ["Token", session.sessionToken.reveal()],
    ["Expiration", formatTime(session.expiresAt)],
  ];
}

/** What the identity document is made from. */
export interface IdentityFacts {
  /** Account of the container's role. */
  readonly account: string;
  /** Of the grant. */
  readonly region: string;
  /** Who asks. */
  readonly container: ContainerFacts;
  /** From where. */
  readonly address: string;
  /** This host's, as Deno names it. */
  readonly arch: string;
}

/**
 * The instance identity document of a container: what identifies the instance
 * is derived from the container, and stays the same as long as it exists. It
 * has no signature, so it proves nothing to others.
 *
 * @param facts Who asks.
 * @returns The document of version 2017-09-30.
 * @see {@link https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html | Instance identity documents}
 */
export function identityDocument(facts: IdentityFacts): Content {
  const { account, region, container, address, arch } = facts;
  const startedAt = Date.parse(container.startedAt);
  return plain(awsJson([
    ["accountId", account],
    ["architecture", arch === "aarch64" ? "arm64" : arch],
    ["availabilityZone", availabilityZone(region)],
    ["billingProducts", null],
    ["devpayProductCodes", null],
    ["marketplaceProductCodes", null],
    ["imageId", `ami-${hexDigest(container.image)}`],
    ["instanceId", `i-${container.id.slice(0, 17)}`],
    ["instanceType", "moat.container"],
    ["kernelId", null],
    ["pendingTime", formatTime(Number.isNaN(startedAt) ? 0 : startedAt)],
    ["privateIp", address],
    ["ramdiskId", null],
    ["region", region],
    ["version", "2017-09-30"],
  ]));
}

/**
 * The availability zone that stands for a region.
 *
 * @param region Such as `eu-central-1`.
 * @returns Its first one, such as `eu-central-1a`.
 */
export function availabilityZone(region: string): string {
  return `${region}a`;
}

/** What `/` says: the versions, one a line. */
export const VERSION_LIST: Content = plain(VERSIONS.join("\n"));

/**
 * Makes an answer.
 *
 * @param content What it says.
 * @param headers Further headers.
 * @returns One with status 200.
 */
export function contentAnswer(
  { body, contentType }: Content,
  headers: Answer["headers"] = [],
): Answer {
  return new Answer(200, body, contentType, headers);
}

function plain(body: string): Content {
  return { body, contentType: PLAIN };
}

function awsJson(fields: Fields): string {
  const lines = fields.map(([name, value]) =>
    `  ${JSON.stringify(name)} : ${JSON.stringify(value)}`
  );
  return `{\n${lines.join(",\n")}\n}`;
}

/** Go sorts a map's keys, escapes what HTML would read, and ends the line. */
function goJson(fields: Fields): Content {
  const sorted = [...fields].sort(([a], [b]) => a < b ? -1 : 1);
  const body = JSON.stringify(Object.fromEntries(sorted), null, 2)
    .replaceAll("<", "\\u003c")
    .replaceAll(">", "\\u003e")
    .replaceAll("&", "\\u0026");
  return { body: `${body}\n`, contentType: "application/json; charset=UTF-8" };
}

function profileArn({ partition, account, name }: RoleIdentity): string {
  return `arn:${partition}:iam::${account}:instance-profile/${name}`;
}

const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** As IAM's: a prefix and 17 capitals and digits, always the same for a text. */
function uniqueId(prefix: string, text: string): string {
  const bytes = createHash("sha256").update(text).digest().subarray(0, 17);
  return prefix + [...bytes].map((byte) => BASE32[byte & 31]).join("");
}

/** As EC2's ids: 17 hexadecimal digits. */
function hexDigest(text: string): string {
  return createHash("sha256").update(Buffer.from(text)).digest("hex")
    .slice(0, 17);
}
