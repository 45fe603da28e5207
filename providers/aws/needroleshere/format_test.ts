import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as fc from "fast-check";
import { digestToken, mintToken, readToken } from "$core/binding.ts";
import { BindingStore, type StoredBinding } from "$core/binding_store.ts";
import { parseEnvironment } from "$core/environment_format.ts";
import { bindingPaths } from "$core/paths.ts";
import { testUnless } from "../../../tests/support/conditional.ts";
import { FakeClock } from "../../../tests/support/fake_clock.ts";
import { Workspace } from "../../../tests/support/workspace.ts";
import { readSettings } from "../settings.ts";
import { needroleshereFormat } from "./format.ts";

/** Written by needroleshere 0.4.0; what they name does not exist. */
const THEIRS = fileURLToPath(
  new URL("../../../tests/testdata/needroleshere", import.meta.url),
);

const FORMAT = needroleshereFormat();

const ANY = "rolesanywhere:eu-central-1:123456789012";
const REQUEST = {
  profileArn: `arn:aws:${ANY}:profile/cd`,
  roleArn: "arn:aws:iam::123456789012:role/x",
  trustAnchorArn: `arn:aws:${ANY}:trust-anchor/ab`,
};
const FILE = {
  name: "web",
  "secret_hash": "A".repeat(64),
  "certificate_files": ["a.pem", "/etc/b.pem"],
  "private_key_file": "k.pem",
  request: REQUEST,
  mode: { kind: "EcsFull" },
};

function readTheirs(path: string): string {
  return Deno.readTextFileSync(join(THEIRS, path));
}

/** Reads one form of a file that must be good. */
function decode(value: unknown, format = FORMAT): StoredBinding {
  const [stored, ...others] = format.decode("web", value) ?? [];
  assert(stored, "refused");
  assert.equal(others.length, 0);
  return stored;
}

function settingsOf({ ownGrants }: StoredBinding) {
  const [grant] = ownGrants ?? [];
  assert(grant);
  return readSettings(grant);
}

Deno.test("needroleshereFormat() digests a secret as needroleshere does", () => {
  // Its own test's vector.
  assert.equal(
    digestToken("needroleshere.testrole.dGhpc2lzYXRlc3Qu"),
    "HMH2ZT39k34kFlafxZaIu2h8P5gfnx4k5jX6mkTib7-QWAwXBaKd7uC9B6Y59mcf",
  );
});

Deno.test("needroleshereFormat() makes tokens of 512 bits", () => {
  const { tokenPrefix, secretBytes } = FORMAT;
  assert.match(
    mintToken("a@b", tokenPrefix, secretBytes).reveal(),
    /^needroleshere\.a@b\.[\w-]{86}$/,
  );
});

for (const name of ["myrole", "at@b"]) {
  const file = readTheirs(`bindings/${name}.json`);
  const environment = readTheirs(`env/${name}`);

  Deno.test(`encode() writes ${name} as needroleshere did`, () => {
    const [stored] = FORMAT.decode(name, JSON.parse(file)) ?? [];
    assert(stored);
    assert.equal(FORMAT.encode(stored), file);
  });

  Deno.test(`writeEnvironment() writes that of ${name} as needroleshere did`, () => {
    const variables = parseEnvironment(environment);
    assert.equal(FORMAT.writeEnvironment(variables), environment);
  });

  Deno.test(`decode() finds the digest of the token that ${name} has`, () => {
    const [token = ""] = /needroleshere\.[\w.@-]+/.exec(environment) ?? [];
    const [stored] = FORMAT.decode(name, JSON.parse(file)) ?? [];
    assert.deepEqual(readToken(token, FORMAT.tokenPrefix), {
      name,
      digest: stored?.tokenDigest,
    });
  });
}

Deno.test("decode() gives a grant of its own", () => {
  const { ownGrants: [grant] = [], ...rest } = decode(FILE);
  assert.deepEqual(rest, {
    binding: { name: "web", grants: ["aws:needroleshere"], mode: "ecs-full" },
    tokenDigest: "A".repeat(64),
    createdAt: 0,
    url: "",
    tokenFile: false,
  });
  assert.deepEqual(grant, {
    provider: "aws",
    name: "aws:needroleshere",
    createdAt: 0,
    settings: {
      roles: [REQUEST.roleArn],
      region: "eu-central-1",
      anywhere: {
        trustAnchorArn: REQUEST.trustAnchorArn,
        profileArn: REQUEST.profileArn,
        certificates: ["a.pem", "/etc/b.pem"],
        privateKey: "k.pem",
        region: "eu-central-1",
      },
      source: { order: [], configFile: "", credentialsFile: "" },
    },
  });
});

const MODES = {
  EcsFull: "ecs-full",
  EcsRelative: "ecs-relative",
  EcsFullQuery: "ecs-full-query",
  EcsRelativeQuery: "ecs-relative-query",
};
for (const [kind, mode] of Object.entries(MODES)) {
  Deno.test(`decode() reads the mode ${kind}`, () => {
    assert.equal(decode({ ...FILE, mode: { kind } }).binding.mode, mode);
  });
}

const request = (more: Record<string, unknown>) => ({
  ...FILE,
  request: { ...REQUEST, ...more },
});

/** What needroleshere reads as well. */
const LENIENT: Readonly<Record<string, unknown>> = {
  "null for what is not given": {
    ...request({ sessionName: null, durationSeconds: null }),
  },
  "a member that nobody knows": { ...FILE, colour: "red" },
  "such a member of a mode": { ...FILE, mode: { kind: "EcsFull", at: 1 } },
  "another name than the file's": { ...FILE, name: "other" },
  "a null passphrase": { ...FILE, "passphrase_file": null },
  "a null next": { ...FILE, next: null },
};
for (const [name, value] of Object.entries(LENIENT)) {
  Deno.test(`decode() takes ${name}`, () => {
    assert.deepEqual(decode(value), decode(FILE));
  });
}

/** Each leads to a file that is not served. */
const NONSENSE: Readonly<Record<string, unknown>> = {
  "no JSON": undefined,
  "an array": [FILE],
  "a name that is no text": { ...FILE, name: 1 },
  "no digest": { ...FILE, "secret_hash": undefined },
  "a short digest": { ...FILE, "secret_hash": "A".repeat(63) },
  "a digest in base64": { ...FILE, "secret_hash": "+".repeat(64) },
  "no certificate": { ...FILE, "certificate_files": [] },
  "an empty path": { ...FILE, "certificate_files": [""] },
  "a path with NUL": { ...FILE, "private_key_file": "a\0b" },
  "no key": { ...FILE, "private_key_file": null },
  "the mode Empty": { ...FILE, mode: { kind: "Empty" } },
  "our mode process": { ...FILE, mode: { kind: "process" } },
  "a mode as text": { ...FILE, mode: "EcsFull" },
  "no request": { ...FILE, request: null },
  "half a second": request({ durationSeconds: 900.5 }),
  "no time": request({ durationSeconds: 0 }),
  "a template as session name": request({ sessionName: "{binding}" }),
  "a role that is none": request({ roleArn: "arn:aws:iam::1:role/x" }),
  "a role of another partition": request({
    roleArn: "arn:aws-cn:iam::123456789012:role/x",
  }),
  "a trust anchor of another partition": request({
    profileArn: REQUEST.profileArn.replace("aws", "aws-cn"),
    trustAnchorArn: REQUEST.trustAnchorArn.replace("aws", "aws-cn"),
  }),
  "a profile as trust anchor": request({ trustAnchorArn: REQUEST.profileArn }),
  "a profile of another region": request({
    profileArn: REQUEST.profileArn.replace("eu-central-1", "eu-west-1"),
  }),
  "a region that is a host": request({
    profileArn: REQUEST.profileArn.replace("eu-central-1", "evil"),
    trustAnchorArn: REQUEST.trustAnchorArn.replace("eu-central-1", "evil"),
  }),
  "a damaged next": { ...FILE, next: { ...FILE, "secret_hash": "" } },
  "a next that is text": { ...FILE, next: "web" },
};
for (const [name, value] of Object.entries(NONSENSE)) {
  Deno.test(`decode() refuses ${name}`, () => {
    assert.equal(FORMAT.decode("web", value), undefined);
  });
}

/** Anything in place of one member, on any level. */
function damaged(): fc.Arbitrary<unknown> {
  const places = [
    ...Object.keys(FILE).map((key) => [key]),
    ...Object.keys(REQUEST).map((key) => ["request", key]),
    ...["durationSeconds", "sessionName"].map((key) => ["request", key]),
    ...[["mode", "kind"], ["next"], ["passphrase_file"]],
  ];
  const value = fc.oneof(
    fc.jsonValue(),
    fc.string({ unit: "binary" }),
    fc.constantFrom(FILE, "", null, undefined, -1, 1e400, ["k.pem"]),
  );
  return fc.tuple(fc.constantFrom(...places), value).map(([path, value]) => {
    const copy = structuredClone(FILE) as Record<string, unknown>;
    const parent = path.slice(0, -1)
      .reduce((at, key) => at[key] as Record<string, unknown>, copy);
    parent[path.at(-1) ?? ""] = value;
    return copy;
  });
}

Deno.test("decode() gives what encode() writes the same, or nothing, whatever a file holds", () => {
  const anything = fc.oneof(damaged(), fc.jsonValue(), fc.anything());
  fc.assert(
    fc.property(anything, (value) => {
      const forms = FORMAT.decode("web", value);
      if (forms === undefined) return;
      const [own, next] = forms;
      assert(own);
      forms.forEach(settingsOf);
      const again = JSON.parse(FORMAT.encode(own, next));
      assert.deepEqual(FORMAT.decode("web", again), forms);
    }),
    { numRuns: 500 },
  );
});

const REGIONS = [
  { name: "the trust anchor's region first", anchor: "eu-central-1" },
  {
    name: "that of serve where there is none",
    anchor: "",
    wanted: "us-east-2",
  },
];
for (const { name, anchor, wanted = anchor } of REGIONS) {
  Deno.test(`decode() takes ${name}`, () => {
    const { profileArn, trustAnchorArn } = REQUEST;
    const value = request({
      profileArn: profileArn.replace("eu-central-1", anchor),
      trustAnchorArn: trustAnchorArn.replace("eu-central-1", anchor),
    });
    const format = needroleshereFormat({ region: "us-east-2" });
    const { region, anywhere } = settingsOf(decode(value, format));
    assert.deepEqual([region, anywhere?.region], [wanted, wanted]);
  });
}

Deno.test("decode() refuses a trust anchor without a region when serve has none", () => {
  const { profileArn, trustAnchorArn } = REQUEST;
  const value = request({
    profileArn: profileArn.replace("eu-central-1", ""),
    trustAnchorArn: trustAnchorArn.replace("eu-central-1", ""),
  });
  assert.equal(FORMAT.decode("web", value), undefined);
});

Deno.test("decode() takes endpoint and CA bundle from serve", () => {
  const format = needroleshereFormat({
    endpoint: "http://127.0.0.1:1",
    caBundle: "ca.pem",
  });
  const { anywhere, caBundle } = settingsOf(decode(FILE, format));
  assert.deepEqual(
    [anywhere?.endpoint, caBundle],
    ["http://127.0.0.1:1", "ca.pem"],
  );
});

Deno.test("encode() keeps the file of a passphrase", () => {
  const value = { ...FILE, "passphrase_file": "secret/pass" };
  const again = JSON.parse(FORMAT.encode(decode(value)));
  assert.equal(again["passphrase_file"], "secret/pass");
});

Deno.test("encode() lets needroleshere see the old token until it is changed", () => {
  const old = decode(FILE);
  const next = { ...old, tokenDigest: "B".repeat(64) };
  const { next: _, ...seen } = JSON.parse(FORMAT.encode(old, next));
  assert.deepEqual(seen, JSON.parse(FORMAT.encode(old)));
});

Deno.test("decode() gives both forms while a token is changed", () => {
  const old = decode(FILE);
  const next = { ...old, tokenDigest: "B".repeat(64) };
  const value = JSON.parse(FORMAT.encode(old, next));
  assert.deepEqual(FORMAT.decode("web", value), [old, next]);
});

Deno.test("encode() refuses a binding that has no grant of its own", () => {
  const { ownGrants: _, ...stored } = decode(FILE);
  assert.throws(() => FORMAT.encode(stored), TypeError);
});

/** A directory of bindings. */
class Directory implements AsyncDisposable {
  readonly store: BindingStore;
  readonly #workspace: Workspace;

  private constructor(workspace: Workspace) {
    this.#workspace = workspace;
    this.store = new BindingStore(
      bindingPaths(workspace.path("nrh")),
      FORMAT,
      new FakeClock(),
    );
  }

  static async open(): Promise<Directory> {
    return new Directory(await Workspace.open());
  }

  path(...parts: string[]): string {
    return this.#workspace.path("nrh", ...parts);
  }

  /** Binds `web` with a new token, and gives it. */
  async bind(): Promise<string> {
    const { tokenDigest: _, ...stored } = decode(FILE);
    const token = mintToken("web", FORMAT.tokenPrefix, FORMAT.secretBytes);
    await this.store.put(stored, token, { A: `Bearer ${token.reveal()}` });
    return token.reveal();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#workspace[Symbol.asyncDispose]();
  }
}

Deno.test("needroleshereFormat() keeps bindings where needroleshere has them", async () => {
  await using directory = await Directory.open();
  const token = await directory.bind();
  assert.deepEqual(
    JSON.parse(await Deno.readTextFile(directory.path("bindings/web.json"))),
    {
      ...FILE,
      "secret_hash": digestToken(token),
      request: { ...REQUEST, sessionName: null, durationSeconds: null },
    },
  );
  assert.equal(
    await Deno.readTextFile(directory.path("env/web")),
    `A="Bearer ${token}"\n`,
  );
});

Deno.test("needroleshereFormat() makes directories that a service may enter", async () => {
  await using directory = await Directory.open();
  await directory.bind();
  const modes = ["env", "bindings", "env/web", "bindings/web.json"]
    .map((name) => (Deno.statSync(directory.path(name)).mode ?? 0) & 0o777);
  assert.deepEqual(modes, [0o755, 0o755, 0o600, 0o600]);
});

Deno.test("needroleshereFormat() reads back what it wrote", async () => {
  await using directory = await Directory.open();
  const tokenDigest = digestToken(await directory.bind());
  assert.deepEqual(await directory.store.get("web"), [{
    ...decode(FILE),
    tokenDigest,
  }]);
});

Deno.test("needroleshereFormat() leaves one token after a second binding", async () => {
  await using directory = await Directory.open();
  await directory.bind();
  const second = digestToken(await directory.bind());
  const digests = (await directory.store.get("web"))
    .map(({ tokenDigest }) => tokenDigest);
  assert.deepEqual(digests, [second]);
});

testUnless(
  Deno.uid() === 0 ? undefined : "needs root",
  "needroleshereFormat() keeps owner and mode of an environment file",
  async () => {
    await using directory = await Directory.open();
    await directory.bind();
    await Deno.chown(directory.path("env/web"), 65534, 65534);
    await Deno.chmod(directory.path("env/web"), 0o640);
    await directory.bind();
    const { uid, gid, mode } = await Deno.stat(directory.path("env/web"));
    assert.deepEqual([uid, gid, (mode ?? 0) & 0o777], [65534, 65534, 0o640]);
  },
);

Deno.test("needroleshereFormat() is not held up by what needroleshere left behind", async () => {
  await using directory = await Directory.open();
  await directory.bind();
  // With it, needroleshere itself binds this name never again.
  await Deno.writeTextFile(directory.path("bindings/.wip.web"), "{");
  const second = digestToken(await directory.bind());
  assert.equal((await directory.store.get("web"))[0]?.tokenDigest, second);
  assert.deepEqual(await directory.store.names(), ["web"]);
});
