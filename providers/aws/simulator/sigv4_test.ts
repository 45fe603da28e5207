import assert from "node:assert/strict";
import fc from "fast-check";
import { Refusal } from "./refusal.ts";
import { readSignature, verifySignature } from "./sigv4.ts";
import type { RawRequest } from "./wire.ts";

const SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const NOW = Date.UTC(2015, 7, 30, 12, 36);
const TOKEN = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZ" +
  "TwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQ" +
  "rmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd" +
  "8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDr" +
  "ypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
const UNRESERVED =
  "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const FORM_HASH =
  "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e";

interface Vector {
  name: string;
  /** Request line without its version. */
  line: string;
  /** Besides Host, Authorization and X-Amz-Date. */
  headers?: string[];
  signedHeaders?: string;
  signature: string;
  body?: string;
}

/**
 * Signed requests of AWS's own test suite (aws-sig-v4-test-suite), nearly all
 * as AWS's C library keeps it:
 *
 * https://github.com/awslabs/aws-c-auth/tree/main/tests/aws-signing-test-suite/v4
 * (header-signed-request.txt of each folder)
 */
const VECTORS: Vector[] = [
  {
    name: "get-vanilla",
    line: "GET /",
    signature:
      "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
  },
  {
    name: "get-vanilla-query-order-key-case",
    line: "GET /?Param2=value2&Param1=value1",
    signature:
      "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
  },
  {
    name: "get-vanilla-query-order-value",
    line: "GET /?Param1=value2&Param1=value1",
    signature:
      "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694",
  },
  {
    name: "get-vanilla-query-unreserved",
    line: `GET /?${UNRESERVED}=${UNRESERVED}`,
    signature:
      "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
  },
  {
    name: "get-vanilla-utf8-query",
    line: "GET /?ሴ=bar",
    signature:
      "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
  },
  {
    name: "get-vanilla-query-order-encoded",
    line: "GET /?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
    signature:
      "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
  },
  {
    name: "get-vanilla-empty-query-key",
    line: "GET /?Param1=value1",
    signature:
      "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
  },
  {
    name: "get-header-key-duplicate",
    line: "GET /",
    headers: [
      "My-Header1:value2",
      "My-Header1:value2",
      "My-Header1:value1",
    ],
    signedHeaders: "host;my-header1;x-amz-date",
    signature:
      "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
  },
  {
    name: "get-header-value-order",
    line: "GET /",
    headers: [
      "My-Header1:value4",
      "My-Header1:value1",
      "My-Header1:value3",
      "My-Header1:value2",
    ],
    signedHeaders: "host;my-header1;x-amz-date",
    signature:
      "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
  },
  {
    name: "get-header-value-trim",
    line: "GET /",
    headers: ["My-Header1: value1", 'My-Header2: "a   b   c"'],
    signedHeaders: "host;my-header1;my-header2;x-amz-date",
    signature:
      "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
  },
  {
    name: "get-vanilla-with-session-token",
    line: "GET /",
    headers: [
      "X-Amz-Security-Token:6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267",
    ],
    signedHeaders: "host;x-amz-date;x-amz-security-token",
    signature:
      "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
  },
  {
    name: "get-unreserved",
    line: `GET /${UNRESERVED}`,
    signature:
      "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
  },
  {
    name: "get-utf8",
    line: "GET /ሴ",
    signature:
      "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
  },
  {
    name: "get-space-normalized",
    line: "GET /example space/",
    signature:
      "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
  },
  {
    name: "post-vanilla",
    line: "POST /",
    signature:
      "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
  },
  {
    name: "post-vanilla-query",
    line: "POST /?Param1=value1",
    signature:
      "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
  },
  {
    name: "post-header-key-sort",
    line: "POST /",
    headers: ["My-Header1:value1"],
    signedHeaders: "host;my-header1;x-amz-date",
    signature:
      "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
  },
  {
    name: "post-header-value-case",
    line: "POST /",
    headers: ["My-Header1:VALUE1"],
    signedHeaders: "host;my-header1;x-amz-date",
    signature:
      "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
  },
  {
    name: "post-sts-header-before",
    line: "POST /",
    headers: [`X-Amz-Security-Token:${TOKEN}`],
    signedHeaders: "host;x-amz-date;x-amz-security-token",
    signature:
      "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
  },
  {
    name: "post-sts-header-after",
    line: "POST /",
    headers: [`X-Amz-Security-Token:${TOKEN}`],
    signature:
      "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
  },
  {
    name: "post-x-www-form-urlencoded",
    line: "POST /",
    headers: [
      "Content-Type:application/x-www-form-urlencoded",
      "Content-Length:13",
      `x-amz-content-sha256:${FORM_HASH}`,
    ],
    signedHeaders:
      "content-length;content-type;host;x-amz-content-sha256;x-amz-date",
    signature:
      "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
    body: "Param1=value1",
  },
  {
    name: "post-x-www-form-urlencoded-parameters",
    line: "POST /",
    headers: [
      "Content-Type:application/x-www-form-urlencoded; charset=utf-8",
      "Content-Length:13",
      `x-amz-content-sha256:${FORM_HASH}`,
    ],
    signedHeaders:
      "content-length;content-type;host;x-amz-content-sha256;x-amz-date",
    signature:
      "328d1b9eaadca9f5818ef05e8392801e091653bafec24fcab71e7344e7f51422",
    body: "Param1=value1",
  },
];

const VANILLA = VECTORS[0]!;
const FORM = VECTORS.find((v) => v.name === "post-x-www-form-urlencoded")!;

function authorization(vector: Vector): string {
  const scope = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
  const names = vector.signedHeaders ?? "host;x-amz-date";
  return `AWS4-HMAC-SHA256 Credential=${scope}, SignedHeaders=${names}, Signature=${vector.signature}`;
}

function toRequest(vector: Vector): RawRequest {
  const [method = "", ...rest] = vector.line.split(" ");
  const [path = "", query = ""] = rest.join(" ").split("?");
  const lines = [
    "Host:example.amazonaws.com",
    ...vector.headers ?? [],
    `Authorization:${authorization(vector)}`,
    "X-Amz-Date:20150830T123600Z",
  ];
  return {
    method,
    path,
    query,
    headers: lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon), line.slice(colon + 1)];
    }),
    body: new TextEncoder().encode(vector.body ?? ""),
  };
}

function verify(request: RawRequest, secret = SECRET, now = NOW): void {
  verifySignature(request, readSignature(request, "service", now), secret);
}

/** Replaces a header's value, or removes the header. */
function withHeader(request: RawRequest, name: string, value?: string) {
  const others = request.headers.filter(([key]) =>
    key.toLowerCase() !== name.toLowerCase()
  );
  const added: [string, string][] = value === undefined ? [] : [[name, value]];
  return { ...request, headers: [...others, ...added] };
}

function refusal(
  fn: () => void,
): { status: number; code: string; message: string } {
  try {
    fn();
  } catch (error) {
    assert.ok(error instanceof Refusal);
    const { status, code, message } = error;
    return { status, code, message };
  }
  throw new Error("accepted");
}

const MISMATCH = {
  status: 403,
  code: "SignatureDoesNotMatch",
  message:
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
};

for (const vector of VECTORS) {
  Deno.test(`verifySignature() accepts AWS's vector ${vector.name}`, () => {
    verify(toRequest(vector));
  });

  Deno.test(`verifySignature() refuses ${vector.name} under another secret`, () => {
    assert.deepEqual(
      refusal(() => verify(toRequest(vector), SECRET.toLowerCase())),
      MISMATCH,
    );
  });
}

const TAMPERED: [string, RawRequest][] = [
  ["method", { ...toRequest(VANILLA), method: "POST" }],
  ["path", { ...toRequest(VANILLA), path: "/x" }],
  ["query", { ...toRequest(VANILLA), query: "a=b" }],
  ["host", withHeader(toRequest(VANILLA), "Host", "example.com")],
  ["date", withHeader(toRequest(VANILLA), "X-Amz-Date", "20150830T123601Z")],
  ["body", {
    ...toRequest(FORM),
    body: new TextEncoder().encode("Param1=value2"),
  }],
  ["missing signed header", withHeader(toRequest(FORM), "Content-Type")],
  ["repeated signed header", {
    ...toRequest(VANILLA),
    headers: [...toRequest(VANILLA).headers, ["Host", "example.amazonaws.com"]],
  }],
  [
    "false payload hash that is not signed",
    withHeader(toRequest(VANILLA), "x-amz-content-sha256", FORM_HASH),
  ],
];
for (const [what, request] of TAMPERED) {
  Deno.test(`verifySignature() refuses another ${what}`, () => {
    assert.deepEqual(refusal(() => verify(request)), MISMATCH);
  });
}

Deno.test("verifySignature() refuses any other signature", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
      const signature = bytes.toHex();
      fc.pre(signature !== VANILLA.signature);
      const request = toRequest({ ...VANILLA, signature });
      assert.equal(
        refusal(() => verify(request)).code,
        "SignatureDoesNotMatch",
      );
    }),
  );
});

const MISSING = {
  status: 403,
  code: "MissingAuthenticationToken",
  message: "Request is missing Authentication Token",
};
for (
  const value of [
    undefined,
    "",
    "Bearer x",
    "AWS4-X509-RSA-SHA256 Credential=x",
  ]
) {
  Deno.test(`readSignature() misses a signature in ${JSON.stringify(value)}`, () => {
    const request = withHeader(toRequest(VANILLA), "Authorization", value);
    assert.deepEqual(refusal(() => verify(request)), MISSING);
  });
}

Deno.test("readSignature() refuses two Authorization headers", () => {
  const request = toRequest(VANILLA);
  const twice: [string, string] = ["Authorization", authorization(VANILLA)];
  const both = { ...request, headers: [...request.headers, twice] };
  assert.deepEqual(refusal(() => verify(both)), MISSING);
});

const MALFORMED: [string, (header: string) => string][] = [
  ["no parameters", () => "AWS4-HMAC-SHA256 x"],
  ["no Credential", (h) => h.replace(/Credential=\S+, /, "")],
  ["no SignedHeaders", (h) => h.replace(/SignedHeaders=\S+, /, "")],
  ["no Signature", (h) => h.replace(/, Signature=.*/, "")],
  ["a short signature", (h) => h.slice(0, -1)],
  ["an upper-case signature", (h) => h.replace("5fa0", "5FA0")],
  ["a repeated parameter", (h) => `${h}, ${h.split(" ").at(-1)}`],
  ["text after the parameters", (h) => `${h} x`],
  ["a scope without its end", (h) => h.replace("/aws4_request", "")],
  ["a scope with another end", (h) => h.replace("aws4_request", "aws5")],
  ["a scope with one part more", (h) => h.replace("/us-", "/x/us-")],
  ["a date of 7 digits", (h) => h.replace("20150830/", "2015083/")],
  ["unsorted headers", (h) => h.replace("host;x-amz-date", "x-amz-date;host")],
  ["repeated headers", (h) => h.replace("host;", "host;host;")],
  ["upper-case headers", (h) => h.replace("host;", "Host;")],
  ["an empty header name", (h) => h.replace("host;", ";host;")],
];
for (const [what, change] of MALFORMED) {
  Deno.test(`readSignature() refuses ${what}`, () => {
    const header = change(authorization(VANILLA));
    const request = withHeader(toRequest(VANILLA), "Authorization", header);
    const { status, code } = refusal(() => verify(request));
    assert.deepEqual([status, code], [400, "IncompleteSignature"]);
  });
}

const SCOPES: [string, (header: string) => string, string][] = [
  [
    "another service",
    (h) => h.replace("/service/", "/s3/"),
    "Credential should be scoped to correct service: 'service'.",
  ],
  [
    "another day",
    (h) => h.replace("20150830/", "20150829/"),
    "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20150829' != '20150830', from '20150830T123600Z'.",
  ],
  [
    "an unsigned host",
    (h) => h.replace("host;", ""),
    "'Host' must be a 'SignedHeader' in the AWS Authorization.",
  ],
  [
    "an unsigned date",
    (h) => h.replace(";x-amz-date", ""),
    "'X-Amz-Date' must be a 'SignedHeader' in the AWS Authorization.",
  ],
];
for (const [what, change, message] of SCOPES) {
  Deno.test(`readSignature() refuses ${what}`, () => {
    const header = change(authorization(VANILLA));
    const request = withHeader(toRequest(VANILLA), "Authorization", header);
    assert.deepEqual(refusal(() => verify(request)), {
      status: 403,
      code: "SignatureDoesNotMatch",
      message,
    });
  });
}

Deno.test("verifySignature() refuses another region", () => {
  const header = authorization(VANILLA).replace("us-east-1", "eu-west-1");
  const request = withHeader(toRequest(VANILLA), "Authorization", header);
  assert.deepEqual(refusal(() => verify(request)), MISMATCH);
});

const MINUTE = 60_000;
const SKEWS: [string, number, string | undefined][] = [
  ["15 minutes late", 15 * MINUTE, undefined],
  ["15 minutes early", -15 * MINUTE, undefined],
  [
    "more than 15 minutes late",
    15 * MINUTE + 1000,
    "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T125101Z - 15 min.)",
  ],
  [
    "more than 15 minutes early",
    -15 * MINUTE - 1000,
    "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z (20150830T122059Z + 15 min.)",
  ],
];
for (const [what, offset, message] of SKEWS) {
  Deno.test(`readSignature() ${message ? "refuses" : "accepts"} a request ${what}`, () => {
    const check = () => verify(toRequest(VANILLA), SECRET, NOW + offset);
    if (message === undefined) return check();
    assert.deepEqual(refusal(check), {
      status: 403,
      code: "SignatureDoesNotMatch",
      message,
    });
  });
}

for (const date of ["", "now", "2015-08-30T12:36:00Z", "20150830T126000Z"]) {
  Deno.test(`readSignature() refuses the date ${JSON.stringify(date)}`, () => {
    const request = withHeader(toRequest(VANILLA), "X-Amz-Date", date);
    const { status, code } = refusal(() => verify(request));
    assert.deepEqual([status, code], [400, "IncompleteSignature"]);
  });
}

Deno.test("readSignature() refuses a request without a date", () => {
  const request = withHeader(toRequest(VANILLA), "X-Amz-Date");
  assert.equal(refusal(() => verify(request)).code, "IncompleteSignature");
});

Deno.test("readSignature() takes HTTP's own date", () => {
  const header = authorization(VANILLA).replace("host;x-amz-date", "date;host");
  let request = withHeader(toRequest(VANILLA), "X-Amz-Date");
  request = withHeader(request, "Authorization", header);
  request = withHeader(request, "Date", "Sun, 30 Aug 2015 12:36:00 GMT");
  const { timestamp } = readSignature(request, "service", NOW);
  assert.equal(timestamp, "20150830T123600Z");
});

Deno.test("verifySignature() refuses a query that cannot be decoded", () => {
  const request = { ...toRequest(VANILLA), query: "a=%zz" };
  assert.equal(refusal(() => verify(request)).code, "MalformedQueryString");
});
