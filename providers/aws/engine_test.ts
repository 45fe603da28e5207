import assert from "node:assert/strict";
import type { Binding } from "$core/binding.ts";
import type { FlagValues, Simulator } from "$core/provider.ts";
import { Secret } from "$core/secret.ts";
import {
  makeCertificate,
  makeKey,
  noOpenssl,
  openssl,
  pkiPath,
} from "../../tests/support/anywhere_pki.ts";
import { awsGrant, awsSource, ROLE } from "../../tests/support/aws_grant.ts";
import { testUnless } from "../../tests/support/conditional.ts";
import {
  type FakePlatform,
  fakePlatform,
} from "../../tests/support/fake_platform.ts";
import { Workspace } from "../../tests/support/workspace.ts";
import { withSecrets } from "./credential.ts";
import { CALL_TIMEOUT_MS, SessionEngine } from "./engine.ts";
import type { FurtherRole } from "./hops.ts";
import type { AwsSettings } from "./settings.ts";
import {
  SIMULATOR_ACCESS_KEY_ID,
  SIMULATOR_MFA_CODE,
  SIMULATOR_SECRET_ACCESS_KEY,
} from "./simulator/flags.ts";
import { simulateAws } from "./simulator/mod.ts";

const OTHER = "arn:aws:iam::123456789012:role/Other";
const SERIAL = "arn:aws:iam::123456789012:mfa/moat-simulator";
const KEYS = `aws_access_key_id = ${SIMULATOR_ACCESS_KEY_ID}
aws_secret_access_key = ${SIMULATOR_SECRET_ACCESS_KEY}
`;

function binding(name: string, more: Partial<Binding> = {}): Binding {
  return { name, grants: ["aws"], ...more };
}

/** An engine, a simulated STS and a shared credentials file. */
class Bed implements AsyncDisposable {
  readonly platform: FakePlatform;
  readonly engine: SessionEngine;
  readonly #simulator: Simulator;
  readonly workspace: Workspace;
  readonly credentialsFile: string;

  private constructor(
    platform: FakePlatform,
    simulator: Simulator,
    workspace: Workspace,
  ) {
    this.platform = platform;
    this.engine = new SessionEngine(platform);
    this.#simulator = simulator;
    this.workspace = workspace;
    this.credentialsFile = workspace.path("credentials");
  }

  static async open(flags: FlagValues = {}): Promise<Bed> {
    const platform = fakePlatform({ now: Date.now() });
    const simulator = await simulateAws({ flags, listen: [] }, platform.clock);
    const bed = new Bed(platform, simulator, await Workspace.open());
    await bed.writeKeys(KEYS);
    return bed;
  }

  async writeKeys(keys: string): Promise<void> {
    await this.workspace.write("credentials", `[default]\n${keys}`);
  }

  get url(): string {
    return this.#simulator.urls[0] ?? "";
  }

  grant(more: Partial<AwsSettings> = {}, name = "aws") {
    return awsGrant({
      stsEndpoint: this.url,
      source: awsSource({ credentialsFile: this.credentialsFile }),
      ...more,
    }, name);
  }

  async session(
    more: Partial<AwsSettings> = {},
    by = binding("run-a"),
    name = "aws",
  ) {
    return await this.engine.sessions(this.grant(more, name), by, 0)();
  }

  /** How often the simulator was called, by action. */
  async calls(): Promise<Record<string, number>> {
    return await (await fetch(`${this.url}/_simulator/calls`)).json();
  }

  async fail(kind: string, action?: string): Promise<void> {
    const response = await fetch(`${this.url}/_simulator/faults`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        faults: kind ? [{ kind, ...(action && { action }) }] : [],
      }),
    });
    await response.body?.cancel();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#simulator.close();
    await this.workspace[Symbol.asyncDispose]();
  }
}

Deno.test("a session names the role and the binding", async () => {
  await using bed = await Bed.open();
  const { assumedRoleArn } = await bed.session();
  assert.equal(
    assumedRoleArn,
    "arn:aws:sts::123456789012:assumed-role/Deploy/moat-run-a",
  );
});

Deno.test("a chain of roles ends at the last one", async () => {
  await using bed = await Bed.open();
  const { assumedRoleArn } = await bed.session({ roles: [ROLE, OTHER] });
  assert.match(assumedRoleArn, /assumed-role\/Other\/moat-run-a$/);
});

Deno.test("each hop of a chain is cached on its own", async () => {
  await using bed = await Bed.open();
  const by = (name: string) => binding(name);
  const more = { roles: [ROLE, OTHER], sessionName: "shared" };
  await bed.session(more, by("run-a"));
  await bed.session({ ...more, externalId: "other" }, by("run-b"));
  assert.deepEqual(await bed.calls(), { AssumeRole: 3 });
});

Deno.test("grants with the same settings have sessions of their own", async () => {
  await using bed = await Bed.open();
  const a = await bed.session({ sessionName: "same" });
  const b = await bed.session({ sessionName: "same" }, undefined, "aws:b");
  assert.notEqual(a.accessKeyId, b.accessKeyId);
});

Deno.test("a hundred requests at once make one call of each hop", async () => {
  await using bed = await Bed.open();
  const session = bed.engine.sessions(
    bed.grant({ roles: [ROLE, OTHER] }),
    binding("run-a"),
    1000,
  );
  await Promise.all(Array.from({ length: 100 }, session));
  assert.deepEqual(await bed.calls(), { AssumeRole: 2 });
});

Deno.test("forget() drops the inner sessions too", async () => {
  await using bed = await Bed.open();
  const more = { roles: [ROLE, OTHER] };
  await bed.session(more);
  bed.engine.forget("aws");
  await bed.session(more);
  assert.deepEqual(await bed.calls(), { AssumeRole: 4 });
});

Deno.test("end() drops what only the binding could use", async () => {
  await using bed = await Bed.open();
  await bed.session();
  bed.engine.end(binding("run-a"));
  await bed.session();
  assert.deepEqual(await bed.calls(), { AssumeRole: 2 });
});

/** Sessions of a further role, for a binding. */
function furtherSessions(
  bed: Bed,
  by: Binding,
  { more = {}, further = {} }: {
    more?: Partial<AwsSettings>;
    further?: Partial<FurtherRole>;
  } = {},
) {
  return bed.engine.sessions(bed.grant(more), by, 0, {
    role: OTHER,
    sessionName: "same",
    ...further,
  });
}

const DIRECT = { roles: [], direct: true } as const;

Deno.test("a further role is assumed with the grant's session", async () => {
  await using bed = await Bed.open();
  const { assumedRoleArn } = await furtherSessions(bed, binding("c-a"))();
  assert.match(assumedRoleArn, /assumed-role\/Other\/same$/);
  assert.deepEqual(await bed.calls(), { AssumeRole: 2 });
});

Deno.test("a further role is assumed with the long-lived keys of a direct grant", async () => {
  await using bed = await Bed.open();
  const by = binding("c-a");
  const { accessKeyId } = await furtherSessions(bed, by, { more: DIRECT })();
  assert.match(accessKeyId, /^ASIA/);
});

Deno.test("long-lived keys of a direct grant are not handed out for a further role either", async () => {
  await using bed = await Bed.open();
  await furtherSessions(bed, binding("c-a"), { more: DIRECT })();
  await assert.rejects(bed.session(DIRECT, binding("c-a")), {
    code: "source-not-temporary",
  });
});

Deno.test("a grant's own session is another one than that which assumes further roles", async () => {
  await using bed = await Bed.open();
  const more = { sessionName: "same" };
  const own = await bed.session(more);
  const further = await furtherSessions(bed, binding("run-a"), { more })();
  assert.notEqual(own.accessKeyId, further.accessKeyId);
});

const UNSHARED: { name: string; further: Partial<FurtherRole> }[] = [
  { name: "an external ID", further: { externalId: "other" } },
  { name: "a policy", further: { policy: '{"Statement":[]}' } },
  { name: "a session name", further: { sessionName: "other" } },
  { name: "a role", further: { role: ROLE } },
];

for (const { name, further } of UNSHARED) {
  Deno.test(`bindings whose further roles differ in ${name} share no session`, async () => {
    await using bed = await Bed.open();
    const more = DIRECT;
    const a = await furtherSessions(bed, binding("c-a"), { more })();
    const b = await furtherSessions(bed, binding("c-b"), { more, further })();
    assert.notEqual(a.accessKeyId, b.accessKeyId);
  });
}

Deno.test("bindings share the session of a further role that is no binding's", async () => {
  await using bed = await Bed.open();
  const a = await furtherSessions(bed, binding("c-a"), { more: DIRECT })();
  const b = await furtherSessions(bed, binding("c-b"), { more: DIRECT })();
  assert.equal(a, b);
});

Deno.test("end() drops the session of a further role that is named after the binding", async () => {
  await using bed = await Bed.open();
  const options = { more: DIRECT, further: { sessionName: "{container}-1" } };
  const by = binding("c-a", { subject: { container: "web" } });
  const sessions = furtherSessions(bed, by, options);
  const before = await sessions();
  bed.engine.end(by);
  assert.notEqual(await sessions(), before);
});

Deno.test("findRole() asks nobody without credentials", async () => {
  await using bed = await Bed.open();
  await bed.writeKeys("");
  await assert.rejects(bed.engine.findRole(bed.grant(DIRECT), "app"), {
    code: "no-source",
  });
});

Deno.test("a rotated key counts although the old one was never refused", async () => {
  await using bed = await Bed.open();
  await bed.session();
  await bed.writeKeys("aws_access_key_id = AKIAROTATEDROTATED00\n" + KEYS);
  await bed.writeKeys(KEYS.replace(SIMULATOR_ACCESS_KEY_ID, "AKIAGONE"));
  await assert.rejects(bed.session({}, binding("run-b")), {
    code: "source-rejected",
  });
});

Deno.test("a key that was refused is read anew", async () => {
  await using bed = await Bed.open();
  await bed.writeKeys(KEYS.replace(SIMULATOR_ACCESS_KEY_ID, "AKIAGONE"));
  await assert.rejects(bed.session(), { code: "source-rejected" });
  await bed.writeKeys(KEYS);
  await bed.platform.clock.advance(30_000);
  assert.match((await bed.session()).accessKeyId, /^ASIA/);
});

Deno.test("with MFA and no code it says so", async () => {
  await using bed = await Bed.open();
  await assert.rejects(bed.session({ mfa: { serial: SERIAL } }), {
    code: "mfa-required",
    message: 'Cannot use grant "aws": it needs an MFA code',
    hint: "moat mfa aws CODE",
  });
});

/** A grant with an open MFA session. */
async function openMfa(bed: Bed) {
  const grant = bed.grant({ mfa: { serial: SERIAL } });
  const mfaSession = await bed.engine.openMfa(grant, SIMULATOR_MFA_CODE);
  return withSecrets(grant, { mfaSession });
}

Deno.test("option: SerialNumber and TokenProvider open roles that demand MFA", async () => {
  await using bed = await Bed.open({ "require-mfa": true });
  await assert.rejects(bed.session(), { code: "access-denied" });
  const grant = await openMfa(bed);
  const session = bed.engine.sessions(grant, binding("run-a"), 0);
  assert.match((await session()).accessKeyId, /^ASIA/);
});

Deno.test("one MFA code opens sessions for twelve hours", async () => {
  await using bed = await Bed.open({ "require-mfa": true });
  const grant = await openMfa(bed);
  for (let hour = 0; hour < 11; hour++) {
    await bed.engine.sessions(grant, binding(`run-${hour}`), 0)();
    await bed.platform.clock.advance(3_600_000);
  }
  assert.equal((await bed.calls())["GetSessionToken"], 1);
});

Deno.test("an MFA session that has ended asks for a code", async () => {
  await using bed = await Bed.open();
  const grant = await openMfa(bed);
  await bed.platform.clock.advance(12 * 3_600_000);
  const session = bed.engine.sessions(grant, binding("run-a"), 0);
  await assert.rejects(async () => await session(), {
    code: "mfa-required",
    message: 'Cannot use grant "aws": its MFA session has ended',
  });
});

Deno.test("a wrong MFA code is told from other refusals", async () => {
  await using bed = await Bed.open();
  const grant = bed.grant({ mfa: { serial: SERIAL } });
  await assert.rejects(bed.engine.openMfa(grant, "000000"), {
    code: "mfa-rejected",
  });
});

Deno.test("an MFA code comes from a program", async () => {
  await using bed = await Bed.open({ "require-mfa": true });
  const command = `echo ${SIMULATOR_MFA_CODE}`;
  await bed.session({ mfa: { serial: SERIAL, command } });
  assert.deepEqual(await bed.calls(), { GetSessionToken: 1, AssumeRole: 1 });
});

for (const command of ["false", "echo 12345", "echo secret-1"]) {
  Deno.test(`the MFA program ${command} gives no code, and is not quoted`, async () => {
    await using bed = await Bed.open();
    await assert.rejects(
      bed.session({ mfa: { serial: SERIAL, command } }),
      (error: Error & { code: string }) =>
        error.code === "mfa-required" && !error.message.includes("12345") &&
        !error.message.includes("secret-1"),
    );
  });
}

Deno.test("--source direct hands out no long-lived key", async () => {
  await using bed = await Bed.open();
  await assert.rejects(bed.session({ direct: true, roles: [] }), {
    code: "source-not-temporary",
  });
});

Deno.test("--source direct hands out the source's own session", async () => {
  await using bed = await Bed.open();
  await bed.writeKeys(KEYS + "aws_session_token = the-token\n");
  const session = await bed.session({ direct: true, roles: [] });
  assert.equal(session.sessionToken.reveal(), "the-token");
});

/** A token that the simulator takes. */
function jwt(claims: object): string {
  const part = (value: object) =>
    btoa(JSON.stringify(value)).replaceAll("+", "-").replaceAll("/", "_")
      .replaceAll("=", "");
  return `${part({ alg: "RS256" })}.${part(claims)}.c2ln`;
}

Deno.test("a web identity token is read anew for each call", async () => {
  await using bed = await Bed.open();
  const exp = Math.floor(bed.platform.clock.now() / 1000) + 600;
  const claims = { iss: "https://idp.test", sub: "me", aud: "sts", exp };
  const tokenFile = await bed.workspace.write("token", jwt({ exp: 1 }));
  const more = { webIdentityTokenFile: tokenFile };
  await assert.rejects(bed.session(more));
  await bed.workspace.write("token", jwt(claims) + "\n");
  await bed.platform.clock.advance(30_000);
  assert.match((await bed.session(more)).assumedRoleArn, /Deploy\/moat-run-a$/);
});

Deno.test("a web identity token that is missing is told with its path", async () => {
  await using bed = await Bed.open();
  await assert.rejects(bed.session({ webIdentityTokenFile: "/none" }), {
    code: "token-unreadable",
    message: 'Cannot read the web identity token "/none"',
  });
});

Deno.test("STS's limit on policies and tags is announced", async () => {
  await using bed = await Bed.open();
  const tags = Object.fromEntries(
    Array.from({ length: 50 }, (_, i) => [`key-${i}`, "x".repeat(200)]),
  );
  await bed.session({ tags }).catch(() => {});
  const events = bed.platform.lines.map(({ event }) => event);
  assert(
    events.includes("policy-nearly-full") ||
      events.includes("session-refresh-failed"),
  );
});

Deno.test("a call that hangs ends after its bound", async () => {
  await using bed = await Bed.open();
  await bed.fail("hang");
  const obtained = bed.engine.obtain(bed.grant(), binding("run-a"));
  const failed = assert.rejects(obtained, { code: "sts-timeout" });
  while ((await bed.calls())["AssumeRole"] === undefined) await ticks();
  await bed.platform.clock.advance(CALL_TIMEOUT_MS);
  await failed;
});

/** Lets what is under way go on. */
async function ticks(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 5));
}

Deno.test("prepare() obtains what all bindings share", async () => {
  await using bed = await Bed.open();
  await bed.engine.prepare(bed.grant({ sessionName: "shared" }));
  assert.deepEqual(await bed.calls(), { AssumeRole: 1 });
});

Deno.test("prepare() of a name per binding makes no session for nobody", async () => {
  await using bed = await Bed.open();
  await bed.engine.prepare(bed.grant());
  assert.deepEqual(await bed.calls(), {});
});

testUnless(
  noOpenssl,
  "a wrong passphrase stands in nobody else's way",
  async () => {
    await using bed = await Bed.open();
    const privateKey = pkiPath("locked.pk8");
    await openssl(
      ...["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA256"],
      ...["-in", await makeKey("locked"), "-out", privateKey],
      ...["-passout", "pass:right"],
    );
    const grant = bed.grant({
      anywhere: {
        trustAnchorArn: "anchor",
        profileArn: "profile",
        certificates: [await makeCertificate("of-another-key")],
        privateKey,
        region: "eu-central-1",
      },
    });
    const failureWith = async (passphrase: string) => {
      const locked = withSecrets(grant, { passphrase: new Secret(passphrase) });
      const ask = bed.engine.sessions(locked, binding("host"), 0);
      return await Promise.resolve(ask()).catch(({ code }) => code);
    };
    await failureWith("wrong");
    assert.equal(await failureWith("right"), "key-mismatch");
  },
);
