/** CreateSession against a mock of the service on loopback. */

import assert from "node:assert/strict";
import { type Clock, systemClock } from "$core/clock.ts";
import { MoatError } from "$core/errors.ts";
import {
  makeCertificate,
  makeKey,
  noOpenssl,
  openssl,
  PKI_NOW,
  pkiPath,
} from "../../../tests/support/anywhere_pki.ts";
import { assertNoCanary, CANARY } from "../../../tests/support/canary.ts";
import { testUnless } from "../../../tests/support/conditional.ts";
import { eventually } from "../../../tests/support/eventually.ts";
import { FakeClock } from "../../../tests/support/fake_clock.ts";
import { mapAwsError, RefusedAnswer } from "../errors.ts";
import type { AnywhereHop } from "../hops.ts";
import { ClockSkew } from "../skew.ts";
import { awsSettings } from "../../../tests/support/aws_grant.ts";
import { createSession } from "./mod.ts";

const ROLE = "arn:aws:iam::123456789012:role/path/Deploy";
const SESSION_ARN = "arn:aws:sts::123456789012:assumed-role/Deploy/moat-ci";
const ARN = "arn:aws:rolesanywhere:eu-central-1:123456789012";
const NOW = PKI_NOW;
const MINUTE = 60_000;

/** What the mock saw of a request. */
interface Seen {
  readonly url: URL;
  readonly headers: Headers;
  readonly body: string;
}

/** A mock of the service; `answers` are given in turn, the last one for ever. */
class MockService implements AsyncDisposable {
  readonly seen: Seen[] = [];
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor(...answers: ((seen: Seen) => Response | Promise<Response>)[]) {
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      async (request) => {
        const { headers } = request;
        const body = await request.text();
        const seen = { url: new URL(request.url), headers, body };
        this.seen.push(seen);
        const answer = answers[this.seen.length - 1] ?? answers.at(-1);
        return timed(await answer?.(seen));
      },
    );
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

/** With the mock's time, unless the answer tells another. */
function timed(response = new Response(null, { status: 500 })): Response {
  const headers = new Headers(response.headers);
  if (!headers.has("date")) headers.set("date", new Date(NOW).toUTCString());
  return new Response(response.body, { status: response.status, headers });
}

type Json = Record<string, unknown>;

/** A session as the service answers it; members of the set can be changed. */
function session(credentials: Json = {}, set: Json = {}): Json {
  return {
    credentialSet: [{
      assumedRoleUser: { arn: SESSION_ARN, assumedRoleId: "AROA:moat-ci" },
      credentials: {
        accessKeyId: "ASIAMOCKMOCKMOCKMOCK",
        expiration: new Date(NOW + 60 * MINUTE).toISOString(),
        secretAccessKey: CANARY,
        sessionToken: "mock-session-token",
        ...credentials,
      },
      packedPolicySize: 7,
      roleArn: ROLE,
      sourceIdentity: "CN=leaf",
      ...set,
    }],
    subjectArn: `${ARN}:subject/1`,
  };
}

const json = (value: unknown, status = 201, headers: HeadersInit = {}) => () =>
  Response.json(value, { status, headers });
const well = json(session());
const refuse = (name: string, message: string, status = 403) =>
  json({ message }, status, { "x-amzn-errortype": `${name}:http://x/` });

/** Stands still; waits before a retry end at once, time-outs never. */
const quickClock: Clock = {
  now: () => NOW,
  after: (ms, callback) =>
    ms < 1000 ? systemClock.after(0, callback) : () => {},
};

async function makeHop(
  endpoint: string,
  more: Partial<AnywhereHop> = {},
): Promise<AnywhereHop> {
  await makeCertificate("root", { isAuthority: true });
  await makeCertificate("middle", { issuer: "root", isAuthority: true });
  return {
    kind: "roles-anywhere",
    at: { region: "eu-central-1" },
    role: ROLE,
    sessionName: "moat-ci",
    durationSeconds: 3600,
    anywhere: {
      trustAnchorArn: `${ARN}:trust-anchor/a b`,
      profileArn: `${ARN}:profile/1`,
      certificates: [await makeCertificate("leaf", { issuer: "middle" })],
      intermediates: [pkiPath("middle.crt")],
      privateKey: await makeKey("leaf"),
      region: "eu-central-1",
      endpoint,
    },
    ...more,
  };
}

interface Call {
  clock?: Clock;
  signal?: AbortSignal;
  skew?: ClockSkew;
  hop?: Partial<AnywhereHop>;
}

async function call(service: MockService, options: Call = {}) {
  const { clock = quickClock, skew } = options;
  const { signal = new AbortController().signal } = options;
  const hop = await makeHop(service.url, options.hop);
  return await createSession(hop, { clock, signal, ...(skew && { skew }) });
}

/** The error of a call, which must not hold the session's secret. */
async function failure(service: MockService, options: Call = {}) {
  const error = await call(service, options).then(
    () => assert.fail("a session"),
    (error) => error,
  );
  assertNoCanary(Deno.inspect(error), String(error.hint));
  return error;
}

testUnless(noOpenssl, "createSession() gives the session", async () => {
  await using service = new MockService(well);
  const found = await call(service);
  assert.deepEqual({
    ...found,
    secretAccessKey: found.secretAccessKey.reveal(),
    sessionToken: found.sessionToken.reveal(),
  }, {
    accessKeyId: "ASIAMOCKMOCKMOCKMOCK",
    secretAccessKey: CANARY,
    sessionToken: "mock-session-token",
    expiresAt: NOW + 60 * MINUTE,
    assumedRoleArn: SESSION_ARN,
    packedPolicySize: 7,
  });
});

testUnless(
  noOpenssl,
  "createSession() asks in the form of the service's own helper",
  async () => {
    await using service = new MockService(well);
    await call(service);
    const [{ url, headers, body } = assert.fail()] = service.seen;
    assert.equal(url.pathname, "/sessions");
    assert.deepEqual([...url.searchParams], [
      ["profileArn", `${ARN}:profile/1`],
      ["roleArn", ROLE],
      ["trustAnchorArn", `${ARN}:trust-anchor/a b`],
    ]);
    assert.equal(headers.get("content-type"), "application/json");
    assert.deepEqual(JSON.parse(body), {
      durationSeconds: 3600,
      roleSessionName: "moat-ci",
    });
  },
);

testUnless(
  noOpenssl,
  "createSession() leaves the life to the profile when there is none",
  async () => {
    await using service = new MockService(well);
    await call(service, { hop: { durationSeconds: undefined } });
    assert.deepEqual(JSON.parse(service.seen[0]?.body ?? ""), {
      roleSessionName: "moat-ci",
    });
  },
);

testUnless(noOpenssl, "createSession() signs what arrives", async () => {
  await using service = new MockService(well);
  await call(service);
  const [seen = assert.fail()] = service.seen;
  const authorization = seen.headers.get("authorization") ?? "";
  const [, algorithm, scope, names = "", signature = ""] =
    /^(\S+) Credential=\d+\/(\S+), SignedHeaders=(\S+), Signature=(\S+)$/
      .exec(authorization) ?? [];
  assert.equal(
    names,
    "content-type;host;x-amz-date;x-amz-x509;x-amz-x509-chain",
  );
  const canonical = [
    ...["POST", "/sessions", seen.url.search.slice(1)],
    ...names.split(";").map((name) => `${name}:${seen.headers.get(name)}`),
    ...["", names, await sha256(seen.body)],
  ].join("\n");
  const time = seen.headers.get("x-amz-date");
  const day = new Date(NOW).toISOString().slice(0, 10).replaceAll("-", "");
  assert.equal(scope, `${day}/eu-central-1/rolesanywhere/aws4_request`);
  await Deno.writeTextFile(
    pkiPath("signed.txt"),
    [algorithm, time, scope, await sha256(canonical)].join("\n"),
  );
  await Deno.writeFile(pkiPath("signed.sig"), Uint8Array.fromHex(signature));
  await openssl("pkey", "-in", "leaf.key", "-pubout", "-out", "leaf.pub");
  await openssl(
    ...["dgst", "-sha256", "-verify", "leaf.pub"],
    ...["-signature", "signed.sig", "signed.txt"],
  );
});

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest(
    "SHA-256",
    new TextEncoder().encode(text),
  );
  return new Uint8Array(digest).toHex();
}

const ACCEPTED: [name: string, answer: Json, expected: Json][] = [
  [
    "without packedPolicySize, sourceIdentity and role user",
    session({}, {
      packedPolicySize: undefined,
      sourceIdentity: undefined,
      assumedRoleUser: undefined,
    }),
    { packedPolicySize: undefined, assumedRoleArn: ROLE },
  ],
  [
    "with nulls in their place",
    session({}, {
      packedPolicySize: null,
      sourceIdentity: null,
      assumedRoleUser: null,
    }),
    { packedPolicySize: undefined, assumedRoleArn: ROLE },
  ],
  [
    "with whole seconds",
    session({ expiration: formatSeconds(NOW + MINUTE) }),
    { expiresAt: NOW + MINUTE },
  ],
  [
    "that lasts far longer than asked, cut short",
    session({ expiration: formatSeconds(NOW + 99 * 60 * MINUTE) }),
    { expiresAt: NOW + 65 * MINUTE },
  ],
];
for (const [name, answer, expected] of ACCEPTED) {
  testUnless(noOpenssl, `createSession() takes an answer ${name}`, async () => {
    await using service = new MockService(json(answer));
    const found = { ...await call(service) } as Json;
    const part = Object.keys(expected).map((key) => [key, found[key]]);
    assert.deepEqual(Object.fromEntries(part), expected);
  });
}

function formatSeconds(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+/, "");
}

const GARBAGE: [name: string, body: string][] = [
  ["nothing", ""],
  ["HTML", "<html>log in</html>"],
  ["null", "null"],
  ["no set", "{}"],
  ["an empty set", '{"credentialSet":[]}'],
  ["no credentials", JSON.stringify(session({}, { credentials: undefined }))],
  ...[
    ["no access key", { accessKeyId: undefined }],
    ["a short access key", { accessKeyId: "ASIA" }],
    ["an access key with a line feed", {
      accessKeyId: "ASIAMOCKMOCKMOCKMOCK\n",
    }],
    ["an empty secret", { secretAccessKey: "" }],
    ["a secret with a space", { secretAccessKey: "a b" }],
    ["a token beyond ASCII", { sessionToken: "é" }],
    ["a token with a line feed", { sessionToken: "a\nb" }],
    ["a number as token", { sessionToken: 1 }],
    ["no end", { expiration: undefined }],
    ["an end in the past", { expiration: formatSeconds(NOW) }],
    ["an end in words", { expiration: "tomorrow" }],
    ["an end of no calendar", { expiration: "2026-13-01T00:00:00Z" }],
  ].map(([name, change]): [string, string] => [
    name as string,
    JSON.stringify(session(change as Json)),
  ]),
  [
    "a role user beyond ASCII",
    JSON.stringify(session({}, { assumedRoleUser: { arn: "arn:\u202e" } })),
  ],
];
for (const [name, body] of GARBAGE) {
  testUnless(
    noOpenssl,
    `createSession() refuses an answer with ${name}`,
    async () => {
      await using service = new MockService(() =>
        new Response(body, { status: 201 })
      );
      const error = await failure(service);
      assert.ok(error instanceof MoatError);
      assert.equal(error.code, "sts-garbage");
    },
  );
}

for (const [size, what] of [[65_536, "takes"], [65_537, "refuses"]] as const) {
  testUnless(
    noOpenssl,
    `createSession() ${what} a session in ${size} bytes`,
    async () => {
      const body = JSON.stringify(session()).padEnd(size, " ");
      await using service = new MockService(() =>
        new Response(body, { status: 201 })
      );
      const done = call(service);
      if (what === "takes") await done;
      else await assert.rejects(done, RefusedAnswer);
    },
  );
}

/** Errors of the service, in the forms in which AWS writes them. */
const REFUSALS: [answer: () => Response, name: string, message: string][] = [
  [
    refuse("AccessDeniedException", "Untrusted signing certificate"),
    ...["AccessDeniedException", "Untrusted signing certificate"] as const,
  ],
  [
    json(
      { __type: "com.amazon.coral#ValidationException", message: "no" },
      400,
    ),
    ...["ValidationException", "no"] as const,
  ],
  [
    json({ __type: "ResourceNotFoundException", Message: "gone" }, 404),
    ...["ResourceNotFoundException", "gone"] as const,
  ],
  [
    json({ code: "TooManyTagsException" }, 400),
    ...["TooManyTagsException", ""] as const,
  ],
];
for (const [answer, name, message] of REFUSALS) {
  testUnless(
    noOpenssl,
    `createSession() throws ${name} as the SDK would, at once`,
    async () => {
      await using service = new MockService(answer);
      const error = await failure(service);
      assert.ok(error instanceof Error);
      assert.deepEqual(
        { ...error, name: error.name, message: error.message },
        {
          ...{ name, message, $fault: "client" },
          $metadata: { httpStatusCode: answer().status },
        },
      );
      assert.equal(service.seen.length, 1);
    },
  );
}

/** All error answers, and the code that they get. */
const CODES: [name: string, answer: () => Response, code: string][] = [
  [
    "a denied role",
    refuse("AccessDeniedException", `Unable to assume role ${ROLE}`),
    "access-denied",
  ],
  [
    "an untrusted certificate",
    refuse("AccessDeniedException", "Untrusted signing certificate"),
    "anywhere-rejected",
  ],
  [
    "an unknown profile",
    refuse("ResourceNotFoundException", "Profile", 404),
    "anywhere-not-found",
  ],
  [
    "a wrong parameter",
    refuse("ValidationException", "Value", 400),
    "anywhere-rejected",
  ],
  [
    "a throttle",
    refuse("ThrottlingException", "Rate exceeded", 429),
    "sts-throttled",
  ],
  [
    "an error of the service",
    refuse("InternalServerException", "oops", 500),
    "sts-unavailable",
  ],
  [
    "a gateway that is down",
    () => new Response("<html>", { status: 503 }),
    "sts-unavailable",
  ],
  [
    "a login page",
    () => new Response("<html>", { status: 403 }),
    "sts-garbage",
  ],
  [
    "a redirect",
    () => Response.redirect("http://127.0.0.1:1/", 307),
    "sts-garbage",
  ],
  ["more than 64 KiB", () => new Response(" ".repeat(65_537)), "sts-garbage"],
  [
    "more than 64 KiB without an end",
    () => new Response(endless()),
    "sts-garbage",
  ],
];
for (const [name, answer, code] of CODES) {
  testUnless(
    noOpenssl,
    `createSession() fails with ${code} for ${name}`,
    async () => {
      await using service = new MockService(answer);
      const error = await failure(service);
      const mapped = mapAwsError(error, {
        settings: awsSettings(),
        service: "Roles Anywhere",
      });
      assert.equal(mapped.code, code, mapped.message);
    },
  );
}

function endless(): ReadableStream<Uint8Array> {
  return new ReadableStream({
    pull: (controller) => controller.enqueue(new Uint8Array(8192)),
  });
}

const SOFT: [name: string, answer: () => Response][] = [
  ["a 429 without a name", json({ message: "slow down" }, 429)],
  ["a throttle", refuse("ThrottlingException", "Rate exceeded", 429)],
  ["a throttle with 400", refuse("ThrottlingException", "Rate exceeded", 400)],
  ["an error of the service", refuse("InternalServerException", "oops", 500)],
  ["a gateway that is down", () => new Response("<html>", { status: 503 })],
];
for (const [name, answer] of SOFT) {
  testUnless(
    noOpenssl,
    `createSession() asks again after ${name}`,
    async () => {
      await using service = new MockService(answer, well);
      assert.equal((await call(service)).assumedRoleArn, SESSION_ARN);
    },
  );

  testUnless(
    noOpenssl,
    `createSession() asks only once again after ${name}`,
    async () => {
      await using service = new MockService(answer);
      await failure(service);
      assert.equal(service.seen.length, 2);
    },
  );
}

testUnless(noOpenssl, "createSession() follows no redirect", async () => {
  await using target = new MockService(well);
  await using service = new MockService(() =>
    Response.redirect(`${target.url}/sessions`, 307)
  );
  await failure(service);
  assert.deepEqual([service.seen.length, target.seen.length], [1, 0]);
});

testUnless(
  noOpenssl,
  "createSession() asks again when nobody listens, then fails",
  async () => {
    const service = new MockService(well);
    const hop = await makeHop(service.url);
    await service[Symbol.asyncDispose]();
    const { signal } = new AbortController();
    const error = await createSession(hop, { clock: quickClock, signal })
      .catch((error) => error);
    const settings = awsSettings();
    const mapped = mapAwsError(error, { settings, service: "Roles Anywhere" });
    assert.equal(mapped.code, "sts-unreachable", mapped.message);
  },
);

testUnless(
  noOpenssl,
  "createSession() gives a hanging service 5 s twice",
  async () => {
    const clock = new FakeClock(NOW);
    const stop = Promise.withResolvers<Response>();
    await using service = new MockService(() => stop.promise);
    const done = failure(service, { clock });
    await eventually("the first request", () => service.seen.length === 1);
    await clock.advance(5000);
    await eventually("the second request", async () => {
      await clock.advance(200);
      return service.seen.length === 2;
    });
    await clock.advance(5000);
    const error = await done;
    stop.resolve(new Response());
    assert.equal(error.name, "TimeoutError");
  },
);

testUnless(
  noOpenssl,
  "createSession() gives a body that hangs 5 s as well",
  async () => {
    const clock = new FakeClock(NOW);
    const body = () => new Response(new ReadableStream({ pull() {} }));
    await using service = new MockService(body, well);
    const done = call(service, { clock });
    await eventually("the second request", async () => {
      await clock.advance(1000);
      return service.seen.length === 2;
    });
    assert.equal((await done).assumedRoleArn, SESSION_ARN);
  },
);

testUnless(
  noOpenssl,
  "createSession() ends with its signal, without another try",
  async () => {
    const stop = Promise.withResolvers<Response>();
    await using service = new MockService(() => stop.promise);
    const controller = new AbortController();
    const done = failure(service, { signal: controller.signal });
    await eventually("the request", () => service.seen.length === 1);
    controller.abort();
    const error = await done;
    stop.resolve(new Response());
    assert.equal(error.name, "AbortError");
    assert.equal(service.seen.length, 1);
  },
);

/** Refuses requests whose time is more than 5 minutes from its own. */
const strictAt = (serverNow: number) => ({ headers }: Seen) => {
  const date = { date: new Date(serverNow).toUTCString() };
  const time = headers.get("x-amz-date") ?? "";
  const sent = Date.parse(
    time.replace(/(....)(..)(..T..)(..)(..Z)/, "$1-$2-$3:$4:$5"),
  );
  if (Math.abs(sent - serverNow) > 5 * MINUTE) {
    return json({ message: "Signature expired" }, 403, {
      ...{ "x-amzn-errortype": "AccessDeniedException", ...date },
    })();
  }
  const expiration = formatSeconds(serverNow + 30 * MINUTE);
  return json(session({ expiration }), 201, date)();
};

for (const shift of [-6 * 60 * MINUTE, 6 * 60 * MINUTE]) {
  const hours = shift / 60 / MINUTE;
  testUnless(
    noOpenssl,
    `createSession() learns of a clock that is ${hours} h off`,
    async () => {
      // The certificates are as young as the tests.
      const clock = { ...quickClock, now: () => NOW + 7 * 60 * MINUTE };
      await using service = new MockService(strictAt(clock.now() + shift));
      const { expiresAt } = await call(service, { clock });
      const lifeMinutes = (expiresAt - clock.now()) / MINUTE;
      assert.equal(Math.round(lifeMinutes), 30);
      assert.equal(service.seen.length, 2);
    },
  );
}

testUnless(
  noOpenssl,
  "createSession() remembers the service's clock for its next call",
  async () => {
    const clock = { ...quickClock, now: () => NOW + 7 * 60 * MINUTE };
    await using service = new MockService(strictAt(clock.now() + 60 * MINUTE));
    const skew = new ClockSkew();
    await call(service, { clock, skew });
    await call(service, { clock, skew });
    assert.equal(service.seen.length, 3);
  },
);

testUnless(
  noOpenssl,
  "createSession() is not shut out by a time at which the certificate is not valid",
  async () => {
    const clock = { ...quickClock, now: () => NOW + 7 * 60 * MINUTE };
    await using service = new MockService(strictAt(clock.now()));
    const skew = new ClockSkew();
    const wrong = new Date(clock.now() - 20 * 60 * MINUTE).toUTCString();
    skew.learn(service.url, wrong, clock.now());
    await call(service, { clock, skew });
    assert.equal(skew.offset(service.url), 0);
  },
);

testUnless(
  noOpenssl,
  "createSession() asks once only when the service's clock keeps changing",
  async () => {
    let hours = 0;
    await using service = new MockService(() => {
      const date = new Date(NOW + ++hours * 60 * MINUTE).toUTCString();
      return json({ message: "Signature expired" }, 403, {
        ...{ "x-amzn-errortype": "AccessDeniedException", date },
      })();
    });
    await failure(service);
    assert.equal(service.seen.length, 2);
  },
);

testUnless(
  noOpenssl,
  "createSession() drops no name that was asked for",
  async () => {
    await using service = new MockService(
      refuse("AccessDeniedException", "Not authorized to set roleSessionName."),
    );
    const { name } = await failure(service);
    assert.deepEqual([name, service.seen.length], ["AccessDeniedException", 1]);
  },
);

testUnless(noOpenssl, "createSession() gives each remedy one try", async () => {
  const date = new Date(NOW + 60 * MINUTE).toUTCString();
  await using service = new MockService(
    () => new Response(null, { status: 503 }),
    json({ message: "Signature expired" }, 403, { date }),
    () => new Response(null, { status: 503 }),
  );
  await failure(service);
  assert.equal(service.seen.length, 3);
});

testUnless(
  noOpenssl,
  "createSession() asks nobody when the certificate has expired",
  async () => {
    await using service = new MockService(well);
    const clock = { ...quickClock, now: () => NOW + 31 * 24 * 60 * MINUTE };
    const error = await failure(service, { clock });
    assert.equal(error.code, "certificate-expired");
    assert.equal(service.seen.length, 0);
  },
);

testUnless(
  noOpenssl,
  "createSession() trusts the CA bundle, and nothing without it",
  async () => {
    await makeCertificate("tls-ca", { isAuthority: true });
    await Deno.writeTextFile(
      pkiPath("tls.ext"),
      "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth",
    );
    await makeKey("tls");
    await openssl(
      ...[
        "req",
        "-new",
        "-key",
        "tls.key",
        "-subj",
        "/CN=tls",
        "-out",
        "tls.csr",
      ],
    );
    await openssl(
      ...["x509", "-req", "-in", "tls.csr", "-out", "tls.crt", "-days", "2"],
      ...["-CA", "tls-ca.crt", "-CAkey", "tls-ca.key", "-CAcreateserial"],
      ...["-extfile", "tls.ext"],
    );
    const [cert = "", key = ""] = ["tls.crt", "tls.key"].map((name) =>
      Deno.readTextFileSync(pkiPath(name))
    );
    await using server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {}, cert, key },
      well,
    );
    const hop = await makeHop(`https://localhost:${server.addr.port}`);
    const context = { clock: quickClock, signal: new AbortController().signal };
    await assert.rejects(createSession(hop, context), TypeError);
    const at = { ...hop.at, caBundle: pkiPath("tls-ca.crt") };
    const found = await createSession({ ...hop, at }, context);
    assert.equal(found.assumedRoleArn, SESSION_ARN);
  },
);

for (const [name, content] of [["absent", undefined], ["empty", ""]] as const) {
  testUnless(
    noOpenssl,
    `createSession() refuses a CA bundle that is ${name}`,
    async () => {
      await using service = new MockService(well);
      const caBundle = pkiPath(`bundle ${name}`);
      if (content !== undefined) await Deno.writeTextFile(caBundle, content);
      const hop = { at: { region: "eu-central-1", caBundle } };
      assert.equal(
        (await failure(service, { hop })).code,
        "ca-bundle-unreadable",
      );
    },
  );
}
