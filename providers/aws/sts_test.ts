import assert from "node:assert/strict";
import { MoatError } from "$core/errors.ts";
import { assertNoCanary, CANARY } from "../../tests/support/canary.ts";
import { fakePlatform } from "../../tests/support/fake_platform.ts";
import { Workspace } from "../../tests/support/workspace.ts";
import {
  awsGrant,
  awsSettings,
  awsSource,
} from "../../tests/support/aws_grant.ts";
import { SessionEngine } from "./engine.ts";
import { type AwsSettings, type Source, writeSettings } from "./settings.ts";

const ROLE = "arn:aws:iam::123456789012:role/Deploy";
const SESSION_ARN = "arn:aws:sts::123456789012:assumed-role/Deploy/x";
const NOW = Date.UTC(2026, 0, 1);
const MINUTE = 60_000;

interface Parts {
  key?: string;
  secret?: string;
  token?: string;
  arn?: string;
  life?: number;
}

/** A session, as STS answers AssumeRole. */
function session(parts: Parts = {}): Response {
  const { key = "ASIAMOCKMOCKMOCKMOCK", secret = "s", token = "t" } = parts;
  const { arn = SESSION_ARN, life = 15 * MINUTE } = parts;
  return new Response(`<AssumeRoleResponse><AssumeRoleResult>
    <AssumedRoleUser><Arn>${arn}</Arn></AssumedRoleUser>
    <Credentials>
      <AccessKeyId>${key}</AccessKeyId>
      <SecretAccessKey>${secret}</SecretAccessKey>
      <SessionToken>${token}</SessionToken>
      <Expiration>${new Date(NOW + life).toISOString()}</Expiration>
    </Credentials>
  </AssumeRoleResult></AssumeRoleResponse>`);
}

/** A server on loopback that keeps the requests' headers. */
class Server implements AsyncDisposable {
  readonly requests: Headers[] = [];
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor(answer: (request: Request) => Response) {
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      (request) => {
        this.requests.push(request.headers);
        return answer(request);
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

const ENV = {
  AWS_ACCESS_KEY_ID: "AKIASOURCE",
  AWS_SECRET_ACCESS_KEY: `${CANARY}-key`,
  AWS_SESSION_TOKEN: `${CANARY}-token`,
};

function settingsOf(
  source: Partial<Source>,
  stsEndpoint?: string,
): AwsSettings {
  return awsSettings({
    roles: [ROLE],
    durationSeconds: 900,
    source: awsSource(source),
    ...(stsEndpoint && { stsEndpoint }),
  });
}

/** Assumes the role as a grant does. */
async function assumeRole(settings: AwsSettings) {
  const engine = new SessionEngine(fakePlatform({ now: NOW, env: ENV }));
  const binding = { name: "x1", grants: [] };
  const grant = { ...awsGrant(), settings: writeSettings(settings) };
  return await engine.obtain(grant, binding);
}

async function assume(server: Server, source: Partial<Source> = {}) {
  return await assumeRole(settingsOf(source, server.url));
}

Deno.test("assumeRole() takes a session", async () => {
  await using sts = new Server(() => session());
  assert.equal((await assume(sts)).accessKeyId, "ASIAMOCKMOCKMOCKMOCK");
});

for (const status of [301, 302, 303, 307, 308]) {
  Deno.test(`assumeRole() follows no ${status}`, async () => {
    await using other = new Server(() => session());
    const headers = { location: other.url };
    await using sts = new Server(() => new Response(null, { status, headers }));
    await assert.rejects(assume(sts), {
      code: "sts-garbage",
      message: /answered 30\d, a redirect, which moat does not follow$/,
    });
    assert.deepEqual(other.requests, []);
  });
}

/** A body without an end, and whether its reader went away. */
function endless() {
  const chunk = new Uint8Array(16 * 1024).fill(0x41);
  const gone = Promise.withResolvers<void>();
  let sent = 0;
  const body = new ReadableStream({
    pull(controller) {
      sent += chunk.length;
      controller.enqueue(chunk);
    },
    cancel: () => gone.resolve(),
  });
  return { body, gone: gone.promise, sent: () => sent };
}

for (const status of [200, 400]) {
  Deno.test(`assumeRole() stops reading an endless answer of ${status}`, async () => {
    const { body, gone } = endless();
    await using sts = new Server(() => new Response(body, { status }));
    await assert.rejects(assume(sts), {
      code: "sts-garbage",
      message: /answered more than 64 KiB$/,
    });
    await gone;
  });
}

Deno.test("assumeRole() counts the bytes of an answer uncompressed", async () => {
  const zipped = await new Response(
    new Blob(["A".repeat(1 << 20)]).stream()
      .pipeThrough(new CompressionStream("gzip")),
  ).bytes();
  const headers = { "content-encoding": "gzip" };
  await using sts = new Server(() => new Response(zipped, { headers }));
  await assert.rejects(assume(sts), {
    code: "sts-garbage",
    message: /answered more than 64 KiB$/,
  });
});

const BAD: Record<string, Parts> = {
  "a short key id": { key: "ASIA" },
  "a long key id": { key: "A".repeat(129) },
  "a key id with an escape": { key: "ASIAMOCKMOCKMOCK&#10;forged" },
  "a key id in lower case": { key: "asiamockmockmockmock" },
  "a secret with a space": { secret: "a b" },
  "a secret that is not ASCII": { secret: "ä" },
  "a long token": { token: "t".repeat(8193) },
  "a token with a newline": { token: "a&#10;b" },
  "a role that is no ARN": { arn: "x" },
  "a role on two lines": { arn: `${SESSION_ARN}&#10;forged` },
  "a long role": { arn: `arn:${"x".repeat(2045)}` },
};

for (const [name, parts] of Object.entries(BAD)) {
  Deno.test(`assumeRole() refuses a session with ${name}`, async () => {
    await using sts = new Server(() => session(parts));
    await assert.rejects(assume(sts), { code: "sts-garbage" });
  });
}

Deno.test("assumeRole() takes the longest token", async () => {
  await using sts = new Server(() => session({ token: "t".repeat(8192) }));
  const { sessionToken } = await assume(sts);
  assert.equal(sessionToken.reveal().length, 8192);
});

const LIVES = [
  { life: 15, wanted: 15 },
  { life: 20, wanted: 20 },
  { life: 21, wanted: 20 },
  { life: 5_000_000, wanted: 20 },
];

for (const { life, wanted } of LIVES) {
  Deno.test(`assumeRole() believes ${wanted} of ${life} minutes when it asked for 15`, async () => {
    await using sts = new Server(() => session({ life: life * MINUTE }));
    assert.equal((await assume(sts)).expiresAt, NOW + wanted * MINUTE);
  });
}

/** Answers with what it was sent. */
function echo({ headers }: Request): Response {
  const sent = `${headers.get("x-amz-security-token")} ${CANARY}-key`;
  return new Response(
    `<ErrorResponse><Error><Code>AccessDenied</Code><Message>you sent ${sent}</Message></Error></ErrorResponse>`,
    { status: 403 },
  );
}

async function failure(promise: Promise<unknown>): Promise<MoatError> {
  const error = await promise.then(() => undefined, (error) => error);
  assert(error instanceof MoatError);
  return error;
}

Deno.test("assumeRole() quotes no secret that STS sends back", async () => {
  await using sts = new Server(echo);
  const error = await failure(assume(sts));
  assertNoCanary(error.message, String(error.cause));
  assert.match(error.message, /you sent \[redacted\] \[redacted\]$/);
});

const KEYS =
  `aws_access_key_id = AKIABASE\naws_secret_access_key = ${CANARY}-key\naws_session_token = ${CANARY}-token\n`;

/** A profile that assumes a role with the keys of another. */
async function chained(workspace: Workspace): Promise<Partial<Source>> {
  const credentialsFile = await workspace.write("keys", `[base]\n${KEYS}`);
  const configFile = await workspace.write(
    "config",
    `[profile chained]\nrole_arn = ${ROLE}\nsource_profile = base\n`,
  );
  return {
    order: ["profile"],
    profile: "chained",
    configFile,
    credentialsFile,
  };
}

Deno.test("assumeRole() quotes no secret of a profile that assumes a role", async () => {
  await using workspace = await Workspace.open();
  await using sts = new Server(echo);
  const error = await failure(assume(sts, await chained(workspace)));
  assertNoCanary(error.message, String(error.cause));
});

Deno.test("assumeRole() follows no redirect for a profile that assumes a role", async () => {
  await using workspace = await Workspace.open();
  await using other = new Server(() => session());
  const headers = { location: other.url };
  const moved = () => new Response(null, { status: 307, headers });
  await using sts = new Server(moved);
  const { code } = await failure(assume(sts, await chained(workspace)));
  assert.deepEqual([code, other.requests], ["sts-garbage", []]);
});

/** Runs with a variable in the environment that the SDK sees. */
async function withVariable(
  name: string,
  value: string,
  run: () => Promise<void>,
): Promise<void> {
  const before = Deno.env.get(name);
  Deno.env.set(name, value);
  try {
    await run();
  } finally {
    if (before === undefined) Deno.env.delete(name);
    else Deno.env.set(name, before);
  }
}

/** Fails each request to the outside, and tells where it went. */
async function destinations(settings: AwsSettings): Promise<string[]> {
  const real = globalThis.fetch;
  const hosts: string[] = [];
  globalThis.fetch = (input) => {
    hosts.push(new URL((input as Request).url).origin);
    return Promise.reject(new TypeError("no network in this test"));
  };
  try {
    await assert.rejects(assumeRole(settings));
  } finally {
    globalThis.fetch = real;
  }
  return [...new Set(hosts)];
}

for (const name of ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"]) {
  Deno.test(`assumeRole() does not ask ${name} where STS is`, async () => {
    await withVariable(name, "http://127.0.0.1:1", async () => {
      const hosts = await destinations(settingsOf({}));
      assert.deepEqual(hosts, ["https://sts.eu-central-1.amazonaws.com"]);
    });
  });

  Deno.test(`assumeRole() does not ask ${name} for a profile that assumes a role`, async () => {
    await using workspace = await Workspace.open();
    const settings = settingsOf(await chained(workspace));
    await withVariable(name, "http://127.0.0.1:1", async () => {
      const hosts = await destinations(settings);
      assert.deepEqual(hosts, ["https://sts.eu-central-1.amazonaws.com"]);
    });
  });
}

Deno.test("assumeRole() does not ask the environment's config file where STS is", async () => {
  await using workspace = await Workspace.open();
  const config = "[default]\nendpoint_url = http://127.0.0.1:1\n";
  const configFile = await workspace.write("config", config);
  await withVariable("AWS_CONFIG_FILE", configFile, async () => {
    const hosts = await destinations(settingsOf({}));
    assert.deepEqual(hosts, ["https://sts.eu-central-1.amazonaws.com"]);
  });
});

Deno.test("openMfa() shows no code that a server sends back", async () => {
  await using sts = new Server(() =>
    new Response(
      "<ErrorResponse><Error><Code>AccessDenied</Code><Message>Odd: 987654</Message></Error></ErrorResponse>",
      { status: 403 },
    )
  );
  const engine = new SessionEngine(fakePlatform({ now: NOW, env: ENV }));
  const settings = writeSettings({
    ...settingsOf({}, sts.url),
    mfa: { serial: "serial" },
  });
  await assert.rejects(engine.openMfa({ ...awsGrant(), settings }, "987654"), {
    message: /Odd: \[redacted\]$/,
  });
});
