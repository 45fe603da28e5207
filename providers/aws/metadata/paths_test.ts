import assert from "node:assert/strict";
import * as fc from "fast-check";
import { FIRST_WITH_ROLES, parsePath, VERSIONS } from "./paths.ts";

const IAM = "/latest/meta-data/iam";
const role = (role: string) => ({ kind: "credentials", role });

const FOUND: { target: string; resource: unknown; version?: string }[] = [
  { target: "/", resource: { kind: "versions" }, version: "other" },
  { target: "/latest/api/token", resource: { kind: "token" } },
  { target: "/latest/api/token/", resource: { kind: "token" } },
  { target: `${IAM}/info`, resource: { kind: "info" } },
  { target: `${IAM}/info/`, resource: { kind: "info" } },
  { target: `${IAM}/security-credentials`, resource: { kind: "role-name" } },
  { target: `${IAM}/security-credentials/`, resource: { kind: "role-name" } },
  { target: `${IAM}/security-credentials/App`, resource: role("App") },
  { target: `${IAM}/security-credentials/App/`, resource: role("App") },
  // minio-js
  { target: `${IAM}/security-credentials//App`, resource: role("App") },
  {
    target: `${IAM}/security-credentials/a+=,.@-_b`,
    resource: role("a+=,.@-_b"),
  },
  {
    target: "/latest/meta-data/placement/region",
    resource: { kind: "region" },
  },
  {
    target: "/latest/meta-data/placement/availability-zone",
    resource: { kind: "availability-zone" },
  },
  // botocore
  {
    target: "/latest/meta-data/placement/availability-zone/",
    resource: { kind: "availability-zone" },
  },
  {
    target: "/latest/dynamic/instance-identity/document",
    resource: { kind: "identity-document" },
  },
  ...VERSIONS.map((version) => ({
    target: `/${version}/meta-data/iam/info`,
    resource: { kind: "info" },
    version,
  })),
];
for (const { target, resource, version = "latest" } of FOUND) {
  Deno.test(`parsePath() finds ${target}`, () => {
    assert.deepEqual(parsePath(target), { version, resource });
  });
}

/** What leads to another resource if it is read leniently. */
const NOTHING: string[] = [
  "",
  "//",
  "/latest",
  "/latest/",
  "/latest/meta-data",
  "/latest/meta-data/",
  "/latest/meta-data/iam/",
  "/latest/user-data",
  "/latest/dynamic/",
  "/latest/dynamic/instance-identity/pkcs7",
  "/latest/meta-data/identity-credentials/ec2/security-credentials/ec2-instance",
  "/2021-07-15/api/token",
  "/latest/api/token//",
  "/latest/api",
  `${IAM}/info/more`,
  `${IAM}/info?x`,
  `${IAM}/info#x`,
  `${IAM}/security-credentials//`,
  `${IAM}/security-credentials///App`,
  `${IAM}/security-credentials/App/more`,
  `${IAM}/security-credentials/App//`,
  `${IAM}/security-credentials/App?x=1`,
  `${IAM}/security-credentials/%41pp`,
  `${IAM}/security-credentials/team%2fApp`,
  `${IAM}/security-credentials/.`,
  `${IAM}/security-credentials/..`,
  `${IAM}/security-credentials/../info`,
  `${IAM}/security-credentials/${"a".repeat(65)}`,
  "//latest/meta-data/iam/info",
  "/latest//meta-data/iam/info",
  "/./latest/meta-data/iam/info",
  "/latest/./meta-data/iam/info",
  "/latest/meta-data/../meta-data/iam/info",
  "/LATEST/meta-data/iam/info",
  "/latest/Meta-Data/iam/info",
  "/2021-07-16/meta-data/iam/info",
  "/9999-01-01/meta-data/iam/info",
  "/zzz/meta-data/iam/info",
  "/latest;x/meta-data/iam/info",
  "http://169.254.169.254/latest/meta-data/iam/info",
];
for (const target of NOTHING) {
  Deno.test(`parsePath() finds nothing at ${target.slice(0, 80)}`, () => {
    assert.equal(parsePath(target).resource, undefined);
  });
}

for (const version of VERSIONS) {
  const isOld = version < FIRST_WITH_ROLES;
  Deno.test(`parsePath() as the original ${isOld ? "knows no" : "has"} roles in ${version}`, () => {
    const { resource } = parsePath(`/${version}/meta-data/iam/info`, true);
    assert.deepEqual(resource, isOld ? undefined : { kind: "info" });
  });
}

const COMPATIBLE = [
  { target: `${IAM}/info/anything`, kind: "info" },
  { target: `${IAM}/info/two/more`, kind: undefined },
  { target: `${IAM}/info/..`, kind: undefined },
  { target: `${IAM}/security-credentials/App`, kind: "credentials" },
  { target: `${IAM}/security-credentials/App/extra`, kind: undefined },
  { target: "/zzz/meta-data/iam/info", kind: undefined },
  { target: "/metrics", kind: undefined },
  { target: "/favicon.ico", kind: undefined },
  { target: "/latest/user-data", kind: undefined },
];
for (const { target, kind } of COMPATIBLE) {
  Deno.test(`parsePath() as the original takes ${target} for ${kind}`, () => {
    assert.equal(parsePath(target, true).resource?.kind, kind);
  });
}

const part = fc.constantFrom(
  ...["latest", "1.0", "2012-01-12", "meta-data", "iam", "info", "api"],
  ...["token", "security-credentials", "App", "placement", "region", "dynamic"],
  ...["instance-identity", "document", "", ".", "..", "%2e", "a b", "?", "ä"],
);

Deno.test("parsePath() tells a version of the list, whatever is asked", () => {
  fc.assert(fc.property(
    fc.oneof(
      fc.array(part).map((parts) => `/${parts.join("/")}`),
      fc.string({ unit: "binary" }),
    ),
    fc.boolean(),
    (target, isCompatible) => {
      const { version } = parsePath(target, isCompatible);
      assert([...VERSIONS, "other"].includes(version));
    },
  ));
});

Deno.test("parsePath() finds credentials only where the target says so in plain words", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.array(part).map((parts) => `/${parts.join("/")}`),
        fc.array(part).map((parts) =>
          `${IAM}/security-credentials/${parts.join("/")}`
        ),
      ),
      fc.boolean(),
      (target, isCompatible) => {
        const { version, resource } = parsePath(target, isCompatible);
        if (resource?.kind !== "credentials") return;
        const path = `/${version}/meta-data/iam/security-credentials/`;
        assert(
          [`${path}${resource.role}`, `${path}/${resource.role}`]
            .includes(target.replace(/([^/])\/$/, "$1")),
        );
      },
    ),
    { numRuns: 1000 },
  );
});
