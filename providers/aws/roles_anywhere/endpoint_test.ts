import assert from "node:assert/strict";
import { STSClient } from "@aws-sdk/client-sts";
import { sessionsUrl } from "./endpoint.ts";

const URLS: [
  name: string,
  at: Parameters<typeof sessionsUrl>[0],
  url: string,
][] = [
  [
    "a region",
    { region: "eu-central-1" },
    "https://rolesanywhere.eu-central-1.amazonaws.com/sessions",
  ],
  [
    "FIPS",
    { region: "us-east-1", fips: true },
    "https://rolesanywhere-fips.us-east-1.amazonaws.com/sessions",
  ],
  [
    "dual stack",
    { region: "eu-west-1", dualStack: true },
    "https://rolesanywhere.eu-west-1.api.aws/sessions",
  ],
  [
    "FIPS and dual stack",
    { region: "us-west-2", fips: true, dualStack: true },
    "https://rolesanywhere-fips.us-west-2.api.aws/sessions",
  ],
  [
    "China",
    { region: "cn-north-1" },
    "https://rolesanywhere.cn-north-1.amazonaws.com.cn/sessions",
  ],
  [
    "China, dual stack",
    { region: "cn-northwest-1", dualStack: true },
    "https://rolesanywhere.cn-northwest-1.api.amazonwebservices.com.cn/sessions",
  ],
  [
    "GovCloud",
    { region: "us-gov-west-1" },
    "https://rolesanywhere.us-gov-west-1.amazonaws.com/sessions",
  ],
  [
    "GovCloud, FIPS",
    { region: "us-gov-east-1", fips: true },
    "https://rolesanywhere-fips.us-gov-east-1.amazonaws.com/sessions",
  ],
  ["its own endpoint", {
    region: "eu-central-1",
    endpoint: "http://127.0.0.1:8080",
  }, "http://127.0.0.1:8080/sessions"],
  ["its own endpoint before a variant", {
    region: "eu-central-1",
    fips: true,
    endpoint: "https://vpce.test",
  }, "https://vpce.test/sessions"],
  ["an endpoint with a path", {
    region: "eu-central-1",
    endpoint: "https://x.test/a/?q#f",
  }, "https://x.test/a/sessions"],
];
for (const [name, at, url] of URLS) {
  Deno.test(`sessionsUrl() for ${name}`, () => {
    assert.equal(sessionsUrl(at).href, url);
  });
}

/** One of each partition. */
const REGIONS = [
  "eu-central-1",
  "mx-central-1",
  "cn-north-1",
  "us-gov-west-1",
  "us-iso-east-1",
  "us-isob-east-1",
  "eu-isoe-west-1",
  "us-isof-south-1",
  "eusc-de-east-1",
];
for (const region of REGIONS) {
  for (const dualStack of [false, true]) {
    const what = dualStack ? "dual-stack domain" : "domain";
    Deno.test(`sessionsUrl() has the SDK's ${what} in ${region}`, () => {
      const client = new STSClient({ region });
      const { url } = client.config.endpointProvider({
        ...{ Region: region, UseFIPS: false, UseDualStack: dualStack },
      });
      client.destroy();
      const domain = (host: string) => host.split(".").slice(1).join(".");
      const { hostname } = sessionsUrl({ region, dualStack });
      assert.equal(domain(hostname), domain(url.hostname));
    });
  }
}
