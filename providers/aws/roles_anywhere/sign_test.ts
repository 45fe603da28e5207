/**
 * The form of AWS4-X509: requests, time, region and service are those of
 * needroleshere's own tests. The canonical request is written by hand, and
 * openssl computes the digests and checks the signature.
 */

import assert from "node:assert/strict";
import {
  KEY_KINDS,
  type KeyKind,
  makeCertificate,
  makeKey,
  noOpenssl,
  openssl,
  PKI_NOW,
  pkiPath,
} from "../../../tests/support/anywhere_pki.ts";
import { testUnless } from "../../../tests/support/conditional.ts";
import { type Identity, loadIdentity } from "./identity.ts";
import {
  canonicalRequest,
  encodeQuery,
  signRequest,
  stringToSign,
  type UnsignedRequest,
} from "./sign.ts";

const BODY = '{"foo": 123}';
/** Published with the vectors. */
const BODY_SHA256 =
  "8ae301e76251dfa937e27312e3f89be4941c49e2094f3dafe614ed3c8235fbf9";
const SCOPE = {
  now: Date.UTC(2022, 7, 27, 1, 2, 3),
  region: "us-east-1",
  service: "service",
};
const REQUEST: UnsignedRequest = {
  method: "POST",
  url: new URL("https://service.test.invalid/api"),
  headers: { "content-type": "application/json" },
  body: BODY,
};

/** A leaf of each kind below one intermediate; its serial has the highest bit. */
async function identity(kind: KeyKind, isChained: boolean): Promise<Identity> {
  const serial = "0xf000000000000000000000000000000000000001";
  await makeCertificate("ca", { isAuthority: true });
  const subca = await makeCertificate("subca", {
    ...{ issuer: "ca", isAuthority: true },
  });
  const certificate = await makeCertificate(kind, {
    ...{ issuer: "subca", kind, serial },
  });
  return await loadIdentity(
    {
      ...{ trustAnchorArn: "", profileArn: "", region: "" },
      certificates: isChained ? [subca, certificate] : [certificate],
      privateKey: await makeKey(kind, kind),
    },
    undefined,
    PKI_NOW,
  );
}

async function base64Der(name: string): Promise<string> {
  const der = await openssl("x509", "-in", `${name}.crt`, "-outform", "DER");
  return btoa(String.fromCharCode(...der));
}

async function sha256(text: string): Promise<string> {
  const path = pkiPath(`digest-${crypto.randomUUID()}`);
  await Deno.writeTextFile(path, text);
  const printed = await openssl("dgst", "-sha256", "-r", path);
  return new TextDecoder().decode(printed).slice(0, 64);
}

/** As the vectors have it, line by line. */
async function byHand(kind: KeyKind, isChained: boolean) {
  const chainLine = `x-amz-x509-chain:${await base64Der("subca")}`;
  const signed = "content-type;host;x-amz-date;x-amz-x509";
  const canonical = [
    "POST",
    "/api",
    "",
    "content-type:application/json",
    "host:service.test.invalid",
    "x-amz-date:20220827T010203Z",
    `x-amz-x509:${await base64Der(kind)}`,
    ...isChained ? [chainLine] : [],
    "",
    isChained ? `${signed};x-amz-x509-chain` : signed,
    BODY_SHA256,
  ].join("\n");
  const algorithm = kind === "RSA-2048"
    ? "AWS4-X509-RSA-SHA256"
    : "AWS4-X509-ECDSA-SHA256";
  const text = [
    algorithm,
    "20220827T010203Z",
    "20220827/us-east-1/service/aws4_request",
    await sha256(canonical),
  ].join("\n");
  return { canonical, algorithm, text };
}

const SERIAL = BigInt("0xf000000000000000000000000000000000000001").toString();

for (const kind of KEY_KINDS) {
  for (const isChained of [true, false]) {
    const what = `${kind} ${isChained ? "with" : "without"} a chain`;

    testUnless(
      noOpenssl,
      `canonicalRequest() and stringToSign() of ${what} are the ones written by hand`,
      async () => {
        const signer = await identity(kind, isChained);
        const expected = await byHand(kind, isChained);
        const signed = await signRequest(REQUEST, SCOPE, signer);
        const { authorization: _, ...headers } = signed;
        const { canonical } = canonicalRequest(REQUEST, {
          ...headers,
          host: REQUEST.url.host,
        });
        assert.equal(canonical, expected.canonical);
        assert.equal(
          stringToSign(expected.algorithm, SCOPE, canonical),
          expected.text,
        );
      },
    );

    testUnless(
      noOpenssl,
      `signRequest() of ${what} makes a signature that openssl takes`,
      async () => {
        const signer = await identity(kind, isChained);
        const { text, algorithm } = await byHand(kind, isChained);
        const { authorization = "" } = await signRequest(
          REQUEST,
          SCOPE,
          signer,
        );
        const names = `content-type;host;x-amz-date;x-amz-x509${
          isChained ? ";x-amz-x509-chain" : ""
        }`;
        const head =
          `${algorithm} Credential=${SERIAL}/20220827/us-east-1/service/aws4_request, SignedHeaders=${names}, Signature=`;
        assert.equal(authorization.slice(0, head.length), head);
        const signature = authorization.slice(head.length);
        assert.match(signature, /^[0-9a-f]+$/);
        await assertVerifies(kind, text, Uint8Array.fromHex(signature));
      },
    );
  }
}

async function assertVerifies(
  kind: KeyKind,
  text: string,
  signature: Uint8Array,
): Promise<void> {
  const id = crypto.randomUUID();
  await Deno.writeTextFile(pkiPath(`${id}.txt`), text);
  await Deno.writeFile(pkiPath(`${id}.sig`), signature);
  const key = await openssl("x509", "-in", `${kind}.crt`, "-noout", "-pubkey");
  await Deno.writeFile(pkiPath(`${id}.pub`), key);
  await openssl(
    ...["dgst", "-sha256", "-verify", `${id}.pub`],
    ...["-signature", `${id}.sig`, `${id}.txt`],
  );
}

testUnless(
  noOpenssl,
  "signRequest() gives the certificates on one line each",
  async () => {
    const signer = await identity("P-256", true);
    const headers = await signRequest(REQUEST, SCOPE, signer);
    assert.equal(headers["x-amz-x509"], await base64Der("P-256"));
    assert.equal(headers["x-amz-x509-chain"], await base64Der("subca"));
  },
);

testUnless(
  noOpenssl,
  "signRequest() leaves the chain's header out when there is none",
  async () => {
    const signer = await identity("P-256", false);
    const headers = await signRequest(REQUEST, SCOPE, signer);
    assert.equal(headers["x-amz-x509-chain"], undefined);
  },
);

testUnless(noOpenssl, "signRequest() leaves host to the URL", async () => {
  const signer = await identity("P-256", false);
  assert.ok(!("host" in await signRequest(REQUEST, SCOPE, signer)));
});

Deno.test("canonicalRequest() trims values and joins runs of spaces", () => {
  const { canonical } = canonicalRequest(REQUEST, { b: "  x   y  ", a: "1" });
  assert.match(canonical, /\na:1\nb:x y\n\na;b\n/);
});

Deno.test("canonicalRequest() has the query as it is sent", () => {
  const url = new URL("https://x.test/sessions");
  url.search = `a=${encodeQuery("arn:aws:iam::1:role/a b*")}&b=2`;
  const { canonical } = canonicalRequest({ ...REQUEST, url }, {});
  assert.equal(
    canonical.split("\n")[2],
    "a=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fa%20b%2A&b=2",
  );
});

const ENCODED: [text: string, expected: string][] = [
  ["AZaz09-._~", "AZaz09-._~"],
  ["!'()*", "%21%27%28%29%2A"],
  ["a b+c", "a%20b%2Bc"],
  [":/?#[]@&=", "%3A%2F%3F%23%5B%5D%40%26%3D"],
  ["é", "%C3%A9"],
];
for (const [text, expected] of ENCODED) {
  Deno.test(`encodeQuery() of ${text} is ${expected}`, () => {
    assert.equal(encodeQuery(text), expected);
  });
}
