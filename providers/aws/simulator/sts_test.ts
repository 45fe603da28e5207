import assert from "node:assert/strict";
import { createHash, createHmac } from "node:crypto";
import { FakeClock } from "../../../tests/support/fake_clock.ts";
import {
  SIMULATOR_ACCESS_KEY_ID,
  SIMULATOR_SECRET_ACCESS_KEY,
} from "./flags.ts";
import {
  createHandler,
  type Handler,
  type SimulatorOptions,
} from "./handler.ts";

const ROLE = "arn:aws:iam::123456789012:role/team/Deploy";
const USER_ARN = "arn:aws:iam::123456789012:user/moat-simulator";

interface Key {
  id: string;
  secret: string;
  token?: string;
}

const USER: Key = {
  id: SIMULATOR_ACCESS_KEY_ID,
  secret: SIMULATOR_SECRET_ACCESS_KEY,
};

/** Signs a form as an SDK does, without any code of the verifier. */
function sign(
  body: string,
  key: Key,
  now: number,
  method = "POST",
  type = "application/x-www-form-urlencoded; charset=utf-8",
): Request {
  const timestamp = new Date(now).toISOString().replace(/[-:]|\.\d+/g, "");
  const date = timestamp.slice(0, 8);
  const headers: [string, string][] = [
    ["content-type", type],
    ["host", "sts.test"],
    ["x-amz-date", timestamp],
  ];
  if (key.token) headers.push(["x-amz-security-token", key.token]);
  const names = headers.map(([name]) => name).join(";");
  const lines = headers.map((header) => `${header.join(":")}\n`).join("");
  const [query, payload] = method === "POST" ? ["", body] : [body, ""];
  const sorted = query.split("&").sort().join("&");
  const canonical = `${method}\n/\n${sorted}\n${lines}\n${names}\n${
    digest(payload)
  }`;
  const scope = `${date}/eu-west-1/sts/aws4_request`;
  const signingKey = scope.split("/").reduce<string | Uint8Array>(
    (secret, part) => createHmac("sha256", secret).update(part).digest(),
    `AWS4${key.secret}`,
  );
  const signature = createHmac("sha256", signingKey).update(
    `AWS4-HMAC-SHA256\n${timestamp}\n${scope}\n${digest(canonical)}`,
  ).digest("hex");
  headers.push([
    "authorization",
    `AWS4-HMAC-SHA256 Credential=${key.id}/${scope}, SignedHeaders=${names}, Signature=${signature}`,
  ]);
  return new Request(`http://sts.test/${query && `?${query}`}`, {
    method,
    headers,
    body: method === "POST" ? payload : null,
  });
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function form(parameters: Record<string, string | undefined>): string {
  const entries = Object.entries({ Version: "2011-06-15", ...parameters });
  return entries.filter(([, value]) => value !== undefined)
    .map(([name, value = ""]) => `${name}=${encodeURIComponent(value)}`)
    .join("&");
}

interface Answer {
  status: number;
  xml: string;
  headers: Headers;
}

/** A simulated STS and a client of it, which agree on the time. */
class Bed {
  readonly clock = new FakeClock();
  readonly handler: Handler;

  constructor(options: Omit<SimulatorOptions, "clock"> = {}) {
    this.handler = createHandler({ clock: this.clock, ...options });
  }

  async send(request: Request): Promise<Answer> {
    const response = await this.handler(request);
    const { status, headers } = response;
    return { status, headers, xml: await response.text() };
  }

  call(parameters: Record<string, string | undefined>, key = USER) {
    return this.send(sign(form(parameters), key, this.clock.now()));
  }

  assumeRole(parameters: Record<string, string | undefined> = {}, key = USER) {
    return this.call({
      Action: "AssumeRole",
      RoleArn: ROLE,
      RoleSessionName: "moat-test",
      ...parameters,
    }, key);
  }

  whoami(key = USER) {
    return this.call({ Action: "GetCallerIdentity" }, key);
  }

  async session(parameters = {}, key = USER): Promise<Key> {
    const { xml } = await this.assumeRole(parameters, key);
    return {
      id: text(xml, "AccessKeyId"),
      secret: text(xml, "SecretAccessKey"),
      token: text(xml, "SessionToken"),
    };
  }
}

function text(xml: string, element: string): string {
  return new RegExp(`<${element}>([^<]*)</${element}>`).exec(xml)?.[1] ?? "";
}

function error({ status, xml }: Answer): [number, string, string] {
  return [status, text(xml, "Code"), text(xml, "Message")];
}

/** Replaces what differs in each answer. */
function mask(xml: string): string {
  return xml.replace(/>ASIA[A-Z2-7]{16}</, ">KEY<")
    .replace(/>[A-Za-z0-9+/]{40}</, ">SECRET<")
    .replace(/>[A-Za-z0-9+/=]{512}</, ">TOKEN<")
    .replace(/AROA[A-Z2-7]{17}/, "ROLE_ID")
    .replace(/>[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}</, ">ID<");
}

const DENIED: [number, string, string] = [
  403,
  "AccessDenied",
  `User: ${USER_ARN} is not authorized to perform: sts:AssumeRole on resource: ${ROLE}`,
];
const INVALID: [number, string, string] = [
  403,
  "InvalidClientTokenId",
  "The security token included in the request is invalid.",
];

Deno.test("STS answers AssumeRole in AWS's shape", async () => {
  const { status, xml } = await new Bed().assumeRole();
  assert.equal(status, 200);
  assert.equal(
    mask(xml),
    `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleResult>
    <AssumedRoleUser>
      <AssumedRoleId>ROLE_ID:moat-test</AssumedRoleId>
      <Arn>arn:aws:sts::123456789012:assumed-role/Deploy/moat-test</Arn>
    </AssumedRoleUser>
    <Credentials>
      <AccessKeyId>KEY</AccessKeyId>
      <SecretAccessKey>SECRET</SecretAccessKey>
      <SessionToken>TOKEN</SessionToken>
      <Expiration>2026-01-01T01:00:00Z</Expiration>
    </Credentials>
  </AssumeRoleResult>
  <ResponseMetadata>
    <RequestId>ID</RequestId>
  </ResponseMetadata>
</AssumeRoleResponse>
`,
  );
});

Deno.test("STS answers GetCallerIdentity in AWS's shape", async () => {
  const { status, xml } = await new Bed().whoami();
  assert.equal(status, 200);
  assert.equal(
    mask(xml),
    `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <GetCallerIdentityResult>
    <Arn>${USER_ARN}</Arn>
    <UserId>AIDAMOATSIMULATOR0000</UserId>
    <Account>123456789012</Account>
  </GetCallerIdentityResult>
  <ResponseMetadata>
    <RequestId>ID</RequestId>
  </ResponseMetadata>
</GetCallerIdentityResponse>
`,
  );
});

Deno.test("STS answers errors in AWS's shape", async () => {
  const answer = await new Bed().whoami({ ...USER, id: "AKIAUNKNOWN" });
  assert.equal(
    mask(answer.xml),
    `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <Error>
    <Type>Sender</Type>
    <Code>InvalidClientTokenId</Code>
    <Message>The security token included in the request is invalid.</Message>
  </Error>
  <RequestId>ID</RequestId>
</ErrorResponse>
`,
  );
  assert.equal(answer.headers.get("content-type"), "text/xml");
});

Deno.test("STS repeats the request's ID in a header", async () => {
  const { headers, xml } = await new Bed().whoami();
  assert.equal(headers.get("x-amzn-requestid"), text(xml, "RequestId"));
});

Deno.test("STS takes GET with the parameters in the query", async () => {
  const bed = new Bed();
  const query = form({ Action: "GetCallerIdentity" });
  const { status } = await bed.send(sign(query, USER, bed.clock.now(), "GET"));
  assert.equal(status, 200);
});

Deno.test("STS makes a session that is its role's", async () => {
  const bed = new Bed();
  const { xml } = await bed.whoami(await bed.session());
  assert.deepEqual(
    [text(xml, "Arn"), text(xml, "Account"), text(xml, "UserId").slice(0, 4)],
    [
      "arn:aws:sts::123456789012:assumed-role/Deploy/moat-test",
      "123456789012",
      "AROA",
    ],
  );
});

Deno.test("STS gives the role's account and partition", async () => {
  const RoleArn = "arn:aws-cn:iam::210987654321:role/Deploy";
  const { xml } = await new Bed().assumeRole({ RoleArn });
  assert.equal(
    text(xml, "Arn"),
    "arn:aws-cn:sts::210987654321:assumed-role/Deploy/moat-test",
  );
});

Deno.test("STS makes new credentials for each call", async () => {
  const bed = new Bed();
  const [one, two] = [await bed.session(), await bed.session()];
  assert.ok(
    one.id !== two.id && one.secret !== two.secret && one.token !== two.token,
  );
});

Deno.test("STS returns the source identity", async () => {
  const { xml } = await new Bed().assumeRole({ SourceIdentity: "ana@example" });
  assert.equal(text(xml, "SourceIdentity"), "ana@example");
});

for (
  const [seconds, expires] of [
    [undefined, "2026-01-01T01:00:00Z"],
    ["900", "2026-01-01T00:15:00Z"],
    ["43200", "2026-01-01T12:00:00Z"],
  ] as const
) {
  Deno.test(`STS gives a session of ${seconds ?? "the default"} seconds`, async () => {
    const { xml } = await new Bed().assumeRole({ DurationSeconds: seconds });
    assert.equal(text(xml, "Expiration"), expires);
  });
}

Deno.test("STS refuses a wrong secret", async () => {
  const answer = await new Bed().whoami({ ...USER, secret: "x".repeat(40) });
  assert.deepEqual(error(answer).slice(0, 2), [403, "SignatureDoesNotMatch"]);
});

Deno.test("STS refuses a request without a signature", async () => {
  const request = new Request("http://sts.test/", {
    method: "POST",
    body: new URLSearchParams({ Action: "GetCallerIdentity" }),
  });
  assert.deepEqual(error(await new Bed().send(request)), [
    403,
    "MissingAuthenticationToken",
    "Request is missing Authentication Token",
  ]);
});

Deno.test("STS refuses a signature for another service", async () => {
  const bed = new Bed();
  const signed = sign(form({ Action: "X" }), USER, bed.clock.now());
  const header = signed.headers.get("authorization") ?? "";
  signed.headers.set("authorization", header.replace("/sts/", "/iam/"));
  assert.deepEqual(error(await bed.send(signed)), [
    403,
    "SignatureDoesNotMatch",
    "Credential should be scoped to correct service: 'sts'.",
  ]);
});

Deno.test("STS refuses a replay after 15 minutes", async () => {
  const bed = new Bed();
  const body = form({ Action: "GetCallerIdentity" });
  const request = sign(body, USER, bed.clock.now());
  await bed.clock.advance(15 * 60_000 + 1);
  assert.match((await bed.send(request)).xml, /Signature expired: /);
});

const TOKENS: [string, (key: Key) => Key][] = [
  ["a session key without its token", ({ id, secret }) => ({ id, secret })],
  ["a session key with another token", (key) => ({ ...key, token: "x" })],
  [
    "a token with a bit changed",
    (key) => ({ ...key, token: key.token?.replace(/^./, "!") ?? "" }),
  ],
  [
    "a long-lived key with a token",
    ({ token }) => ({ ...USER, token: token ?? "" }),
  ],
  ["an unknown key", (key) => ({ ...key, id: "ASIAUNKNOWNUNKNOWN00" })],
];
for (const [what, change] of TOKENS) {
  Deno.test(`STS refuses ${what}`, async () => {
    const bed = new Bed();
    const answer = await bed.whoami(change(await bed.session()));
    assert.deepEqual(error(answer), INVALID);
  });
}

Deno.test("STS accepts a session until it ends", async () => {
  const bed = new Bed();
  const key = await bed.session({ DurationSeconds: "900" });
  await bed.clock.advance(900_000 - 1);
  assert.equal((await bed.whoami(key)).status, 200);
});

Deno.test("STS refuses a session that has ended", async () => {
  const bed = new Bed();
  const key = await bed.session({ DurationSeconds: "900" });
  await bed.clock.advance(900_000);
  assert.deepEqual(error(await bed.whoami(key)), [
    403,
    "ExpiredToken",
    "The security token included in the request is expired",
  ]);
});

Deno.test("STS forgets the session that was used the longest time ago", async () => {
  const bed = new Bed({ maxSessions: 2 });
  const [first, second] = [await bed.session(), await bed.session()];
  await bed.whoami(first);
  const third = await bed.session();
  const statuses = [];
  for (const key of [first, second, third]) {
    statuses.push((await bed.whoami(key)).status);
  }
  assert.deepEqual(statuses, [200, 403, 200]);
});

Deno.test("STS lets a session assume a role for an hour", async () => {
  const bed = new Bed();
  const answer = await bed.assumeRole({}, await bed.session());
  assert.equal(answer.status, 200);
});

Deno.test("STS refuses more than an hour to a session", async () => {
  const bed = new Bed();
  const key = await bed.session({ DurationSeconds: "43200" });
  assert.deepEqual(
    error(await bed.assumeRole({ DurationSeconds: "3601" }, key)),
    [
      400,
      "ValidationError",
      "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
    ],
  );
});

Deno.test("STS refuses more than the role's maximum", async () => {
  const bed = new Bed({ maxSessionSeconds: 3600 });
  assert.deepEqual(error(await bed.assumeRole({ DurationSeconds: "7200" })), [
    400,
    "ValidationError",
    "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
  ]);
});

Deno.test("STS names the session that may not assume a role", async () => {
  const bed = new Bed({ roles: [ROLE] });
  const RoleArn = "arn:aws:iam::123456789012:role/Other";
  const answer = await bed.assumeRole({ RoleArn }, await bed.session());
  assert.equal(
    error(answer)[2],
    `User: arn:aws:sts::123456789012:assumed-role/Deploy/moat-test is not authorized to perform: sts:AssumeRole on resource: ${RoleArn}`,
  );
});

const TRUST: [
  string,
  Omit<SimulatorOptions, "clock">,
  string | undefined,
  boolean,
][] = [
  ["without external ID", {}, undefined, true],
  ["with an external ID that nobody wants", {}, "any", true],
  ["with the wanted external ID", { externalId: "ext-1" }, "ext-1", true],
  ["without the wanted external ID", { externalId: "ext-1" }, undefined, false],
  ["with another external ID", { externalId: "ext-1" }, "ext-2", false],
  [
    "of a role that exists",
    { roles: ["arn:aws:iam::1:role/x", ROLE] },
    undefined,
    true,
  ],
  [
    "of a role that does not exist",
    { roles: ["arn:aws:iam::1:role/x"] },
    undefined,
    false,
  ],
];
for (const [what, options, ExternalId, allowed] of TRUST) {
  Deno.test(`STS ${allowed ? "allows" : "denies"} AssumeRole ${what}`, async () => {
    const answer = await new Bed(options).assumeRole({ ExternalId });
    if (allowed) return assert.equal(answer.status, 200);
    assert.deepEqual(error(answer), DENIED);
  });
}

const ONE = "1 validation error detected: Value";
const PATTERN =
  "failed to satisfy constraint: Member must satisfy regular expression pattern:";
const INVALID_PARAMETERS: [
  string,
  Record<string, string | undefined>,
  string,
][] = [
  [
    "no role",
    { RoleArn: undefined },
    `${ONE} null at 'roleArn' failed to satisfy constraint: Member must not be null`,
  ],
  [
    "a short role",
    { RoleArn: "arn:aws:iam::1" },
    `${ONE} 'arn:aws:iam::1' at 'roleArn' failed to satisfy constraint: Member must have length greater than or equal to 20`,
  ],
  [
    "a user instead of a role",
    { RoleArn: USER_ARN },
    `${USER_ARN} is invalid`,
  ],
  [
    "no session name",
    { RoleSessionName: undefined },
    `${ONE} null at 'roleSessionName' failed to satisfy constraint: Member must not be null`,
  ],
  [
    "a session name with a space",
    { RoleSessionName: "a b" },
    `${ONE} 'a b' at 'roleSessionName' ${PATTERN} [\\w+=,.@-]*`,
  ],
  [
    "a session name with a letter beyond ASCII",
    { RoleSessionName: "é1" },
    `${ONE} 'é1' at 'roleSessionName' ${PATTERN} [\\w+=,.@-]*`,
  ],
  [
    "a session name of one character",
    { RoleSessionName: "a" },
    `${ONE} 'a' at 'roleSessionName' failed to satisfy constraint: Member must have length greater than or equal to 2`,
  ],
  [
    "a session name of 65 characters",
    { RoleSessionName: "a".repeat(65) },
    `${ONE} '${
      "a".repeat(65)
    }' at 'roleSessionName' failed to satisfy constraint: Member must have length less than or equal to 64`,
  ],
  [
    "an external ID with a space",
    { ExternalId: "a b" },
    `${ONE} 'a b' at 'externalId' ${PATTERN} [\\w+=,.@:\\/-]*`,
  ],
  [
    "899 seconds",
    { DurationSeconds: "899" },
    `${ONE} '899' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900`,
  ],
  [
    "43201 seconds",
    { DurationSeconds: "43201" },
    `${ONE} '43201' at 'durationSeconds' failed to satisfy constraint: Member must have value less than or equal to 43200`,
  ],
  [
    "two wrong parameters",
    { RoleSessionName: "a", DurationSeconds: "1" },
    "2 validation errors detected: Value 'a' at 'roleSessionName' failed to satisfy constraint: Member must have length greater than or equal to 2; Value '1' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900",
  ],
];
for (const [what, parameters, message] of INVALID_PARAMETERS) {
  Deno.test(`STS refuses ${what}`, async () => {
    const answer = await new Bed().assumeRole(parameters);
    assert.deepEqual(error(answer), [400, "ValidationError", message]);
  });
}

for (
  const [what, parameters, code] of [
    ["seconds that are no number", { DurationSeconds: "1h" }, "MalformedInput"],
    ["a policy that is no JSON", { Policy: "{" }, "MalformedPolicyDocument"],
    ["an unknown action", { Action: "GetFederationToken" }, "InvalidAction"],
    ["an inherited name as action", { Action: "constructor" }, "InvalidAction"],
    ["another version", { Version: "2010-01-01" }, "InvalidAction"],
    ["no version", { Version: undefined }, "InvalidAction"],
    ["no action", { Action: undefined }, "MissingAction"],
  ] as const
) {
  Deno.test(`STS refuses ${what}`, async () => {
    const [status, found] = error(await new Bed().assumeRole(parameters));
    assert.deepEqual([status, found], [400, code]);
  });
}

Deno.test("STS reads no form from a body of another type", async () => {
  const bed = new Bed();
  const body = form({ Action: "GetCallerIdentity" });
  const request = sign(body, USER, bed.clock.now(), "POST", "text/plain");
  assert.equal(error(await bed.send(request))[1], "MissingAction");
});

for (
  const [what, url, method, status] of [
    ["another path", "http://sts.test/x", "POST", 404],
    ["PUT", "http://sts.test/", "PUT", 405],
    ["HEAD", "http://sts.test/", "HEAD", 405],
  ] as const
) {
  Deno.test(`STS answers ${status} to ${what}`, async () => {
    const answer = await new Bed().send(new Request(url, { method }));
    assert.equal(answer.status, status);
  });
}

Deno.test("STS names the methods it takes", async () => {
  const request = new Request("http://sts.test/", { method: "DELETE" });
  const { headers } = await new Bed().send(request);
  assert.equal(headers.get("allow"), "GET, POST");
});

Deno.test("STS reads no more of a body than it must", async () => {
  let pulls = 0;
  const body = new ReadableStream({
    pull(controller) {
      pulls++;
      controller.enqueue(new Uint8Array(16_384));
    },
  });
  const request = new Request("http://sts.test/", { method: "POST", body });
  const { status } = await new Bed().send(request);
  assert.deepEqual([status, pulls <= 6], [413, true]);
});

Deno.test("STS does not tell what went wrong inside", async () => {
  let looks = 0;
  const clock = {
    now(): number {
      if (looks++ === 0) throw new Error("canary");
      return 0;
    },
    after: () => () => {},
  };
  const response = await createHandler({ clock })(
    sign(form({ Action: "GetCallerIdentity" }), USER, 0),
  );
  const xml = await response.text();
  assert.deepEqual(
    [response.status, text(xml, "Code"), xml.includes("canary")],
    [500, "InternalFailure", false],
  );
});

Deno.test("STS escapes what it repeats", async () => {
  const answer = await new Bed().assumeRole({ RoleSessionName: "<b>&" });
  assert.match(answer.xml, /Value '&lt;b&gt;&amp;' at 'roleSessionName'/);
});

Deno.test("the simulator's key has the lengths of a real one", () => {
  assert.deepEqual([USER.id.length, USER.secret.length], [20, 40]);
});
