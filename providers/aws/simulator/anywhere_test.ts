/** Roles Anywhere, against certificates and signatures that openssl makes. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { FetchHttpHandler } from "@smithy/fetch-http-handler";
import fc from "fast-check";
import { systemClock } from "$core/clock.ts";
import { FakeClock } from "../../../tests/support/fake_clock.ts";
import { testUnless } from "../../../tests/support/conditional.ts";
import { isThere } from "../../../tests/support/run.ts";
import { readCertificate, readPem } from "./certificate.ts";
import { DerError } from "./der.ts";
import { createHandler, type SimulatorOptions } from "./handler.ts";
import { simulateAws } from "./mod.ts";

const ACCOUNT = "123456789012";
const ROLE = `arn:aws:iam::${ACCOUNT}:role/team/Deploy`;
const ANCHOR =
  `arn:aws:rolesanywhere:eu-west-1:${ACCOUNT}:trust-anchor/11111111-2222-4333-8444-555555555555`;
const PROFILE =
  `arn:aws:rolesanywhere:eu-west-1:${ACCOUNT}:profile/11111111-2222-4333-8444-555555555555`;
const ARNS = { profileArn: PROFILE, roleArn: ROLE, trustAnchorArn: ANCHOR };

const DAY_MS = 86_400_000;
const LEAF = "basicConstraints=critical,CA:FALSE\nkeyUsage=digitalSignature";
const CA = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign";

const noOpenssl = isThere("/usr/bin/openssl")
  ? undefined
  : "no openssl in /usr/bin";

const dir = Deno.makeTempDirSync({ prefix: "moat-pki-" });
addEventListener("unload", () => Deno.removeSync(dir, { recursive: true }));

async function openssl(args: string[], stdin = ""): Promise<Uint8Array> {
  const child = new Deno.Command("openssl", {
    args,
    cwd: dir,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(30_000),
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(stdin));
  await writer.close();
  const { success, stdout, stderr } = await child.output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return stdout;
}

/** A certificate and its key; the files are NAME.pem and NAME.key. */
interface Identity {
  readonly name: string;
  readonly der: Uint8Array;
  readonly pem: string;
}

interface Wish {
  readonly issuer?: string;
  /** Such as `ec:prime256v1`, `rsa:2048`, or `of:NAME` for the same key. */
  readonly key?: string;
  readonly extensions?: string;
  readonly days?: number;
  readonly digest?: string;
  readonly subject?: string;
  readonly serial?: string;
}

async function issue(name: string, wish: Wish = {}): Promise<Identity> {
  const { issuer, key = "ec:prime256v1", extensions = LEAF } = wish;
  const [algorithm = "", value = ""] = key.split(":");
  if (algorithm === "of") {
    await Deno.copyFile(`${dir}/${value}.key`, `${dir}/${name}.key`);
  } else {
    await openssl([
      ...["genpkey", "-algorithm", algorithm, "-out", `${name}.key`],
      ...algorithm === "ec"
        ? ["-pkeyopt", `ec_paramgen_curve:${value}`]
        : ["-pkeyopt", `rsa_keygen_bits:${value}`],
    ]);
  }
  const subject = wish.subject ?? `/C=DE/O=Example, Inc./CN=${name}`;
  const request = await openssl([
    ...["req", "-new", "-key", `${name}.key`, "-subj", subject],
  ]);
  await Deno.writeTextFile(`${dir}/${name}.ext`, extensions);
  await openssl([
    ...["x509", "-req", "-out", `${name}.pem`],
    ...["-days", `${wish.days ?? 30}`, `-${wish.digest ?? "sha256"}`],
    ...["-set_serial", wish.serial ?? `${++serial}`],
    ...extensions ? ["-extfile", `${name}.ext`] : [],
    ...issuer
      ? ["-CA", `${issuer}.pem`, "-CAkey", `${issuer}.key`]
      : ["-signkey", `${name}.key`],
  ], new TextDecoder().decode(request));
  const pem = await Deno.readTextFile(`${dir}/${name}.pem`);
  const der = await openssl(["x509", "-in", `${name}.pem`, "-outform", "DER"]);
  return { name, pem, der };
}
let serial = 1000;

const made = new Map<string, Promise<Identity>>();

/** Makes each identity once. */
function identity(name: string, wish?: Wish): Promise<Identity> {
  const known = made.get(name) ?? issue(name, wish);
  made.set(name, known);
  return known;
}

const root = () => identity("root", { extensions: CA });
const middle = async () => {
  await root();
  return await identity("middle", { issuer: "root", extensions: CA });
};
/** A leaf of the root. */
const leaf = async () => {
  await root();
  return await identity("leaf", { issuer: "root" });
};
/** A leaf of the CA between. */
const lowLeaf = async () => {
  await middle();
  return await identity("low-leaf", { issuer: "middle" });
};
const stranger = () => identity("stranger", { extensions: CA });

/** What of a request is to differ from a good one. */
interface Change {
  readonly chain?: readonly Identity[];
  readonly body?: unknown;
  readonly query?: string;
  readonly at?: number;
  readonly date?: string;
  readonly region?: string;
  readonly service?: string;
  readonly serial?: string;
  readonly algorithm?: string;
  /** Signs with this identity's key. */
  readonly key?: Identity;
  /** Left out of the signed headers, and sent. */
  readonly unsigned?: string;
  /** Sent in place of what was signed. */
  readonly sent?: Record<string, string>;
  readonly sentBody?: string;
  readonly method?: string;
  readonly origin?: string;
}

/** Signs by openssl, and with no code of the verifier. */
async function sign(
  who: Identity,
  now: number,
  change: Change = {},
): Promise<Request> {
  const timestamp = new Date(change.at ?? now).toISOString()
    .replace(/[-:]|\.\d+/g, "");
  const body = change.body === undefined
    ? JSON.stringify(ARNS)
    : typeof change.body === "string"
    ? change.body
    : JSON.stringify(change.body);
  const origin = change.origin ?? "http://rolesanywhere.test";
  const headers: Record<string, string> = {
    "content-type": "application/json",
    "host": new URL(origin).host,
    "x-amz-date": timestamp,
    "x-amz-x509": base64(who.der),
    ...change.chain &&
      { "x-amz-x509-chain": change.chain.map((c) => base64(c.der)).join(",") },
  };
  const names = Object.keys(headers).filter((n) => n !== change.unsigned);
  const method = change.method ?? "POST";
  const canonical = [
    method,
    "/sessions",
    change.query ?? "",
    ...names.map((name) => `${name}:${headers[name]}`),
    "",
    names.join(";"),
    sha256(body),
  ].join("\n");
  const scope = `${change.date ?? timestamp.slice(0, 8)}/${
    change.region ?? "eu-west-1"
  }/${change.service ?? "rolesanywhere"}/aws4_request`;
  const key = change.key?.name ?? who.name;
  const isRsa = (await Deno.readTextFile(`${dir}/${key}.key`)).length > 1000;
  const algorithm = change.algorithm ??
    `AWS4-X509-${isRsa ? "RSA" : "ECDSA"}-SHA256`;
  const signature = await openssl(
    ["dgst", "-sha256", "-sign", `${key}.key`],
    [algorithm, timestamp, scope, sha256(canonical)].join("\n"),
  );
  const credential = change.serial ?? (await decimalSerial(who));
  return new Request(
    `${origin}/sessions${change.query ? `?${change.query}` : ""}`,
    {
      method,
      headers: {
        ...headers,
        authorization:
          `${algorithm} Credential=${credential}/${scope}, SignedHeaders=${
            names.join(";")
          }, Signature=${hex(signature)}`,
        ...change.sent,
      },
      body: method === "POST" ? change.sentBody ?? body : null,
    },
  );
}

async function decimalSerial({ name }: Identity): Promise<string> {
  const out = await openssl([
    "x509",
    "-in",
    `${name}.pem`,
    "-noout",
    "-serial",
  ]);
  const text = new TextDecoder().decode(out).trim().replace("serial=", "");
  return BigInt(`0x${text}`).toString();
}

const base64 = (bytes: Uint8Array) => btoa(String.fromCharCode(...bytes));
const hex = (bytes: Uint8Array) =>
  Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
const sha256 = (text: string) =>
  createHash("sha256").update(text).digest("hex");

interface Bed {
  readonly anchors?: readonly Identity[];
  readonly options?: Partial<SimulatorOptions>;
  /** How far the simulator's clock is ahead. */
  readonly aheadMs?: number;
}

async function call(who: Identity, change: Change = {}, bed: Bed = {}) {
  const now = Date.now();
  const at = change.at ?? now + (bed.aheadMs ?? 0);
  const handler = createHandler({
    clock: new FakeClock(now + (bed.aheadMs ?? 0)),
    anchors: (bed.anchors ?? []).flatMap(({ pem }) => readPem(pem)),
    ...bed.options,
  });
  const response = await handler(await sign(who, at, change));
  return { response, json: await response.json() };
}

async function refused(who: Identity, change: Change, bed: Bed = {}) {
  const { response, json } = await call(who, change, bed);
  return [
    response.status,
    response.headers.get("x-amzn-errortype"),
    json.message,
  ];
}

const UNTRUSTED = [
  403,
  "AccessDeniedException",
  "Untrusted signing certificate",
];
const INSUFFICIENT = [
  403,
  "AccessDeniedException",
  "Untrusted certificate. Insufficient certificate",
];
const MISMATCH = [
  403,
  "AccessDeniedException",
  "The request signature we calculated does not match the signature you provided.",
];

const test = (name: string, fn: () => Promise<void>) =>
  testUnless(noOpenssl, name, fn);

test("CreateSession answers as the service does", async () => {
  const { response, json } = await call(await leaf());
  const [set] = json.credentialSet;
  const { credentials } = set;
  assert.equal(response.status, 201);
  assert.equal(response.headers.get("content-type"), "application/json");
  assert.match(credentials.accessKeyId, /^ASIA[A-Z2-7]{16}$/);
  assert.equal(credentials.secretAccessKey.length, 40);
  assert.equal(credentials.sessionToken.length, 512);
  assert.match(credentials.expiration, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  assert.match(
    json.subjectArn,
    /^arn:aws:rolesanywhere:eu-west-1:123456789012:subject\/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
  );
  const serial = BigInt(await decimalSerial(await leaf())).toString(16);
  assert.deepEqual({ ...set, credentials: undefined }, {
    assumedRoleUser: {
      arn: `arn:aws:sts::${ACCOUNT}:assumed-role/Deploy/${serial}`,
      assumedRoleId: set.assumedRoleUser.assumedRoleId,
    },
    credentials: undefined,
    packedPolicySize: 0,
    roleArn: ROLE,
    sourceIdentity: "CN=leaf",
  });
});

for (
  const [seconds, wanted] of [[undefined, 3600], [900, 900], [43200, 43200]]
) {
  test(`CreateSession gives ${seconds ?? "no"} seconds asked for`, async () => {
    const body = { ...ARNS, durationSeconds: seconds };
    const before = Math.floor(Date.now() / 1000);
    const { json } = await call(await leaf(), { body });
    const { expiration } = json.credentialSet[0].credentials;
    const life = Date.parse(expiration) / 1000 - before;
    assert.ok(Math.abs(life - (wanted ?? 0)) <= 30, `${life}`);
  });
}

test("CreateSession gives a session that STS knows, over a socket", async () => {
  await root();
  const flags = { "trust-anchor": [`${dir}/root.pem`] };
  const simulator = await simulateAws({ flags, listen: [] }, systemClock);
  const [origin = ""] = simulator.urls;
  const body = { ...ARNS, roleSessionName: "build-7" };
  const request = await sign(await leaf(), Date.now(), { origin, body });
  const { credentialSet } = await (await fetch(request)).json();
  const client = new STSClient({
    endpoint: origin,
    region: "eu-west-1",
    credentials: { ...credentialSet[0].credentials, expiration: undefined },
    requestHandler: new FetchHttpHandler(),
  });
  const { Arn } = await client.send(new GetCallerIdentityCommand({}));
  client.destroy();
  await simulator.close();
  assert.equal(Arn, `arn:aws:sts::${ACCOUNT}:assumed-role/Deploy/build-7`);
  assert.match(simulator.notes.join("\n"), /1 trust anchor/);
});

test("simulateAws() refuses a trust anchor that is no CA", async () => {
  await leaf();
  const flags = { "trust-anchor": [`${dir}/leaf.pem`] };
  await assert.rejects(simulateAws({ flags, listen: [] }, systemClock), {
    code: "certificate-unreadable",
    message: /found one of another kind$/,
  });
});

test("CreateSession takes a session name", async () => {
  const body = { ...ARNS, roleSessionName: "build-7", sessionName: null };
  const { json } = await call(await leaf(), { body });
  assert.match(json.credentialSet[0].assumedRoleUser.arn, /\/Deploy\/build-7$/);
});

test("CreateSession takes ARNs from the query, as aws_signing_helper sends them", async () => {
  const query = Object.entries(ARNS)
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");
  const { response } = await call(await leaf(), {
    query,
    body: { durationSeconds: 900 },
  });
  assert.equal(response.status, 201);
});

const KEYS: [string, string][] = [
  ["RSA 2048", "rsa:2048"],
  ["RSA 3072", "rsa:3072"],
  ["P-256", "ec:prime256v1"],
  ["P-384", "ec:secp384r1"],
  ["P-521", "ec:secp521r1"],
];
for (const [name, key] of KEYS) {
  test(`CreateSession verifies what openssl signed with ${name}`, async () => {
    await root();
    const file = name.replace(" ", "");
    const who = await identity(file, { issuer: "root", key });
    const bed = { anchors: [await root()] };
    assert.equal((await call(who, {}, bed)).response.status, 201);
  });

  test(`CreateSession verifies a certificate that a CA of ${name} signed`, async () => {
    const file = `ca-${name.replace(" ", "")}`;
    const anchor = await identity(file, { key, extensions: CA });
    const who = await identity(`of-${file}`, { issuer: file });
    const bed = { anchors: [anchor] };
    assert.equal((await call(who, {}, bed)).response.status, 201);
  });
}

for (const digest of ["sha384", "sha512"]) {
  test(`CreateSession takes a certificate signed with ${digest}`, async () => {
    await root();
    const who = await identity(digest, { issuer: "root", digest });
    const bed = { anchors: [await root()] };
    assert.equal((await call(who, {}, bed)).response.status, 201);
  });
}

test("CreateSession reads a serial number of 20 bytes as unsigned", async () => {
  await root();
  const who = await identity("serial", {
    issuer: "root",
    serial: "0xf123456789abcdef0123456789abcdef01234567",
  });
  assert.equal((await call(who)).response.status, 201);
});

const FORGED: [string, (who: Identity) => Change | Promise<Change>, RegExp][] =
  [
    [
      "another body than was signed",
      () => ({ sentBody: JSON.stringify({ ...ARNS, durationSeconds: 901 }) }),
      /does not match/,
    ],
    [
      "another signed header than was signed",
      () => ({ sent: { host: "elsewhere.test" } }),
      /does not match/,
    ],
    [
      "a key that is not the certificate's",
      async () => ({ key: await lowLeaf() }),
      /does not match/,
    ],
    [
      "a body hash that is wrong",
      () => ({ sent: { "x-amz-content-sha256": sha256("x") } }),
      /does not match/,
    ],
    [
      "an RSA algorithm for an EC key",
      () => ({ algorithm: "AWS4-X509-RSA-SHA256" }),
      /does not match/,
    ],
    [
      "the algorithm of access keys",
      () => ({ algorithm: "AWS4-HMAC-SHA256" }),
      /algorithm of an X\.509 key/,
    ],
    ["a serial number in hexadecimal", () => ({ serial: "3e9" }), /Credential/],
    ["another serial number", () => ({ serial: "7" }), /serial number/],
    ["another service", () => ({ service: "sts" }), /'rolesanywhere'/],
    ["another date", () => ({ date: "20200101" }), /^Date in Credential scope/],
    ["no certificate", () => ({ sent: { "x-amz-x509": "" } }), /Invalid cert/],
    [
      "a certificate that is none",
      () => ({ sent: { "x-amz-x509": "MAA=" } }),
      /Invalid certificate/,
    ],
    ["no signature", () => ({ sent: { authorization: "" } }), /algorithm of/],
    ...["host", "x-amz-date", "x-amz-x509"].map((unsigned): [
      string,
      () => Change,
      RegExp,
    ] => [
      `${unsigned} not signed`,
      () => ({ unsigned }),
      new RegExp(`'${unsigned}' must be a 'SignedHeader'`, "i"),
    ]),
    [
      "a chain that is not signed",
      async () => ({ unsigned: "x-amz-x509-chain", chain: [await root()] }),
      /'X-Amz-X509-Chain' must be/,
    ],
    [
      "a chain of eleven",
      async () => ({ chain: Array<Identity>(11).fill(await root()) }),
      /too long/,
    ],
  ];
for (const [what, change, message] of FORGED) {
  test(`CreateSession refuses ${what}`, async () => {
    const who = await leaf();
    const [status, code, found] = await refused(who, await change(who));
    assert.deepEqual([status, code], [403, "AccessDeniedException"]);
    assert.match(found, message);
  });
}

const MINUTE_MS = 60_000;
for (
  const [what, skewMs, message] of [
    ["6 minutes behind", -6 * MINUTE_MS, /^Signature expired/],
    ["6 minutes ahead", 6 * MINUTE_MS, /^Signature not yet current/],
    ["4 minutes behind", -4 * MINUTE_MS, undefined],
    ["4 minutes ahead", 4 * MINUTE_MS, undefined],
  ] as const
) {
  test(`CreateSession ${message ? "refuses" : "takes"} a clock ${what}`, async () => {
    const now = Date.now() + DAY_MS;
    const handler = createHandler({ clock: new FakeClock(now) });
    const response = await handler(await sign(await leaf(), now + skewMs));
    const { message: found = "" } = await response.json();
    assert.match(found, message ?? /^$/);
  });
}

interface Trust {
  readonly what: string;
  readonly who: () => Promise<Identity>;
  readonly chain?: () => Promise<Identity>[];
  readonly anchors?: () => Promise<Identity>[];
  readonly wanted?: readonly unknown[];
  readonly aheadMs?: number;
}

const child = (name: string, wish: Wish) => async () => {
  await root();
  return await identity(name, { issuer: "root", ...wish });
};

/** A leaf of a CA of its own, which the root has issued. */
const below = (name: string, ca: Wish, wish: Wish = {}) => async () => {
  await child(`${name}-ca`, { extensions: CA, ...ca })();
  return await identity(name, { issuer: `${name}-ca`, ...wish });
};

const TRUST: Trust[] = [
  { what: "a leaf of the anchor", who: leaf, anchors: () => [root()] },
  {
    what: "a leaf of one of two anchors",
    who: leaf,
    anchors: () => [stranger(), root()],
  },
  {
    what: "a leaf below a CA that came along",
    who: lowLeaf,
    chain: () => [middle()],
    anchors: () => [root()],
  },
  {
    what: "a chain in any order, with the anchor and a stranger",
    who: lowLeaf,
    chain: () => [stranger(), root(), middle()],
    anchors: () => [root()],
  },
  {
    what: "an anchor that is not self-signed",
    who: lowLeaf,
    anchors: () => [middle()],
  },
  {
    what: "a leaf whose CA did not come along",
    who: lowLeaf,
    anchors: () => [root()],
    wanted: UNTRUSTED,
  },
  {
    what: "a leaf of a stranger",
    who: leaf,
    anchors: () => [stranger()],
    wanted: UNTRUSTED,
  },
  {
    what: "an anchor that a client brings along",
    who: leaf,
    chain: () => [root()],
    anchors: () => [stranger()],
    wanted: UNTRUSTED,
  },
  {
    what: "an issuer of the same name and another key",
    who: async () => {
      await identity("false-root", {
        extensions: CA,
        subject: "/C=DE/O=Example, Inc./CN=root",
      });
      return await identity("false-leaf", { issuer: "false-root" });
    },
    anchors: () => [root()],
    wanted: UNTRUSTED,
  },
  { what: "any CA without anchors", who: leaf },
  {
    what: "a whole chain without anchors",
    who: lowLeaf,
    chain: () => [root(), middle()],
  },
  {
    what: "a chain that does not hang together, without anchors",
    who: lowLeaf,
    chain: () => [middle(), stranger()],
    wanted: UNTRUSTED,
  },
  {
    what: "a leaf that issued a leaf",
    who: below("leafs-leaf", { extensions: LEAF }),
    chain: () => [child("leafs-leaf-ca", { extensions: LEAF })()],
    anchors: () => [root()],
    wanted: UNTRUSTED,
  },
  {
    what: "a leaf with a CA's key usage that issued a leaf",
    who: below("no-ca", {
      extensions: "basicConstraints=CA:FALSE\nkeyUsage=keyCertSign",
    }),
    chain: () => [identity("no-ca-ca")],
    anchors: () => [root()],
    wanted: UNTRUSTED,
  },
  {
    what: "a CA of the issuer's key and another name",
    who: leaf,
    anchors: () => [
      identity("renamed", { key: "of:root", extensions: CA }),
    ],
    wanted: UNTRUSTED,
  },
  {
    what: "a CA that may not sign certificates",
    who: below("no-sign", {
      extensions: "basicConstraints=CA:TRUE\nkeyUsage=digitalSignature",
    }),
    chain: () => [identity("no-sign-ca")],
    anchors: () => [root()],
    wanted: UNTRUSTED,
  },
  {
    what: "a CA without key usage",
    who: below("free", { extensions: "basicConstraints=CA:TRUE" }),
    chain: () => [identity("free-ca")],
    anchors: () => [root()],
  },
  {
    what: "a CA below one that may have none",
    who: async () => {
      await below("short", {
        extensions: `${CA.replace("CA:TRUE", "CA:TRUE,pathlen:0")}`,
      }, { extensions: CA })();
      return await identity("too-low", { issuer: "short" });
    },
    chain: () => [identity("short"), identity("short-ca")],
    anchors: () => [root()],
    wanted: UNTRUSTED,
  },
  {
    what: "a CA that has ended",
    who: below("old-ca", { days: 1 }),
    chain: () => [identity("old-ca-ca")],
    anchors: () => [root()],
    aheadMs: 2 * DAY_MS,
    wanted: UNTRUSTED,
  },
  {
    what: "a leaf that has ended",
    who: leaf,
    aheadMs: 31 * DAY_MS,
    wanted: [
      403,
      "AccessDeniedException",
      "Untrusted certificate. Certificate is expired",
    ],
  },
  {
    what: "a leaf that has not begun",
    who: leaf,
    aheadMs: -DAY_MS,
    wanted: [
      403,
      "AccessDeniedException",
      "Untrusted certificate. Certificate is not yet valid",
    ],
  },
  {
    what: "a CA as leaf",
    who: child("ca-leaf", {
      extensions: `${CA},digitalSignature`,
    }),
    wanted: INSUFFICIENT,
  },
  {
    what: "a leaf that may not sign",
    who: child("mute", {
      extensions: "basicConstraints=CA:FALSE\nkeyUsage=keyEncipherment",
    }),
    wanted: INSUFFICIENT,
  },
  {
    what: "a leaf without key usage",
    who: child("vague", { extensions: "basicConstraints=CA:FALSE" }),
    wanted: INSUFFICIENT,
  },
  {
    what: "a leaf of version 1",
    who: child("v1", { extensions: "" }),
    wanted: INSUFFICIENT,
  },
  {
    what: "a leaf signed with SHA-1",
    who: child("sha1", { digest: "sha1" }),
    wanted: INSUFFICIENT,
  },
  {
    what: "a leaf with an unknown critical extension",
    who: child("odd", { extensions: `${LEAF}\n1.2.3.4=critical,ASN1:NULL` }),
    wanted: INSUFFICIENT,
  },
];
for (const { what, who, chain, anchors, wanted, aheadMs = 0 } of TRUST) {
  test(`CreateSession ${wanted ? "refuses" : "trusts"} ${what}`, async () => {
    const leaf = await who();
    const change = chain && { chain: await Promise.all(chain()) };
    const bed = { anchors: await Promise.all(anchors?.() ?? []), aheadMs };
    const { response, json } = await call(leaf, change, bed);
    const type = response.headers.get("x-amzn-errortype");
    const found = [response.status, type, json.message];
    assert.deepEqual(found, wanted ?? [201, null, undefined]);
  });
}

const BAD_CALLS: [string, unknown, string][] = [
  ["no JSON", "{", "Unable to parse request body"],
  ["a list", [], `"" is not the ARN of a trust-anchor`],
  [
    "899 seconds",
    { ...ARNS, durationSeconds: 899 },
    "Value at 'durationSeconds' failed to satisfy constraint",
  ],
  [
    "43201 seconds",
    { ...ARNS, durationSeconds: 43_201 },
    "Value at 'durationSeconds' failed to satisfy constraint",
  ],
  [
    "seconds as text",
    { ...ARNS, durationSeconds: "900" },
    "Value at 'durationSeconds' failed to satisfy constraint",
  ],
  [
    "a session name with a space",
    { ...ARNS, roleSessionName: "a b" },
    "Value at 'roleSessionName' failed to satisfy constraint",
  ],
  [
    "a role that is none",
    { ...ARNS, roleArn: PROFILE },
    `"${PROFILE}" is not the ARN of a role`,
  ],
  [
    "a profile that is none",
    { ...ARNS, profileArn: ANCHOR },
    `"${ANCHOR}" is not the ARN of a profile`,
  ],
  [
    "no trust anchor",
    { ...ARNS, trustAnchorArn: null },
    `"" is not the ARN of a trust-anchor`,
  ],
  [
    "another account's role",
    { ...ARNS, roleArn: ROLE.replace(ACCOUNT, "210987654321") },
    "Role, profile and trust anchor must be of one account, profile and trust anchor of one region",
  ],
  [
    "another region's profile",
    { ...ARNS, profileArn: PROFILE.replace("eu-west-1", "us-east-1") },
    "Role, profile and trust anchor must be of one account, profile and trust anchor of one region",
  ],
];
for (const [what, body, message] of BAD_CALLS) {
  test(`CreateSession refuses ${what}`, async () => {
    assert.deepEqual(
      await refused(await leaf(), { body }),
      [400, "ValidationException", message],
    );
  });
}

test("CreateSession refuses a signature for another region", async () => {
  assert.deepEqual(await refused(await leaf(), { region: "us-east-1" }), [
    404,
    "ResourceNotFoundException",
    "Trust anchor not found in us-east-1",
  ]);
});

test("CreateSession refuses a role that does not exist", async () => {
  const options = { roles: [`arn:aws:iam::${ACCOUNT}:role/Other`] };
  assert.deepEqual(await refused(await leaf(), {}, { options }), [
    403,
    "AccessDeniedException",
    `Unable to assume role for ${ROLE}`,
  ]);
});

test("CreateSession refuses another method", async () => {
  assert.deepEqual(
    (await refused(await leaf(), { method: "PUT" })).slice(0, 2),
    [405, "MethodNotAllowed"],
  );
});

test("CreateSession refuses every change of a signature's bits", async () => {
  const now = Date.now();
  const request = await sign(await leaf(), now);
  const header = request.headers.get("authorization") ?? "";
  const [head = "", signature = ""] = header.split("Signature=");
  const handler = createHandler({ clock: new FakeClock(now) });
  await fc.assert(
    fc.asyncProperty(
      fc.nat({ max: signature.length - 1 }),
      fc.integer({ min: 1, max: 15 }),
      async (at, flip) => {
        const digit = parseInt(signature[at] ?? "", 16) ^ flip;
        const changed = signature.slice(0, at) + digit.toString(16) +
          signature.slice(at + 1);
        const copy = new Request(request.clone());
        copy.headers.set("authorization", `${head}Signature=${changed}`);
        const response = await handler(copy);
        assert.deepEqual([
          response.status,
          response.headers.get("x-amzn-errortype"),
          (await response.json()).message,
        ], MISMATCH);
      },
    ),
    { numRuns: 50 },
  );
});

test("readCertificate() fails only in its own way, whatever is changed", async () => {
  const { der } = await leaf();
  fc.assert(
    fc.property(
      fc.nat({ max: der.length - 1 }),
      fc.nat({ max: 255 }),
      fc.nat({ max: der.length }),
      (at, byte, length) => {
        const bytes = Uint8Array.from(der);
        bytes[at] = byte;
        for (const changed of [bytes, der.subarray(0, length)]) {
          try {
            readCertificate(changed);
          } catch (error) {
            assert.ok(error instanceof DerError, String(error));
          }
        }
      },
    ),
    { numRuns: 500 },
  );
});

test("readPem() finds all certificates between other text", async () => {
  const [one, two] = [await root(), await leaf()];
  const found = readPem(`x\n${one.pem}\nsubject=y\n${two.pem}`);
  assert.deepEqual(found.map(({ commonNames }) => commonNames), [
    ["root"],
    ["leaf"],
  ]);
});
