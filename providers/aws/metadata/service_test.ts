import assert from "node:assert/strict";
import { MoatError } from "$core/errors.ts";
import type { MetadataStranger } from "$core/metadata.ts";
import { awsGrant } from "../../../tests/support/aws_grant.ts";
import { assertNoCanary, CANARY } from "../../../tests/support/canary.ts";
import {
  APP,
  facts,
  FakeClient,
  ID,
  MetadataBed,
} from "../../../tests/support/metadata_bed.ts";
import { failure } from "../errors.ts";

const IAM = "/latest/meta-data/iam";
const CREDENTIALS = `${IAM}/security-credentials/App`;
const TTL = "X-aws-ec2-metadata-token-ttl-seconds";

const VERSION_LIST = `1.0
2007-01-19
2007-03-01
2007-08-29
2007-10-10
2007-12-15
2008-02-01
2008-09-01
2009-04-04
2011-01-01
2011-05-01
2012-01-12
2014-02-25
2014-11-05
2015-10-20
2016-04-19
2016-06-30
2016-09-02
2018-03-28
2018-08-17
2018-09-24
2019-10-01
2020-10-27
2021-01-03
2021-03-23
2021-07-15
2022-09-24
2024-04-11
latest`;

const CREDENTIALS_JSON = `{
  "Code" : "Success",
  "LastUpdated" : "2026-01-01T00:00:00Z",
  "Type" : "AWS-HMAC",
  "AccessKeyId" : "ASIAEXAMPLE",
  "SecretAccessKey" : "${CANARY}",
  "Token" : "token/+&=",
  "Expiration" : "2026-01-01T01:00:00Z"
}`;

const INFO_JSON = `{
  "Code" : "Success",
  "LastUpdated" : "2026-01-01T00:00:00Z",
  "InstanceProfileArn" : "arn:aws-cn:iam::123456789012:instance-profile/App",
  "InstanceProfileId" : "AIPAK22MQSTDBOHS6RUCG"
}`;

const DOCUMENT_JSON = `{
  "accountId" : "123456789012",
  "architecture" : "x86_64",
  "availabilityZone" : "eu-central-1a",
  "billingProducts" : null,
  "devpayProductCodes" : null,
  "marketplaceProductCodes" : null,
  "imageId" : "ami-d3dfed77bb64d7d29",
  "instanceId" : "i-0123456789abcdef0",
  "instanceType" : "moat.container",
  "kernelId" : null,
  "pendingTime" : "2025-12-31T23:00:00Z",
  "privateIp" : "172.17.0.2",
  "ramdiskId" : null,
  "region" : "eu-central-1",
  "version" : "2017-09-30"
}`;

const GO_CREDENTIALS_JSON = `{
  "AccessKeyId": "ASIAEXAMPLE",
  "Code": "Success",
  "Expiration": "2026-01-01T01:00:00Z",
  "LastUpdated": "2026-01-01T00:00:00Z",
  "SecretAccessKey": "${CANARY}",
  "Token": "token/+\\u0026=",
  "Type": "AWS-HMAC"
}
`;

const GO_INFO_JSON = `{
  "Code": "Success",
  "InstanceProfileArn": "arn:aws-cn:sts::123456789012:assumed-role/App/web-0123456789ab",
  "InstanceProfileId": "AROAVMYE4WNDN6PMRVVMD:web-0123456789ab",
  "LastUpdated": "2026-01-01T00:00:00Z"
}
`;

const PLAIN = "text/plain";
const GO_PLAIN = "text/plain; charset=utf-8";
const GO_TYPE = "application/json; charset=UTF-8";

/** What is at each path, in the real service's words, and in go-metadataproxy's. */
const GOLDEN: {
  path: string;
  body: string;
  go?: string;
  goType?: string;
}[] = [
  { path: "/", body: VERSION_LIST, goType: PLAIN },
  { path: `${IAM}/info`, body: INFO_JSON, go: GO_INFO_JSON, goType: GO_TYPE },
  { path: `${IAM}/security-credentials`, body: "App" },
  { path: `${IAM}/security-credentials/`, body: "App" },
  {
    path: CREDENTIALS,
    body: CREDENTIALS_JSON,
    go: GO_CREDENTIALS_JSON,
    goType: GO_TYPE,
  },
  {
    path: `${IAM}/security-credentials//App`,
    body: CREDENTIALS_JSON,
    go: GO_CREDENTIALS_JSON,
    goType: GO_TYPE,
  },
  {
    path: "/2012-01-12/meta-data/iam/security-credentials/App/",
    body: CREDENTIALS_JSON,
    go: GO_CREDENTIALS_JSON,
    goType: GO_TYPE,
  },
  { path: "/latest/meta-data/placement/region", body: "eu-central-1" },
  {
    path: "/latest/meta-data/placement/availability-zone/",
    body: "eu-central-1a",
  },
  {
    path: "/latest/dynamic/instance-identity/document",
    body: DOCUMENT_JSON,
    goType: PLAIN,
  },
];
for (const { path, body, go = body, goType = GO_PLAIN } of GOLDEN) {
  Deno.test(`GET ${path} answers as the real service does`, async () => {
    const answer = await new MetadataBed().get(new FakeClient(), path);
    assert.deepEqual(
      [answer.status, answer.contentType, answer.headers, answer.body],
      [200, PLAIN, [[TTL, "21600"]], body],
    );
  });
  Deno.test(`GET ${path} answers as go-metadataproxy does`, async () => {
    const bed = new MetadataBed({
      isCompatible: true,
      settings: { v1: true },
    });
    const answer = await bed.ask(new FakeClient(), path);
    assert.deepEqual(
      [answer.status, answer.contentType, answer.headers, answer.body],
      [200, goType, [], go],
    );
  });
}

Deno.test("GET /latest/meta-data/iam/info/junk answers as go-metadataproxy does", async () => {
  const bed = new MetadataBed({ isCompatible: true, settings: { v1: true } });
  const answer = await bed.ask(new FakeClient(), `${IAM}/info/junk`);
  assert.equal(answer.body, GO_INFO_JSON);
});

// Tokens

Deno.test("PUT /latest/api/token answers with a token and its life", async () => {
  const { status, contentType, headers, body } = await new MetadataBed()
    .put(new FakeClient(), "60");
  assert.deepEqual([status, contentType, headers, body.length], [
    200,
    PLAIN,
    [[TTL, "60"]],
    43,
  ]);
});

Deno.test("PUT answers with another token each time it is repeated", async () => {
  const handler = new MetadataBed().prepare(
    new FakeClient(),
    "/latest/api/token",
    { method: "PUT", headers: { [TTL.toLowerCase()]: ["60"] } },
  );
  assert.notEqual((await handler()).body, (await handler()).body);
});

Deno.test("GET tells how long the token is still good for", async () => {
  const bed = new MetadataBed();
  const client = new FakeClient();
  const { body: token } = await bed.put(client, "300");
  await bed.platform.clock.advance(18_500);
  const { headers } = await bed.ask(client, "/", { token });
  assert.deepEqual(headers, [[TTL, "282"]]);
});

Deno.test("a repeated GET is refused once its token has ended", async () => {
  const bed = new MetadataBed();
  const client = new FakeClient();
  const { body: token } = await bed.put(client, "1");
  const handler = bed.prepare(client, CREDENTIALS, { token });
  await handler();
  await bed.platform.clock.advance(1000);
  assert.equal((await handler()).status, 401);
});

Deno.test("a repeated GET is refused once its token was pushed out", async () => {
  const bed = new MetadataBed();
  const client = new FakeClient();
  const { body: token } = await bed.put(client);
  const handler = bed.prepare(client, CREDENTIALS, { token });
  for (let i = 0; i < 32; i++) await bed.put(client);
  assert.equal((await handler()).status, 401);
});

Deno.test("a client that floods with PUT does not push out another's token", async () => {
  const bed = new MetadataBed();
  const client = new FakeClient();
  const { body: token } = await bed.put(client);
  const flooder = new FakeClient();
  for (let i = 0; i < 100; i++) await bed.put(flooder);
  assert.equal((await bed.ask(client, CREDENTIALS, { token })).status, 200);
});

Deno.test("a token is not good for another client", async () => {
  const bed = new MetadataBed();
  const { body: token } = await bed.put(new FakeClient());
  const { status, body } = await bed.ask(new FakeClient(), CREDENTIALS, {
    token,
  });
  assert.deepEqual([status, JSON.parse(body).code], [401, "unauthorized"]);
});

const BINDING = { name: "web", grants: ["aws"], mode: "imds" };
const V1_BINDING = { ...BINDING, settings: { aws: { v1: true } } };

const VERSION_1 = [
  { name: "by default", status: 403 },
  { name: "if the settings say so", settings: { v1: true }, status: 200 },
  { name: "of a binding by default", binding: BINDING, status: 403 },
  { name: "of a binding that says so", binding: V1_BINDING, status: 200 },
];
for (const { name, settings = {}, binding, status } of VERSION_1) {
  Deno.test(`version 1 ${name} is answered ${status}`, async () => {
    const bed = new MetadataBed({ settings });
    const client = new FakeClient({ ...(binding && { binding }) });
    const answer = await bed.ask(client, `${IAM}/security-credentials/`);
    assert.equal(answer.status, status);
  });
}

Deno.test("a token that is wrong is refused although version 1 is on", async () => {
  const bed = new MetadataBed({ settings: { v1: true } });
  const answer = await bed.ask(new FakeClient(), CREDENTIALS, { token: "x" });
  assert.equal(answer.status, 401);
});

// Refusals

const TWO_TTLS = { [TTL.toLowerCase()]: ["60", "60"] };
const TWO_TOKENS = { "x-aws-ec2-metadata-token": ["a", "b"] };
const TOKEN = "/latest/api/token";

const REFUSED: {
  method: string;
  path: string;
  headers?: Record<string, string[]>;
  hasBody?: boolean;
  status: number;
}[] = [
  { method: "PUT", path: TOKEN, status: 400 },
  { method: "PUT", path: TOKEN, headers: TWO_TTLS, status: 400 },
  {
    method: "PUT",
    path: TOKEN,
    headers: { [TTL.toLowerCase()]: ["60"] },
    hasBody: true,
    status: 400,
  },
  { method: "GET", path: TOKEN, status: 405 },
  { method: "POST", path: TOKEN, status: 405 },
  { method: "GET", path: CREDENTIALS, headers: TWO_TOKENS, status: 400 },
  { method: "GET", path: CREDENTIALS, hasBody: true, status: 400 },
  ...["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "get", "TRACE"].map((
    method,
  ) => ({ method, path: CREDENTIALS, status: 405 })),
  { method: "POST", path: "/latest/user-data", status: 404 },
  { method: "GET", path: "/latest/user-data", status: 404 },
  { method: "GET", path: `${CREDENTIALS}?x`, status: 404 },
  { method: "GET", path: `${CREDENTIALS}/extra`, status: 404 },
];
for (const { method, path, headers = {}, hasBody = false, status } of REFUSED) {
  const what = `${method} ${path}${hasBody ? " with a body" : ""} ${
    Object.entries(headers).join(" ")
  }`;
  Deno.test(`${what} is answered ${status}`, async () => {
    const bed = new MetadataBed({ settings: { v1: true } });
    const ask = { method, headers, hasBody };
    assert.equal((await bed.ask(new FakeClient(), path, ask)).status, status);
  });
  Deno.test(`${what} is answered 404 as go-metadataproxy`, async () => {
    const bed = new MetadataBed({ isCompatible: true, settings: { v1: true } });
    const ask = { method, headers, hasBody };
    const answer = await bed.ask(new FakeClient(), path, ask);
    assert.deepEqual(
      [answer.status, answer.contentType, answer.body],
      [404, GO_PLAIN, "404 page not found\n"],
    );
  });
}

const STRANGER: MetadataStranger = {
  status: 403,
  code: "unknown-client",
  message: "Nobody knows this address",
};

Deno.test("a stranger is told what the front found", async () => {
  const { status, body } = await new MetadataBed().ask(STRANGER, CREDENTIALS);
  assert.deepEqual([status, JSON.parse(body)], [403, {
    code: "unknown-client",
    message: "Nobody knows this address",
  }]);
});

Deno.test("a stranger is told nothing by go-metadataproxy", async () => {
  const bed = new MetadataBed({ isCompatible: true, settings: { v1: true } });
  const { status, body } = await bed.ask(STRANGER, CREDENTIALS);
  assert.deepEqual([status, body], [404, "404 page not found\n"]);
});

const FAILURES = [
  { code: "no-role", status: 404 },
  { code: "role-not-allowed", status: 403 },
  { code: "bad-role", status: 403 },
  { code: "sts-unreachable", status: 502 },
  { code: "usage", status: 502 },
];
for (const { code, status } of FAILURES) {
  Deno.test(`a role that cannot be found for ${code} is answered ${status}`, async () => {
    const bed = new MetadataBed();
    bed.role = () => {
      throw new MoatError(code, `Cannot: ${CANARY}`);
    };
    const answer = await bed.get(new FakeClient(), CREDENTIALS);
    assertNoCanary(answer.body);
    assert.deepEqual([answer.status, JSON.parse(answer.body).code], [
      status,
      code,
    ]);
  });
}

Deno.test("a role that was not found is looked for again", async () => {
  const bed = new MetadataBed();
  const client = new FakeClient();
  bed.role = () => Promise.reject(new MoatError("sts-unreachable", "Cannot"));
  await bed.get(client, CREDENTIALS);
  bed.role = () => APP;
  assert.equal((await bed.get(client, CREDENTIALS)).status, 200);
});

Deno.test("a role that does not come within 900 ms is answered 502", async () => {
  const bed = new MetadataBed({ settings: { v1: true } });
  bed.role = () => new Promise(() => {});
  const answer = bed.ask(new FakeClient(), CREDENTIALS);
  await bed.platform.clock.advance(900);
  assert.equal((await answer).status, 502);
});

Deno.test("a refused role is logged once, with what to do", async () => {
  const bed = new MetadataBed();
  const client = new FakeClient();
  bed.role = () => {
    throw new MoatError("role-not-allowed", "Cannot", { hint: "add it" });
  };
  for (let i = 0; i < 5; i++) await bed.get(client, CREDENTIALS);
  const { lines } = bed.platform;
  assert.deepEqual(
    lines.map(({ event, fields }) => [event, fields["hint"]]),
    [["credentials-refused", "add it"]],
  );
});

Deno.test("a container that no grant serves has no role", async () => {
  const client = new FakeClient({ hasGrant: false });
  assert.equal((await new MetadataBed().get(client, CREDENTIALS)).status, 404);
});

Deno.test("a container that no grant serves is logged once", async () => {
  const bed = new MetadataBed();
  const client = new FakeClient({ hasGrant: false });
  for (let i = 0; i < 5; i++) await bed.get(client, CREDENTIALS);
  const lines = bed.platform.lines.map(({ event }) => event);
  assert.deepEqual(lines, ["container-not-served"]);
});

Deno.test("another role's name in the path is answered 404", async () => {
  const bed = new MetadataBed();
  const path = `${IAM}/security-credentials/Other`;
  const answer = await bed.get(new FakeClient(), path);
  assert.deepEqual([answer.status, JSON.parse(answer.body).code], [
    404,
    "other-role",
  ]);
});

Deno.test("another role's name gets no session", async () => {
  const bed = new MetadataBed({ settings: { v1: true } });
  await bed.ask(new FakeClient(), `${IAM}/security-credentials/Other`);
  assert.equal(bed.sessions, 0);
});

for (const isCompatible of [false, true]) {
  Deno.test(`a session that cannot be had leaks nothing${isCompatible ? " in the original's words" : ""}`, async () => {
    const bed = new MetadataBed({ isCompatible, settings: { v1: true } });
    bed.session = () =>
      Promise.reject(failure("access-denied", `Cannot assume it: ${CANARY}`));
    const { status, body } = await bed.ask(new FakeClient(), CREDENTIALS);
    assertNoCanary(body);
    assert.equal(status, isCompatible ? 404 : 502);
  });
}

Deno.test("an answer that is no MoatError is the server's to report", async () => {
  const bed = new MetadataBed({ settings: { v1: true } });
  bed.role = () => {
    throw new TypeError("a mistake");
  };
  const { body } = await bed.ask(new FakeClient(), CREDENTIALS);
  assert.equal(JSON.parse(body).code, "internal");
});

// Sessions and bindings

Deno.test("PUT asks for the session before the client does", async () => {
  const bed = new MetadataBed();
  await bed.put(new FakeClient());
  await bed.platform.clock.advance(0);
  assert.equal(bed.sessions, 1);
});

Deno.test("the role's name asks for the session before the client does", async () => {
  const bed = new MetadataBed({ settings: { v1: true } });
  await bed.ask(new FakeClient(), `${IAM}/security-credentials/`);
  await bed.platform.clock.advance(0);
  assert.equal(bed.sessions, 1);
});

Deno.test("the session is asked for ahead once for a client", async () => {
  const bed = new MetadataBed();
  const client = new FakeClient();
  for (let i = 0; i < 5; i++) await bed.put(client);
  await bed.platform.clock.advance(0);
  assert.equal(bed.sessions, 1);
});

Deno.test("a container's role is looked for once as long as it is current", async () => {
  const bed = new MetadataBed();
  const client = new FakeClient();
  for (let i = 0; i < 5; i++) await bed.get(client, CREDENTIALS);
  assert.equal(bed.found, 1);
});

Deno.test("clients share nothing: each has its own role looked for", async () => {
  const bed = new MetadataBed();
  await bed.get(new FakeClient(), CREDENTIALS);
  await bed.get(new FakeClient(), CREDENTIALS);
  assert.equal(bed.found, 2);
});

Deno.test("a container's session names it wherever STS shows who acted", async () => {
  const bed = new MetadataBed();
  await bed.get(new FakeClient(), CREDENTIALS);
  assert.deepEqual(bed.asked, [{
    grant: "aws",
    holdMs: 900,
    role: APP,
    binding: {
      name: "container-0123456789ab",
      grants: ["aws"],
      mode: "imds",
      subject: {
        container: "web",
        labels: {
          "team": "blue",
          "container-id": ID,
          "container-name": "web",
          "container-image": "alpine:3.20",
        },
      },
    },
  }]);
});

Deno.test("a container cannot say by a label that it is another", async () => {
  const bed = new MetadataBed();
  const container = facts({ labels: { "container-name": "other" } });
  await bed.get(new FakeClient({ container }), CREDENTIALS);
  const { subject } = bed.asked[0]!.binding;
  assert.equal(subject?.labels?.["container-name"], "web");
});

Deno.test("a bound container has its grant's own session", async () => {
  const bed = new MetadataBed();
  const path = `${IAM}/security-credentials/Deploy`;
  await bed.get(new FakeClient({ binding: BINDING }), path);
  const [asked] = bed.asked;
  assert.deepEqual([asked?.grant, asked?.role], ["aws", undefined]);
});

Deno.test("a bound container's session shows which container acted", async () => {
  const bed = new MetadataBed();
  const client = new FakeClient({ binding: BINDING });
  await bed.get(client, `${IAM}/security-credentials/Deploy`);
  const { id, name, image, labels } = client.container;
  assert.deepEqual(bed.asked[0]?.binding, {
    ...BINDING,
    settings: { aws: { sessionName: `{container}-${id.slice(0, 12)}` } },
    subject: {
      container: name,
      labels: {
        ...labels,
        "container-id": id,
        "container-name": name,
        "container-image": image,
      },
    },
  });
});

const NAMED = {
  "its binding": { binding: { settings: { aws: { sessionName: "own" } } } },
  "its run": { binding: { subject: { run: "abc" } } },
};

for (const [name, { binding }] of Object.entries(NAMED)) {
  Deno.test(`a bound container's session keeps the name of ${name}`, async () => {
    const bed = new MetadataBed();
    const client = new FakeClient({ binding: { ...BINDING, ...binding } });
    await bed.get(client, `${IAM}/security-credentials/Deploy`);
    const aws = bed.asked[0]?.binding.settings?.["aws"];
    const wanted = "settings" in binding ? binding.settings.aws : {};
    assert.deepEqual(aws, wanted);
  });
}

Deno.test("a bound container does not name its role", async () => {
  const bed = new MetadataBed();
  const path = `${IAM}/security-credentials/`;
  const answer = await bed.get(new FakeClient({ binding: BINDING }), path);
  assert.deepEqual([answer.body, bed.found], ["Deploy", 0]);
});

Deno.test("a grant without a role is called moat", async () => {
  const bed = new MetadataBed();
  const grant = awsGrant({ roles: [], direct: true });
  const client = new FakeClient({ binding: BINDING, grant });
  const path = `${IAM}/security-credentials/`;
  assert.equal((await bed.get(client, path)).body, "moat");
});

Deno.test("an answer is the same object as long as nothing changed", async () => {
  const bed = new MetadataBed();
  const client = new FakeClient();
  const { body: token } = await bed.put(client);
  const handler = bed.prepare(client, CREDENTIALS, { token });
  assert.equal(await handler(), await handler());
});

Deno.test("an answer that is known is given at once", async () => {
  const bed = new MetadataBed();
  const client = new FakeClient();
  const { body: token } = await bed.put(client);
  const handler = bed.prepare(client, CREDENTIALS, { token });
  await handler();
  assert(!(handler() instanceof Promise));
});

Deno.test("an answer changes with the seconds of its token", async () => {
  const bed = new MetadataBed();
  const client = new FakeClient();
  const { body: token } = await bed.put(client);
  const handler = bed.prepare(client, CREDENTIALS, { token });
  const first = await handler();
  await bed.platform.clock.advance(1000);
  assert.notEqual(await handler(), first);
});

Deno.test("an answer changes with its session, and tells when that was obtained", async () => {
  const bed = new MetadataBed({ settings: { v1: true } });
  const handler = bed.prepare(new FakeClient(), CREDENTIALS);
  await handler();
  await bed.platform.clock.advance(60_000);
  const renewed = bed.newSession();
  bed.session = () => renewed;
  const { LastUpdated } = JSON.parse((await handler()).body);
  assert.equal(LastUpdated, "2026-01-01T00:01:00Z");
});

Deno.test("what is handed out is audited", async () => {
  const bed = new MetadataBed();
  await bed.get(new FakeClient(), CREDENTIALS);
  const [{ event, fields } = { event: "", fields: {} }, ...more] =
    bed.platform.events;
  assert.deepEqual([event, fields["binding"], fields["grant"], more.length], [
    "vended",
    "container-0123456789ab",
    "aws",
    0,
  ]);
});

Deno.test("iam/info hands nothing out", async () => {
  const bed = new MetadataBed();
  await bed.get(new FakeClient(), `${IAM}/info`);
  assert.deepEqual(bed.platform.events, []);
});

Deno.test("the sessions of a container that ended are dropped", async () => {
  const bed = new MetadataBed();
  const client = new FakeClient();
  await bed.get(client, CREDENTIALS);
  client.end();
  await bed.platform.clock.advance(60_000);
  assert.deepEqual(bed.dropped, ["container-0123456789ab"]);
});

Deno.test("the sessions of a container that comes back within a minute stay", async () => {
  const bed = new MetadataBed();
  const client = new FakeClient();
  await bed.get(client, CREDENTIALS);
  client.end();
  await bed.get(new FakeClient(), CREDENTIALS);
  await bed.platform.clock.advance(120_000);
  assert.deepEqual(bed.dropped, []);
});

Deno.test("the sessions of a container that ends while its role is looked for are not asked for", async () => {
  const bed = new MetadataBed({ settings: { v1: true } });
  const client = new FakeClient();
  const role = Promise.withResolvers<typeof APP>();
  bed.role = () => role.promise;
  const answer = bed.ask(client, CREDENTIALS);
  client.end();
  role.resolve(APP);
  await answer;
  assert.deepEqual(bed.asked, []);
});

Deno.test("a bound container that ended leaves its binding as it is", async () => {
  const bed = new MetadataBed();
  const client = new FakeClient({ binding: BINDING });
  await bed.get(client, `${IAM}/security-credentials/Deploy`);
  client.end();
  await bed.platform.clock.advance(60_000);
  assert.deepEqual(bed.dropped, []);
});

// Telemetry

const EVENTS = [
  { path: TOKEN, method: "PUT", wanted: ["token", "latest", 200] },
  {
    path: `${IAM}/security-credentials/`,
    wanted: ["role-name", "latest", 200, , "App"],
  },
  { path: `${IAM}/info`, wanted: ["info", "latest", 200, , "App"] },
  { path: CREDENTIALS, wanted: ["credentials", "latest", 200, , "App"] },
  {
    path: "/2012-01-12/meta-data/iam/security-credentials/App",
    wanted: ["credentials", "2012-01-12", 200, , "App"],
  },
  { path: "/", wanted: ["other", "other", 200] },
  { path: "/latest/user-data", wanted: ["other", "latest", 404, "not_found"] },
  { path: "/zzz/x", wanted: ["other", "other", 404, "not_found"] },
  {
    path: `${IAM}/security-credentials/Other`,
    wanted: [
      "credentials",
      "latest",
      404,
      "role_names_do_not_match",
      "App",
    ],
  },
];
for (const { path, method = "GET", wanted } of EVENTS) {
  Deno.test(`${method} ${path} is told as ${wanted}`, async () => {
    const bed = new MetadataBed({ settings: { v1: true } });
    const headers = { [TTL.toLowerCase()]: ["60"] };
    await bed.ask(new FakeClient(), path, { method, headers });
    assert.deepEqual(
      bed.events.map((e) => [e.resource, e.version, e.status, e.error, e.role]),
      [[...wanted, ...Array(5).fill(undefined)].slice(0, 5)],
    );
  });
}

Deno.test("each repeated request is told of", async () => {
  const bed = new MetadataBed({ settings: { v1: true } });
  const handler = bed.prepare(new FakeClient(), CREDENTIALS);
  for (let i = 0; i < 3; i++) await handler();
  assert.equal(bed.events.length, 3);
});

Deno.test("an event tells which container asked", async () => {
  const bed = new MetadataBed({ settings: { v1: true } });
  await bed.ask(new FakeClient(), CREDENTIALS);
  assert.deepEqual(bed.events[0]?.container, facts());
});

Deno.test("an event of a stranger tells of no container", async () => {
  const bed = new MetadataBed();
  await bed.ask(STRANGER, CREDENTIALS);
  const { container, error, status } = bed.events[0]!;
  assert.deepEqual([container, error, status], [
    undefined,
    "could_not_find_container",
    403,
  ]);
});

Deno.test("an event tells that a role was not assumed", async () => {
  const bed = new MetadataBed({ isCompatible: true, settings: { v1: true } });
  bed.session = () => Promise.reject(failure("access-denied", "Cannot"));
  await bed.ask(new FakeClient(), CREDENTIALS);
  const { error, status, role } = bed.events[0]!;
  assert.deepEqual([error, status, role], [
    "could_not_assume_role",
    404,
    "App",
  ]);
});

Deno.test("log, audit log and events hold no secret", async () => {
  const bed = new MetadataBed();
  const client = new FakeClient();
  await bed.get(client, CREDENTIALS);
  client.end();
  const { lines, events, measured } = bed.platform;
  assertNoCanary(
    JSON.stringify([lines, events, measured, bed.events]),
  );
});

// Settings

Deno.test("a cache offset that leaves nothing is cut, and told of", () => {
  const env = { ROLE_CACHE_OFFSET: "1h" };
  const { platform } = new MetadataBed({ isCompatible: true, env });
  const events = platform.lines.map(({ event }) => event);
  assert.deepEqual(events, ["cache-offset-too-long"]);
});

Deno.test("the cache offset is go-metadataproxy's alone", () => {
  const { platform } = new MetadataBed({ env: { ROLE_CACHE_OFFSET: "1h" } });
  assert.deepEqual(platform.lines, []);
});

Deno.test("a session with less life than the offset is renewed before it is handed out", async () => {
  const bed = new MetadataBed({ isCompatible: true, settings: { v1: true } });
  const handler = bed.prepare(new FakeClient(), CREDENTIALS);
  await handler();
  await bed.platform.clock.advance(46 * 60_000);
  const renewed = bed.newSession();
  bed.session = () => Promise.resolve(renewed);
  const { Expiration } = JSON.parse((await handler()).body);
  assert.equal(Expiration, "2026-01-01T01:46:00Z");
});
