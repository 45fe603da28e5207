/**
 * The paths of an instance metadata service: a closed table. What is not in it
 * is not served, whatever it would mean to a more lenient reader: no escape,
 * no dot segment, no query, no further segment.
 *
 * @module
 * @see {@link https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-metadata.html | Instance metadata}
 */

import type { MetadataEvent } from "$core/metadata.ts";

/** What a path names. */
export type Resource =
  | {
    /** What the real service has under that name. */
    readonly kind:
      | "versions"
      | "token"
      | "info"
      | "role-name"
      | "region"
      | "availability-zone"
      | "identity-document";
  }
  | {
    /** A role's session. */
    readonly kind: "credentials";
    /** The role's name; nothing is known of it yet. */
    readonly role: string;
  };

/** A path, taken apart. */
export interface MetadataPath {
  /** One of {@link VERSIONS}; `other` for what is none. */
  readonly version: string;
  /** Undefined if nothing is there. */
  readonly resource?: Resource;
}

/** As the real service lists them, oldest first. */
export const VERSIONS: readonly string[] = [
  "1.0",
  "2007-01-19",
  "2007-03-01",
  "2007-08-29",
  "2007-10-10",
  "2007-12-15",
  "2008-02-01",
  "2008-09-01",
  "2009-04-04",
  "2011-01-01",
  "2011-05-01",
  "2012-01-12",
  "2014-02-25",
  "2014-11-05",
  "2015-10-20",
  "2016-04-19",
  "2016-06-30",
  "2016-09-02",
  "2018-03-28",
  "2018-08-17",
  "2018-09-24",
  "2019-10-01",
  "2020-10-27",
  "2021-01-03",
  "2021-03-23",
  "2021-07-15",
  "2022-09-24",
  "2024-04-11",
  "latest",
];

/** The first that has roles; go-metadataproxy serves none before. */
export const FIRST_WITH_ROLES = "2012-01-12";

const VERSION_AND_REST = /^\/([^/]+)\/(.*)$/;

/** IAM's rule for role names. Between the slashes of minio-js there is none. */
const CREDENTIALS =
  /^meta-data\/iam\/security-credentials\/\/?([\w+=,.@-]{1,64})\/?$/;

/** botocore ends its path of the zone with a slash; others none of theirs. */
const PLAIN: readonly (readonly [RegExp, Resource])[] = [
  [/^meta-data\/iam\/info\/?$/, { kind: "info" }],
  [/^meta-data\/iam\/security-credentials\/?$/, { kind: "role-name" }],
  [/^meta-data\/placement\/region\/?$/, { kind: "region" }],
  [
    /^meta-data\/placement\/availability-zone\/?$/,
    { kind: "availability-zone" },
  ],
  [
    /^dynamic\/instance-identity\/document\/?$/,
    { kind: "identity-document" },
  ],
];

/** What go-metadataproxy took for the same as `info`. */
const INFO_AND_MORE = /^meta-data\/iam\/info\/[^/]+$/;

/** Whatever a URL may hold unescaped, so that a text has one meaning. */
const PLAIN_TARGET = /^\/[\w+=,.@:/-]*$/;

/**
 * Takes a request's target apart.
 *
 * @param target As sent; begins with a slash.
 * @param isCompatible Whether as go-metadataproxy did: no version before
 * {@link FIRST_WITH_ROLES}, and one more segment after `info`. Default: false.
 * @returns What it names.
 */
export function parsePath(target: string, isCompatible = false): MetadataPath {
  if (target === "/") {
    return { version: "other", resource: { kind: "versions" } };
  }
  const [, version = "", rest = ""] = VERSION_AND_REST.exec(target) ?? [];
  if (!VERSIONS.includes(version)) return { version: "other" };
  const isPlain = PLAIN_TARGET.test(target) &&
    !/(?:^|\/)\.{1,2}(?:\/|$)/.test(target);
  const isOld = isCompatible && version < FIRST_WITH_ROLES;
  if (!isPlain || isOld) return { version };
  const resource = find(version, rest, isCompatible);
  return resource ? { version, resource } : { version };
}

function find(
  version: string,
  rest: string,
  isCompatible: boolean,
): Resource | undefined {
  // The real service has tokens in no dated version.
  if (/^api\/token\/?$/.test(rest)) {
    return version === "latest" ? { kind: "token" } : undefined;
  }
  const role = CREDENTIALS.exec(rest)?.[1];
  if (role !== undefined) return { kind: "credentials", role };
  if (isCompatible && INFO_AND_MORE.test(rest)) return { kind: "info" };
  return PLAIN.find(([path]) => path.test(rest))?.[1];
}

/**
 * What a resource is called in telemetry.
 *
 * @param resource What a path names.
 * @returns Its kind where credentials are near, else `other`.
 */
export function labelOf(
  resource: Resource | undefined,
): MetadataEvent["resource"] {
  switch (resource?.kind) {
    case "token":
    case "info":
    case "role-name":
    case "credentials":
      return resource.kind;
    default:
      return "other";
  }
}
