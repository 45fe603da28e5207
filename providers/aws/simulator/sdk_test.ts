/** The simulated STS and its faults, as the JavaScript SDK sees them. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  AssumeRoleCommand,
  type AssumeRoleCommandInput,
  AssumeRoleWithWebIdentityCommand,
  type AssumeRoleWithWebIdentityCommandInput,
  type Credentials,
  GetCallerIdentityCommand,
  GetSessionTokenCommand,
  type GetSessionTokenCommandInput,
  STSClient,
} from "@aws-sdk/client-sts";
import { FetchHttpHandler } from "@smithy/fetch-http-handler";
import { type Clock, systemClock } from "$core/clock.ts";
import type { FlagValues } from "$core/provider.ts";
import { FakeClock, settle } from "../../../tests/support/fake_clock.ts";
import {
  SIMULATOR_ACCESS_KEY_ID,
  SIMULATOR_SECRET_ACCESS_KEY,
} from "./flags.ts";
import { createHandler } from "./handler.ts";
import { simulateAws } from "./mod.ts";

const ROLE = "arn:aws:iam::123456789012:role/Deploy";
const OTHER_ROLE = "arn:aws:iam::123456789012:role/Other";
const USER_ARN = "arn:aws:iam::123456789012:user/moat-simulator";
const SESSION_ARN = "arn:aws:sts::123456789012:assumed-role/Deploy/moat-test";
const SERIAL = "arn:aws:iam::123456789012:mfa/moat-simulator";
const MFA = { SerialNumber: SERIAL, TokenCode: "123456" };

interface SdkKey {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
}

const USER: SdkKey = {
  accessKeyId: SIMULATOR_ACCESS_KEY_ID,
  secretAccessKey: SIMULATOR_SECRET_ACCESS_KEY,
};

/** A simulator and the SDK. */
class Bed {
  readonly url: string;

  constructor(url: string) {
    this.url = url;
  }

  async #send<T>(key: SdkKey, fn: (client: STSClient) => Promise<T>) {
    const client = new STSClient({
      endpoint: this.url,
      region: "eu-west-1",
      credentials: key,
      maxAttempts: 1,
      requestHandler: new FetchHttpHandler({ requestTimeout: 5000 }),
    });
    try {
      return await fn(client);
    } finally {
      client.destroy();
    }
  }

  assume(input: Partial<AssumeRoleCommandInput> = {}, key = USER) {
    return this.#send(key, (client) =>
      client.send(
        new AssumeRoleCommand({
          RoleArn: ROLE,
          RoleSessionName: "moat-test",
          ...input,
        }),
      ));
  }

  withToken(
    token: string,
    input: Partial<AssumeRoleWithWebIdentityCommandInput> = {},
  ) {
    return this.#send(USER, (client) =>
      client.send(
        new AssumeRoleWithWebIdentityCommand({
          RoleArn: ROLE,
          RoleSessionName: "moat-test",
          WebIdentityToken: token,
          ...input,
        }),
      ));
  }

  sessionToken(input: GetSessionTokenCommandInput = {}, key = USER) {
    return this.#send(
      key,
      (client) => client.send(new GetSessionTokenCommand(input)),
    );
  }

  whoami(key = USER) {
    return this.#send(
      key,
      (client) => client.send(new GetCallerIdentityCommand({})),
    );
  }

  /** The key of a new session. */
  async session(input: Partial<AssumeRoleCommandInput> = {}, key = USER) {
    return keyOf((await this.assume(input, key)).Credentials);
  }

  async control(path: string, plan?: unknown) {
    const response = await fetch(`${this.url}/_simulator/${path}`, {
      method: plan === undefined ? "GET" : "POST",
      headers: { "content-type": "application/json" },
      body: plan === undefined ? null : JSON.stringify(plan),
    });
    return { status: response.status, json: await response.json() };
  }
}

async function withBed(
  fn: (bed: Bed) => Promise<void>,
  flags: FlagValues = {},
  clock: Clock = systemClock,
): Promise<void> {
  const simulator = await simulateAws({ flags, listen: [] }, clock);
  try {
    await fn(new Bed(simulator.urls[0] ?? ""));
  } finally {
    await simulator.close();
  }
}

const test = (
  name: string,
  fn: (bed: Bed) => Promise<void>,
  flags: FlagValues = {},
) => Deno.test(name, () => withBed(fn, flags));

function keyOf(credentials: Credentials | undefined): SdkKey {
  return {
    accessKeyId: credentials?.AccessKeyId ?? "",
    secretAccessKey: credentials?.SecretAccessKey ?? "",
    sessionToken: credentials?.SessionToken ?? "",
  };
}

/** How long a session lasts from now on, in s. */
function lifeOf(credentials: Credentials | undefined): number {
  return Math.round(
    ((credentials?.Expiration?.getTime() ?? 0) - Date.now()) /
      1000,
  );
}

function assertLife(credentials: Credentials | undefined, seconds: number) {
  const life = lifeOf(credentials);
  assert.ok(Math.abs(life - seconds) <= 10, `${life} s`);
}

const part = (value: unknown) =>
  Buffer.from(JSON.stringify(value)).toString("base64url");

function token(claims: Record<string, unknown> = {}): string {
  const all = {
    iss: "https://issuer.example",
    sub: "repo:example/moat:ref:refs/heads/main",
    aud: "sts.amazonaws.com",
    exp: Math.floor(Date.now() / 1000) + 600,
    ...claims,
  };
  return `${part({ alg: "RS256", kid: "1" })}.${part(all)}.c2lnbmF0dXJl`;
}

test("AssumeRoleWithWebIdentity tells what the token says", async (bed) => {
  const answer = await bed.withToken(token());
  assert.deepEqual(
    [
      answer.SubjectFromWebIdentityToken,
      answer.Provider,
      answer.Audience,
      answer.AssumedRoleUser?.Arn,
      answer.PackedPolicySize,
    ],
    [
      "repo:example/moat:ref:refs/heads/main",
      "https://issuer.example",
      "sts.amazonaws.com",
      SESSION_ARN,
      undefined,
    ],
  );
});

test("AssumeRoleWithWebIdentity gives an hour by default", async (bed) => {
  assertLife((await bed.withToken(token())).Credentials, 3600);
});

test("AssumeRoleWithWebIdentity gives as long as is asked for", async (bed) => {
  const { Credentials } = await bed.withToken(token(), {
    DurationSeconds: 43_200,
  });
  assertLife(Credentials, 43_200);
});

test("AssumeRoleWithWebIdentity gives a session that works", async (bed) => {
  const { Credentials } = await bed.withToken(token());
  assert.equal((await bed.whoami(keyOf(Credentials))).Arn, SESSION_ARN);
});

test("AssumeRoleWithWebIdentity takes policies", async (bed) => {
  const { PackedPolicySize } = await bed.withToken(token(), {
    Policy: `{"Version":"2012-10-17","Statement":[]}`,
    PolicyArns: [{ arn: "arn:aws:iam::aws:policy/ReadOnlyAccess" }],
  });
  assert.ok((PackedPolicySize ?? 0) >= 1);
});

test("AssumeRoleWithWebIdentity needs no signature", async ({ url }) => {
  const response = await fetch(url, {
    method: "POST",
    body: new URLSearchParams({
      Action: "AssumeRoleWithWebIdentity",
      Version: "2011-06-15",
      RoleArn: ROLE,
      RoleSessionName: "moat-test",
      WebIdentityToken: token(),
    }),
  });
  assert.match(await response.text(), /<SessionToken>/);
});

const BAD_WEB_CALLS: [
  string,
  () => string,
  Partial<AssumeRoleWithWebIdentityCommandInput>,
  string,
][] = [
  ["an old token", () => token({ exp: 1 }), {}, "ExpiredTokenException"],
  ["a token that is none", () => "abcd", {}, "InvalidIdentityTokenException"],
  [
    "a token without subject",
    () => token({ sub: "" }),
    {},
    "InvalidIdentityTokenException",
  ],
  ["a token of 3 characters", () => "abc", {}, "ValidationError"],
  ["899 seconds", token, { DurationSeconds: 899 }, "ValidationError"],
  ["a role that is none", token, { RoleArn: USER_ARN }, "ValidationError"],
  ["a bad policy", token, { Policy: "{" }, "MalformedPolicyDocumentException"],
];
for (const [what, make, input, name] of BAD_WEB_CALLS) {
  test(`AssumeRoleWithWebIdentity refuses ${what}`, async (bed) => {
    await assert.rejects(bed.withToken(make(), input), { name });
  });
}

test(
  "AssumeRoleWithWebIdentity refuses a role that does not exist",
  async (bed) => {
    await assert.rejects(bed.withToken(token(), { RoleArn: OTHER_ROLE }), {
      name: "AccessDenied",
      message: "Not authorized to perform sts:AssumeRoleWithWebIdentity",
    });
  },
  { role: [ROLE] },
);

test(
  "AssumeRoleWithWebIdentity fails while the identity provider is away",
  async (bed) => {
    await assert.rejects(bed.withToken(token()), {
      name: "IDPCommunicationErrorException",
    });
    assert.ok((await bed.withToken(token())).Credentials);
  },
  { fault: ["idp-error:1"] },
);

test("a web identity's session may assume a role for an hour at most", async (bed) => {
  const key = keyOf((await bed.withToken(token())).Credentials);
  await assert.rejects(bed.assume({ DurationSeconds: 3601 }, key), {
    name: "ValidationError",
    message: /1 hour session limit/,
  });
});

for (
  const [seconds, wanted] of [[undefined, 43_200], [900, 900], [
    129_600,
    129_600,
  ]]
) {
  test(`GetSessionToken gives ${seconds ?? "no"} seconds asked for`, async (bed) => {
    const { Credentials } = await bed.sessionToken({
      DurationSeconds: seconds,
    });
    assertLife(Credentials, wanted ?? 0);
  });
}

test("GetSessionToken gives the user's own session", async (bed) => {
  const key = keyOf((await bed.sessionToken(MFA)).Credentials);
  assert.equal((await bed.whoami(key)).Arn, USER_ARN);
});

test("GetSessionToken gives a session that assumes a role for 12 hours", async (bed) => {
  const key = keyOf((await bed.sessionToken()).Credentials);
  const input = { DurationSeconds: 43_200 };
  assertLife((await bed.assume(input, key)).Credentials, 43_200);
});

test("GetSessionToken refuses a session", async (bed) => {
  const own = keyOf((await bed.sessionToken()).Credentials);
  for (const key of [own, await bed.session()]) {
    await assert.rejects(bed.sessionToken({}, key), {
      name: "AccessDenied",
      message: "Cannot call GetSessionToken with session credentials",
    });
  }
});

const BAD_CODES: [string, GetSessionTokenCommandInput, string, RegExp][] = [
  [
    "a wrong code",
    { ...MFA, TokenCode: "654321" },
    "AccessDenied",
    /^MultiFactorAuthentication failed with invalid MFA one time pass code\.$/,
  ],
  ["a device without a code", { SerialNumber: SERIAL }, "AccessDenied", /both/],
  ["a code without a device", { TokenCode: "123456" }, "AccessDenied", /both/],
  [
    "a code of 5 digits",
    { ...MFA, TokenCode: "12345" },
    "ValidationError",
    /'tokenCode'.*greater than or equal to 6/,
  ],
  [
    "a code of letters",
    { ...MFA, TokenCode: "abcdef" },
    "ValidationError",
    /'tokenCode'.*pattern: \[\\d\]\*/,
  ],
  [
    "a short serial",
    { ...MFA, SerialNumber: "x" },
    "ValidationError",
    /'serialNumber'/,
  ],
];
for (const [what, input, name, message] of BAD_CODES) {
  test(`GetSessionToken refuses ${what}`, async (bed) => {
    await assert.rejects(bed.sessionToken(input), { name, message });
  });
}
for (const [what, input, name, message] of BAD_CODES) {
  test(`AssumeRole refuses ${what}`, async (bed) => {
    await assert.rejects(bed.assume(input), { name, message });
  });
}
for (const DurationSeconds of [899, 129_601]) {
  test(`GetSessionToken refuses ${DurationSeconds} seconds`, async (bed) => {
    await assert.rejects(bed.sessionToken({ DurationSeconds }), {
      name: "ValidationError",
    });
  });
}

test("the code of --mfa-code counts, and no other", async (bed) => {
  await assert.rejects(bed.sessionToken(MFA), { name: "AccessDenied" });
  assert.ok(await bed.sessionToken({ ...MFA, TokenCode: "000000" }));
}, { "mfa-code": "000000" });

test("AssumeRole refuses the code of a role's session", async (bed) => {
  await assert.rejects(bed.assume(MFA, await bed.session()), {
    name: "AccessDenied",
    message: /^MultiFactorAuthentication failed, unable to validate/,
  });
});

const REQUIRED = { "require-mfa": true };
test("--require-mfa denies a user without a code", async (bed) => {
  await assert.rejects(bed.assume(), { name: "AccessDenied" });
}, REQUIRED);
test("--require-mfa denies a user's session without a code", async (bed) => {
  const key = keyOf((await bed.sessionToken()).Credentials);
  await assert.rejects(bed.assume({}, key), { name: "AccessDenied" });
}, REQUIRED);
test("--require-mfa allows a code with AssumeRole", async (bed) => {
  assert.ok(await bed.session(MFA));
}, REQUIRED);
test("--require-mfa allows a session that a code opened", async (bed) => {
  const key = keyOf((await bed.sessionToken(MFA)).Credentials);
  assert.ok(await bed.session({}, key));
}, REQUIRED);
test("--require-mfa allows what a role assumes", async (bed) => {
  assert.ok(await bed.session({}, await bed.session(MFA)));
}, REQUIRED);

const tags = (...keys: string[]) =>
  keys.map((Key) => ({ Key, Value: `of ${Key}` }));
const many = (count: number) =>
  tags(...Array.from({ length: count }, (_, i) => `k${i}`))
    .map((tag) => ({ ...tag, Value: "" }));
const STATEMENT = `{"Version":"2012-10-17","Statement":[]}`;
const pad = (length: number) => STATEMENT.padEnd(length, " ");
const noise = (length: number) =>
  Array.from({ length }, (_, i) => (i * 2654435761 >>> 7).toString(36)).join(
    "",
  );

const GOOD_CALLS: [string, Partial<AssumeRoleCommandInput>][] = [
  ["50 tags", { Tags: many(50) }],
  [
    "a key of 128 and a value of 256 characters",
    { Tags: [{ Key: "k".repeat(128), Value: "v".repeat(256) }] },
  ],
  ["letters and spaces beyond ASCII", { Tags: tags("größe é 東 _.:/=+-@") }],
  ["a transitive key in another case", {
    Tags: tags("Team"),
    TransitiveTagKeys: ["team"],
  }],
  ["a policy of 2,048 characters", { Policy: pad(2048) }],
  ["10 policies", {
    PolicyArns: Array.from({ length: 10 }, (_, i) => ({
      arn: `arn:aws:iam::123456789012:policy/team/P${i}`,
    })),
  }],
];
for (const [what, input] of GOOD_CALLS) {
  test(`AssumeRole takes ${what}`, async (bed) => {
    assert.match((await bed.session(input)).accessKeyId, /^ASIA/);
  });
}

const BAD_CALLS: [
  string,
  Partial<AssumeRoleCommandInput>,
  string,
  RegExp,
][] = [
  ["51 tags", { Tags: many(51) }, "ValidationError", /'tags'.*equal to 50/],
  [
    "a key of 129 characters",
    { Tags: tags("k".repeat(129)) },
    "ValidationError",
    /'tags\.1\.member\.key'.*equal to 128/,
  ],
  [
    "a value of 257 characters",
    { Tags: [{ Key: "k", Value: "v".repeat(257) }] },
    "ValidationError",
    /'tags\.1\.member\.value'.*equal to 256/,
  ],
  ["an empty key", { Tags: tags("") }, "ValidationError", /member\.key'/],
  ["a key with <", { Tags: tags("<") }, "ValidationError", /pattern/],
  [
    "a key of AWS's own",
    { Tags: tags("AWS:x") },
    "InvalidParameterValue",
    /System tags/,
  ],
  [
    "the same key in two cases",
    { Tags: tags("team", "Team") },
    "InvalidParameterValue",
    /^Duplicate tag keys found/,
  ],
  [
    "a transitive key without a tag",
    { Tags: tags("team"), TransitiveTagKeys: ["team", "cost"] },
    "InvalidParameterValue",
    /must be included in the requested tags/,
  ],
  [
    "a policy of 2,049 characters",
    { Policy: pad(2049) },
    "ValidationError",
    /'policy'.*equal to 2048/,
  ],
  [
    "a policy without statement",
    { Policy: "{}" },
    "MalformedPolicyDocumentException",
    /Syntax errors/,
  ],
  [
    "a policy that is a list",
    { Policy: "[]" },
    "MalformedPolicyDocumentException",
    /Syntax errors/,
  ],
  [
    "11 policies",
    {
      PolicyArns: Array.from({ length: 11 }, () => ({
        arn: "arn:aws:iam::aws:policy/ReadOnlyAccess",
      })),
    },
    "ValidationError",
    /'policyArns'.*equal to 10/,
  ],
  [
    "a role as policy",
    { PolicyArns: [{ arn: ROLE }] },
    "ValidationError",
    /^ARN .* is not valid/,
  ],
  [
    "tags that are too large together",
    {
      Tags: Array.from({ length: 9 }, (_, i) => ({
        Key: `T${i + 1}`,
        Value: "a".repeat(250),
      })),
    },
    // As STS itself answered for these tags.
    "PackedPolicyTooLargeException",
    /^Packed size of session tags consumes 498% of allotted space\.$/,
  ],
  [
    "a policy that does not pack",
    {
      Policy: `{"Statement":[{"Sid":"${noise(330).slice(0, 1900)}"}]}`,
    },
    "PackedPolicyTooLargeException",
    /^Packed policy consumes \d{3}% of allotted space/,
  ],
  [
    "a source identity with a space",
    { SourceIdentity: "a b" },
    "ValidationError",
    /'sourceIdentity'/,
  ],
];
for (const [what, input, name, message] of BAD_CALLS) {
  test(`AssumeRole refuses ${what}`, async (bed) => {
    await assert.rejects(bed.assume(input), { name, message });
  });
}

test("AssumeRole tells how much of the space is filled", async (bed) => {
  const small = await bed.assume({ Tags: tags("a") });
  const large = await bed.assume({ Tags: tags("a", "b", "c".repeat(99)) });
  const [one = 0, two = 0] = [small, large].map((a) => a.PackedPolicySize);
  assert.ok(one >= 1 && two > one && two <= 100, `${one} ${two}`);
});

test("AssumeRole tells of no space without policies and tags", async (bed) => {
  assert.equal((await bed.assume()).PackedPolicySize, undefined);
});

test("a chain cannot override a transitive tag", async (bed) => {
  const first = await bed.session({
    Tags: tags("Team", "free"),
    TransitiveTagKeys: ["Team"],
  });
  const second = await bed.session({ Tags: tags("free") }, first);
  for (const key of [first, second]) {
    await assert.rejects(bed.assume({ Tags: tags("TEAM") }, key), {
      name: "InvalidParameterValue",
      message: /conflicts with a transitive tag key from the calling session/,
    });
  }
});

test("a chain may give again a tag that does not pass on", async (bed) => {
  const first = await bed.session({ Tags: tags("team") });
  assert.ok(await bed.session({ Tags: tags("team") }, first));
});

test("a source identity lasts for the whole chain", async (bed) => {
  const first = await bed.session({ SourceIdentity: "ana" });
  const second = await bed.session({}, first);
  const { SourceIdentity } = await bed.assume({}, second);
  assert.equal(SourceIdentity, "ana");
});

test("a source identity may be given again, and not changed", async (bed) => {
  const first = await bed.session({ SourceIdentity: "ana" });
  const same = { SourceIdentity: "ana" };
  assert.equal((await bed.assume(same, first)).SourceIdentity, "ana");
  await assert.rejects(bed.assume({ SourceIdentity: "eve" }, first), {
    name: "AccessDenied",
    message:
      `User: ${SESSION_ARN} is not authorized to perform: sts:SetSourceIdentity on resource: ${ROLE}`,
  });
});

test("--session-life ends sessions early", async (bed) => {
  assertLife((await bed.assume()).Credentials, 20);
  assertLife((await bed.sessionToken()).Credentials, 20);
  assertLife((await bed.withToken(token())).Credentials, 20);
}, { "session-life": "20" });

test("--session-life makes no session longer", async (bed) => {
  const { Credentials } = await bed.assume({ DurationSeconds: 900 });
  assertLife(Credentials, 900);
}, { "session-life": "1000" });

const FAULTS: [string, Record<string, unknown>, number?][] = [
  ["500", { name: "InternalFailure", $fault: "server" }],
  ["503", { name: "ServiceUnavailable", $fault: "server" }],
  ["throttle", { name: "Throttling", message: "Rate exceeded" }],
  ["garbage", { message: /./ }],
  // Deno's fetch asks once more when a connection ends without an answer.
  ["reset", { message: /./ }, 2],
];
for (const [kind, error, count = 1] of FAULTS) {
  test(`the fault ${kind} is made as often as is asked for`, async (bed) => {
    await assert.rejects(bed.assume(), error);
    assert.ok(await bed.session());
  }, { fault: [`${kind}:${count}`] });
}

test("the fault empty answers 200 with nothing", async ({ url }) => {
  const response = await fetch(url, { method: "POST" });
  assert.deepEqual([response.status, await response.text()], [200, ""]);
}, { fault: ["empty"] });

test("the fault reset ends the connection without a byte", async ({ url }) => {
  const { hostname, port } = new URL(url);
  const conn = await Deno.connect({ hostname, port: Number(port) });
  const head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
  await conn.write(new TextEncoder().encode(head));
  const read = await conn.read(new Uint8Array(1)).catch(() => null);
  conn.close();
  assert.equal(read, null);
}, { fault: ["reset"] });

test("the fault expired gives a session that has ended", async (bed) => {
  const { Credentials } = await bed.assume();
  assertLife(Credentials, -60);
  await assert.rejects(bed.whoami(keyOf(Credentials)), {
    name: /^ExpiredToken/,
  });
}, { fault: ["expired:1"] });

for (const [path, body] of [["/", "Action=AssumeRole"], ["/sessions", "{}"]]) {
  test(`the fault hang answers nothing on ${path}`, async ({ url }) => {
    const response = fetch(url + path, {
      method: "POST",
      body: body ?? "",
      headers: { "content-type": "application/x-www-form-urlencoded" },
      signal: AbortSignal.timeout(50),
    });
    await assert.rejects(response, { name: "TimeoutError" });
  }, { fault: ["hang"] });
}

for (
  const flags of [{ fault: ["hang"] }, { delay: "10m" }] as FlagValues[]
) {
  Deno.test(`${JSON.stringify(flags)} does not hold up the end`, async () => {
    const simulator = await simulateAws({ flags, listen: [] }, systemClock);
    const asked = fetch(simulator.urls[0] ?? "").then(
      (response) => response.body?.cancel(),
      () => {},
    );
    const counted = async () =>
      (await (await fetch(`${simulator.urls[0]}/_simulator/calls`)).json())
        .other;
    for (let i = 0; i < 100 && !await counted(); i++);
    const before = performance.now();
    await simulator.close();
    await asked;
    assert.ok(performance.now() - before < 1000);
  });
}

for (const when of ["before", "after"]) {
  Deno.test(`createHandler() hangs no more if it is stopped ${when} a call`, async () => {
    const stop = new AbortController();
    const plan = { faults: [{ kind: "hang" as const }], delayMs: 0 };
    const clock = new FakeClock();
    const handler = createHandler({ clock, plan, stop: stop.signal });
    if (when === "before") stop.abort();
    const answer = handler(new Request("http://sts.test/"));
    await settle();
    stop.abort();
    const response = await answer;
    await response.text();
    assert.equal(response.status, 503);
  });
}

Deno.test("--delay answers late", async () => {
  const clock = new FakeClock(Date.now());
  await withBed(
    async (bed) => {
      let answered = false;
      const asked = bed.whoami().then(() => answered = true);
      for (let i = 0; i < 1000; i++) {
        if ((await bed.control("calls")).json.GetCallerIdentity) break;
      }
      await clock.advance(1999);
      await bed.control("calls");
      assert.equal(answered, false);
      await clock.advance(1);
      await asked;
    },
    { delay: "2s" },
    clock,
  );
});

test("/_simulator/calls counts calls by action", async (bed) => {
  const key = await bed.session();
  await bed.whoami(key);
  await bed.whoami(key);
  await assert.rejects(bed.sessionToken({}, key));
  await (await fetch(`${bed.url}/sessions`, { method: "POST" })).text();
  await (await fetch(bed.url)).text();
  assert.deepEqual((await bed.control("calls")).json, {
    AssumeRole: 1,
    GetCallerIdentity: 2,
    GetSessionToken: 1,
    CreateSession: 1,
    other: 1,
  });
});

test("/_simulator/faults changes the faults of a running simulator", async (bed) => {
  const faults = [{ kind: "throttle", count: 1, action: "AssumeRole" }];
  const { status, json } = await bed.control("faults", { faults });
  assert.deepEqual([status, json], [200, { faults, delayMs: 0 }]);
  await bed.whoami();
  await assert.rejects(bed.assume(), { name: "Throttling" });
  assert.ok(await bed.session());
});

test("/_simulator/faults ends the faults of the command line", async (bed) => {
  await assert.rejects(bed.whoami(), { name: "InternalFailure" });
  await bed.control("faults", {});
  assert.equal((await bed.whoami()).Arn, USER_ARN);
}, { fault: ["500"] });

test("/_simulator/faults tells what is left", async (bed) => {
  await assert.rejects(bed.whoami());
  assert.deepEqual((await bed.control("faults")).json, {
    faults: [{ kind: "500", count: 2 }],
    delayMs: 0,
  });
}, { fault: ["500:3"] });

test("/_simulator/faults refuses what is no plan", async (bed) => {
  const { status, json } = await bed.control("faults", { faults: [{}] });
  assert.equal(status, 400);
  assert.match(json.message, /^faults\.0\.kind: /);
});

test("/_simulator/faults refuses a page whose name leads to loopback", async ({ url }) => {
  const response = await fetch(`${url}/_simulator/faults`, {
    method: "POST",
    body: "{}",
    headers: { "content-type": "application/json", "origin": "http://evil" },
  });
  await response.body?.cancel();
  assert.equal(response.status, 403);
});

test("/_simulator/faults refuses what a page of a browser may send", async ({ url }) => {
  const response = await fetch(`${url}/_simulator/faults`, {
    method: "POST",
    headers: { "content-type": "text/plain" },
    body: "{}",
  });
  await response.text();
  assert.equal(response.status, 415);
});

test("/_simulator/ has nothing else", async (bed) => {
  assert.equal((await bed.control("other")).status, 404);
});

Deno.test("/_simulator/ is served on loopback listeners only", async () => {
  const simulator = await simulateAws(
    { flags: { fault: ["500"] }, listen: ["0.0.0.0:0"] },
    systemClock,
  );
  const { port } = new URL(simulator.urls[0] ?? "");
  const response = await fetch(`http://127.0.0.1:${port}/_simulator/calls`);
  const text = await response.text();
  await simulator.close();
  assert.match(text, /InternalFailure/);
  assert.doesNotMatch(simulator.notes.join("\n"), /_simulator/);
});
