/**
 * What moat is granted in a vendor bed, and where each vendor must see it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { assertNoCanary, CANARY } from "./canary.ts";
import { basicAuth } from "./vendor.ts";
import {
  credentialFor,
  type VendorConfig,
  type VendorRequest,
} from "./vendor_server.ts";

/** What moat is granted: each has the canary in it. */
export const SECRETS = {
  github: `ghp_${CANARY}`,
  anthropic: `sk-ant-api03-${CANARY}AA`,
  npm: `npm_${CANARY}`,
  testapi: CANARY,
} as const;

const GIT = {
  header: "authorization",
  value: basicAuth("x-access-token", SECRETS.github),
};

const GITHUB_API = {
  header: "authorization",
  value: `Bearer ${SECRETS.github}`,
};

/** The header that each vendor must see. */
export const CREDENTIALS: VendorConfig["credentials"] = {
  "github.com": GIT,
  "git.acme.test": GIT,
  "api.github.com": GITHUB_API,
  "git.acme.test/api/v3": GITHUB_API,
  "npm.acme.test": { header: "authorization", value: `Bearer ${SECRETS.npm}` },
  "api.anthropic.com": { header: "x-api-key", value: SECRETS.anthropic },
  "api.acme.test": {
    header: "authorization",
    value: `Bearer ${SECRETS.testapi}`,
  },
  "pypi.acme.test": {
    header: "authorization",
    value: basicAuth("acme", SECRETS.testapi),
  },
  "crates.acme.test": { header: "authorization", value: SECRETS.testapi },
};

/** A provider of a user's own, in TOML. */
export const TESTAPI = `name = "testapi"
description = "Hosts of the tests"
hosts = ["api.acme.test", "pypi.acme.test", "crates.acme.test"]
env = ["TESTAPI_TOKEN", "CARGO_REGISTRIES_ACME_TOKEN"]

[[inject]]
header = "Authorization"
prefix = "Bearer "
hosts = ["api.acme.test"]

[[inject]]
header = "Authorization"
basic_user = "acme"
hosts = ["pypi.acme.test"]

[[inject]]
header = "Authorization"
hosts = ["crates.acme.test"]
`;

/**
 * Fails unless every one of some requests had its host's credential exactly
 * once, in the right header and nowhere else, and was taken.
 *
 * @param requests What vendors received; at least one.
 */
export function assertInjectedOnce(
  requests: readonly VendorRequest[],
): void {
  assert.notEqual(requests.length, 0, "no request arrived");
  for (const { headers, status, ...request } of requests) {
    const what = `${request.method} ${request.host}${request.path}`;
    assert.notEqual(status, 401, what);
    const credential = credentialFor(CREDENTIALS, request.host + request.path);
    if (!credential) continue;
    const { [credential.header]: value, ...rest } = headers;
    assert.ok(value === credential.value, `${what}: not the credential`);
    assertNoCanary(JSON.stringify({ ...request, rest }));
    // Nothing of the way to the proxy goes on to the upstream.
    const own = Object.keys(rest).filter((name) => name.startsWith("proxy-"));
    assert.deepEqual(own, [], what);
  }
}
